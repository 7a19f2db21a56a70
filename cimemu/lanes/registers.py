"""A vector of 32 bytes (or 16 words of 16 bits) as a value that kernels compute with: one AVX2 register.

Numba has no vector type; this one maps to LLVM's `<32 x i8>`, so that kernels can look 32 entries of a 16-byte table
up in one instruction (`pshufb`). Without the compiler a value is a NumPy array of 32 bytes and every operation below
is its NumPy meaning, which is also the definition. `AVAILABLE` says whether the compiler's target has AVX2.
Operations that do not move bytes between places take registers of 64 bytes too (see `cimemu.lanes.broad`).
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from cimemu.lanes.jit import JIT_DISABLED
from cimemu.lanes.target import target_has

WIDTH = 32

AVAILABLE = target_has("avx2")
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES, _WORDS = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16)


class Lanes(types.Type):
    """Numba's type of a register."""

    def __init__(self, width):
        """One type for each width in bytes."""
        self.width = width
        super().__init__(name=f"lanes({width})")


lanes, broad = Lanes(32), Lanes(64)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(_I8, fe_type.width))


def _pick(python, make):
    """The Python meaning, or with the compiler an intrinsic made by `make`."""
    return python if JIT_DISABLED else make()


def _operation(python, emit, arguments):
    """An operation of registers of one width, as wide itself; emit(builder, *values) -> value."""

    def make():
        def codegen(context, builder, signature, args):
            return emit(builder, *args)

        if arguments == 2:

            @intrinsic
            def operation(typingctx, a, b):
                return a(a, b), codegen
        else:

            @intrinsic
            def operation(typingctx, a, b, c):
                return a(a, b, c), codegen

        return operation

    return _pick(python, make)


def _call(builder, name, result, values):
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [v.type for v in values]), name)
    return builder.call(function, values)


def _as_words(builder, *values):
    return [builder.bitcast(v, ir.VectorType(_I16, v.type.count // 2)) for v in values]


def _as_bytes(builder, value):
    return builder.bitcast(value, ir.VectorType(_I8, value.type.count * value.type.element.width // 8))


def _by_count(name):
    """The call of an intrinsic of LLVM that has one form for each number of elements: `{}` in its name."""
    return lambda b, x, y: _call(b, name.format(x.type.count), x.type, [x, y])


def _words(a):
    return a.view(np.uint16)


def _bytes(a):
    return np.ascontiguousarray(a).astype(np.uint16, copy=False).view(np.uint8)


# -- bytes --------------------------------------------------------------------------------------------------------


def _lookup_python(table, index):
    picked = np.take_along_axis(table.reshape(-1, 16), index.reshape(-1, 16) & 15, axis=1).reshape(-1)
    return np.where(index < 128, picked, 0).astype(np.uint8)


_SHUFFLES = {
    32: "llvm.x86.avx2.pshuf.b",
    64: "llvm.x86.avx512.pshuf.b.512",
}  # of 16 bytes; 0 where an index has its bit 7
lookup = _operation(_lookup_python, lambda b, t, i: _call(b, _SHUFFLES[t.type.count], t.type, [t, i]), 2)
add8 = _operation(lambda a, b: a + b, lambda b, x, y: b.add(x, y), 2)
sub8 = _operation(lambda a, b: a - b, lambda b, x, y: b.sub(x, y), 2)
either = _operation(lambda a, b: a | b, lambda b, x, y: b.or_(x, y), 2)
add8_held = _operation(
    lambda a, b: np.minimum(a.astype(np.int16) + b, 255).astype(np.uint8),
    lambda b, x, y: _call(b, "llvm.uadd.sat.v32i8", _BYTES, [x, y]),
    2,
)
sub8_held = _operation(
    lambda a, b: np.maximum(a.astype(np.int16) - b, 0).astype(np.uint8),
    lambda b, x, y: _call(b, "llvm.usub.sat.v32i8", _BYTES, [x, y]),
    2,
)
min8 = _operation(np.minimum, lambda b, x, y: _call(b, "llvm.umin.v32i8", _BYTES, [x, y]), 2)
both = _operation(lambda a, b: a & b, lambda b, x, y: b.and_(x, y), 2)
differ = _operation(lambda a, b: a ^ b, lambda b, x, y: b.xor(x, y), 2)


distance8 = _operation(  # of every 8 bytes: the sum of |a - b|, as a number of 64 bits
    lambda a, b: np.abs(a.astype(np.int64) - b).reshape(4, 8).sum(axis=1).view(np.uint8),
    lambda b, x, y: _as_bytes(b, _call(b, "llvm.x86.avx2.psad.bw", ir.VectorType(_I64, 4), [x, y])),
    2,
)
add64 = _operation(
    lambda a, b: (a.view(np.uint64) + b.view(np.uint64)).view(np.uint8),
    lambda b, x, y: _as_bytes(b, b.add(*(b.bitcast(v, ir.VectorType(_I64, 4)) for v in (x, y)))),
    2,
)
above8 = _operation(  # 255 where a > b as signed bytes, else 0
    lambda a, b: np.where(a.view(np.int8) > b.view(np.int8), 255, 0).astype(np.uint8),
    lambda b, x, y: b.sext(b.icmp_signed(">", x, y), _BYTES),
    2,
)
same8 = _operation(  # 255 where a == b, else 0
    lambda a, b: np.where(a == b, 255, 0).astype(np.uint8),
    lambda b, x, y: b.sext(b.icmp_unsigned("==", x, y), _BYTES),
    2,
)
choose = _operation(  # b where bit 7 of `which` is set, else a
    lambda a, b, which: np.where(which >= 128, b, a),
    lambda b, x, y, which: _call(b, "llvm.x86.avx2.pblendvb", _BYTES, [x, y, which]),
    3,
)
merge = _operation(  # even bytes of a, odd bytes of b: low and high halves of words
    lambda a, b: np.where(np.arange(32) % 2 == 0, a, b),
    lambda b, x, y: b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, 32), [v + 32 * (v % 2) for v in range(32)])),
    2,
)


# -- words --------------------------------------------------------------------------------------------------------


def _word_operation(python, emit):
    return _operation(
        lambda a, b: _bytes(python(_words(a), _words(b))),
        lambda b, x, y: _as_bytes(b, emit(b, *_as_words(b, x, y))),
        2,
    )


_LOW, _HIGH = [*range(0, 8), *range(16, 24)], [*range(8, 16), *range(24, 32)]


def _interleave(which):
    mask = [v for lane in which for v in (lane, lane + 32)]

    def python(a, b):
        return np.stack([a[which], b[which]], axis=1).ravel()

    def emit(b, x, y):
        return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, 32), mask))

    return _operation(python, emit, 2)


interleave_low, interleave_high = _interleave(_LOW), _interleave(_HIGH)
add16 = _word_operation(lambda a, b: a + b, lambda b, x, y: b.add(x, y))
sub16 = _word_operation(lambda a, b: a - b, lambda b, x, y: b.sub(x, y))
add16_held = _word_operation(
    lambda a, b: np.minimum(a.astype(np.int32) + b, 65535),
    _by_count("llvm.uadd.sat.v{}i16"),
)
sub16_held = _word_operation(
    lambda a, b: np.maximum(a.astype(np.int32) - b, 0),
    _by_count("llvm.usub.sat.v{}i16"),
)
min16 = _word_operation(np.minimum, _by_count("llvm.umin.v{}i16"))
_HIGH_PRODUCTS = {16: "llvm.x86.avx2.pmulhu.w", 32: "llvm.x86.avx512.pmulhu.w.512"}
high16 = _word_operation(
    lambda a, b: (a.astype(np.uint32) * b) >> 16,
    lambda b, x, y: _call(b, _HIGH_PRODUCTS[x.type.count], x.type, [x, y]),
)


low16 = _word_operation(lambda a, b: a * b, lambda b, x, y: b.mul(x, y))
above16 = _word_operation(  # 65535 where a > b as signed words, else 0
    lambda a, b: np.where(a.view(np.int16) > b.view(np.int16), 65535, 0),
    lambda b, x, y: b.sext(b.icmp_signed(">", x, y), _WORDS),
)


def _pairs_python(a, b):
    sums = (a.astype(np.int32) * b.view(np.int8)).reshape(16, 2).sum(axis=1)
    return _bytes(np.clip(sums, -32768, 32767).astype(np.int16).view(np.uint16))


def _word_pairs_python(a, b):
    products = a.view(np.int16).astype(np.int64) * b.view(np.int16)
    return products.reshape(8, 2).sum(axis=1).astype(np.int32).view(np.uint8)


def _add32(b, x, y):
    kind = ir.VectorType(_I32, x.type.count // 4)
    return _as_bytes(b, b.add(b.bitcast(x, kind), b.bitcast(y, kind)))


weigh_word_pairs = _operation(
    _word_pairs_python,
    lambda b, x, y: _as_bytes(b, _call(b, "llvm.x86.avx2.pmadd.wd", ir.VectorType(_I32, 8), _as_words(b, x, y))),
    2,
)
add32 = _operation(lambda a, b: (a.view(np.uint32) + b.view(np.uint32)).view(np.uint8), _add32, 2)
_LOW_WORDS = [v for w in (0, 1, 2, 3, 8, 9, 10, 11) for v in (w, w + 16)]
_HIGH_WORDS = [v + 4 for v in _LOW_WORDS]


def _interleave_words(mask):
    def python(a, b):
        return _bytes(np.concatenate([_words(a), _words(b)])[mask])

    def emit(b, x, y):
        words = b.shuffle_vector(*_as_words(b, x, y), ir.Constant(ir.VectorType(_I32, 16), mask))
        return _as_bytes(b, words)

    return _operation(python, emit, 2)


interleave_low_words, interleave_high_words = _interleave_words(_LOW_WORDS), _interleave_words(_HIGH_WORDS)
pack_words = _operation(  # words below 256 as bytes: what interleaving the result with zeros gives back
    lambda a, b: np.concatenate([a[::2][:8], b[::2][:8], a[::2][8:], b[::2][8:]]),
    lambda b, x, y: _call(b, "llvm.x86.avx2.packuswb", _BYTES, _as_words(b, x, y)),
    2,
)
weigh_pairs = _operation(
    _pairs_python,
    lambda b, x, y: _as_bytes(b, _call(b, "llvm.x86.avx2.pmadd.ub.sw", _WORDS, [x, y])),
    2,
)


# -- memory -------------------------------------------------------------------------------------------------------


def _pointer(context, builder, array_type, array, index, kind):
    """Pointer to byte `index` of an array's memory."""
    made = context.make_array(array_type)(context, builder, array)
    base = builder.bitcast(made.data, _I8.as_pointer())
    return builder.bitcast(builder.gep(base, [index]), kind.as_pointer())


def _bytes_of(array):
    return array.reshape(-1).view(np.uint8)


def _make_load():
    @intrinsic
    def load(typingctx, array, index):
        def codegen(context, builder, sig, args):
            where = context.cast(builder, args[1], sig.args[1], types.intp)
            loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], where, _BYTES))
            loaded.align = 1
            return loaded

        return lanes(array, index), codegen

    return load


def _make_load_table():
    @intrinsic
    def load_table(typingctx, array, index):
        def codegen(context, builder, sig, args):
            where = context.cast(builder, args[1], sig.args[1], types.intp)
            half = ir.VectorType(_I8, 16)
            loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], where, half))
            loaded.align = 1
            return builder.shuffle_vector(
                loaded, ir.Constant(half, ir.Undefined), ir.Constant(ir.VectorType(_I32, 32), [*range(16)] * 2)
            )

        return lanes(array, index), codegen

    return load_table


def _make_store():
    @intrinsic
    def store(typingctx, array, index, value):
        def codegen(context, builder, sig, args):
            where = context.cast(builder, args[1], sig.args[1], types.intp)
            stored = builder.store(args[2], _pointer(context, builder, sig.args[0], args[0], where, args[2].type))
            stored.align = 1
            return context.get_dummy_value()

        return types.void(array, index, value), codegen

    return store


def _store_python(array, index, value):
    _bytes_of(array)[index : index + len(value)] = value


def _make_any_bit():
    @intrinsic
    def any_bit(typingctx, a):
        def codegen(context, builder, sig, args):
            whole = builder.bitcast(args[0], ir.IntType(8 * sig.args[0].width))
            return builder.zext(builder.icmp_unsigned("!=", whole, ir.Constant(whole.type, 0)), _I64)

        return types.int64(a), codegen

    return any_bit


any_bit = _pick(lambda a: int(a.any()), _make_any_bit)  # 1 where any bit is set
load = _pick(lambda array, index: _bytes_of(array)[index : index + WIDTH].copy(), _make_load)
load_table = _pick(lambda array, index: np.tile(_bytes_of(array)[index : index + 16], 2), _make_load_table)
store = _pick(_store_python, _make_store)


def _splat(kind, count, bits):
    @intrinsic
    def splat(typingctx, value):
        def codegen(context, builder, sig, args):
            narrow = context.cast(builder, args[0], sig.args[0], types.int64)
            narrow = builder.trunc(narrow, ir.IntType(bits))
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), narrow, ir.Constant(_I32, 0))
            all_ = builder.shuffle_vector(
                one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_I32, count), [0] * count)
            )
            return builder.bitcast(all_, _BYTES)

        return lanes(value), codegen

    return splat


def _shift(left):
    def make():
        @intrinsic
        def shift(typingctx, a, count):
            def codegen(context, builder, sig, args):
                kind = ir.VectorType(_I64, sig.args[0].width // 8)
                wide = context.cast(builder, args[1], sig.args[1], types.int64)
                one = builder.insert_element(ir.Constant(kind, ir.Undefined), wide, ir.Constant(_I32, 0))
                counts = builder.shuffle_vector(
                    one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
                )
                value = builder.bitcast(args[0], kind)
                moved = builder.shl(value, counts) if left else builder.lshr(value, counts)
                return builder.bitcast(moved, args[0].type)

            return a(a, count), codegen

        return shift

    def python(a, count):
        wide = a.view(np.uint64)
        moved = wide << np.uint64(count) if left else wide >> np.uint64(count)
        return moved.view(np.uint8)

    return _pick(python, make)


# Every 64 bits as one number: bits move into neighbouring bytes, the caller masks them.
shift_left, shift_right = _shift(True), _shift(False)
every8 = _pick(lambda v: np.full(32, int(v) & 255, np.uint8), lambda: _splat(_BYTES, 32, 8))
every32 = _pick(
    lambda v: np.full(8, int(v) & (2**32 - 1), np.uint32).view(np.uint8),
    lambda: _splat(ir.VectorType(_I32, 8), 8, 32),
)
every16 = _pick(lambda v: _bytes(np.full(16, int(v) & 65535, np.uint16)), lambda: _splat(_WORDS, 16, 16))
