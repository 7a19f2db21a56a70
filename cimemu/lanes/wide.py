"""Registers as eight numbers of 32 bits or four of 64: for the random generator and for sums beyond 16 bits.

A register and its Python meaning are those of `lanes`.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimemu.lanes.registers import _BYTES, _I8, _I32, _I64, _WORDS, _call, _operation, _pick, _splat, lanes

_DOUBLES, _QUADS = ir.VectorType(_I32, 8), ir.VectorType(_I64, 4)
_HALF = ir.Constant(_QUADS, [32] * 4)


def _wide_operation(kind, dtype, python, emit):
    """An operation of two registers seen as `kind` (`dtype` in Python)."""

    def codegen(builder, x, y):
        return builder.bitcast(emit(builder, builder.bitcast(x, kind), builder.bitcast(y, kind)), _BYTES)

    return _operation(lambda a, b: python(a.view(dtype), b.view(dtype)).view(np.uint8), codegen, 2)


def _signed_half(a):
    return a.astype(np.uint32).view(np.int32).astype(np.int64)


def _any_width(element, dtype, python, emit):
    """An operation of two registers of either width seen as elements of `element` (`dtype` in Python)."""

    def codegen(builder, x, y):
        kind = ir.VectorType(element, 8 * x.type.count // element.width)
        return builder.bitcast(emit(builder, builder.bitcast(x, kind), builder.bitcast(y, kind)), x.type)

    return _operation(lambda a, b: python(a.view(dtype), b.view(dtype)).view(np.uint8), codegen, 2)


def _multiply(b, x, y):
    low = ir.Constant(x.type, [2**32 - 1] * x.type.count)
    return b.mul(b.and_(x, low), b.and_(y, low))


def _merge(b, x, y):
    count = x.type.count
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, count), [v + count * (v % 2) for v in range(count)]))


# 64-bit products of the low halves of every 64 bits; the high halves do not count.
multiply32 = _any_width(
    _I64, np.uint64, lambda a, b: (a & np.uint64(2**32 - 1)) * (b & np.uint64(2**32 - 1)), _multiply
)
multiply32_signed = _wide_operation(
    _QUADS,
    np.uint64,
    lambda a, b: _signed_half(a) * _signed_half(b),
    lambda b, x, y: b.mul(b.ashr(b.shl(x, _HALF), _HALF), b.ashr(b.shl(y, _HALF), _HALF)),
)
add64 = _any_width(_I64, np.uint64, lambda a, b: a + b, lambda b, x, y: b.add(x, y))
# even numbers of a, odd numbers of b
merge32 = _any_width(_I32, np.uint32, lambda a, b: np.where(np.arange(len(a)) % 2 == 0, a, b), _merge)

sub32 = _wide_operation(_DOUBLES, np.uint32, lambda a, b: a - b, lambda b, x, y: b.sub(x, y))
max32 = _wide_operation(_DOUBLES, np.int32, np.maximum, lambda b, x, y: _call(b, "llvm.smax.v8i32", _DOUBLES, [x, y]))
min32 = _wide_operation(_DOUBLES, np.int32, np.minimum, lambda b, x, y: _call(b, "llvm.smin.v8i32", _DOUBLES, [x, y]))
above32 = _wide_operation(  # 2^32 - 1 where a > b as signed numbers, else 0
    _DOUBLES,
    np.int32,
    lambda a, b: np.where(a > b, np.int32(-1), np.int32(0)),
    lambda b, x, y: b.sext(b.icmp_signed(">", x, y), _DOUBLES),
)


def _join(first):
    """Half `first` of a, then of b."""
    mask = ir.Constant(ir.VectorType(_I32, 4), [2 * first, 2 * first + 1, 2 * first + 4, 2 * first + 5])
    part = slice(2 * first, 2 * first + 2)
    return _wide_operation(
        _QUADS,
        np.uint64,
        lambda a, b: np.concatenate([a[part], b[part]]),
        lambda b, x, y: b.shuffle_vector(x, y, mask),
    )


join_low, join_high = _join(0), _join(1)


def _pack(builder, x, y):
    words = _call(builder, "llvm.x86.avx2.packssdw", _WORDS, [x, y])
    quads = builder.bitcast(words, _QUADS)  # four numbers of x, of y, of x, of y
    return builder.shuffle_vector(quads, quads, ir.Constant(ir.VectorType(_I32, 4), [0, 2, 1, 3]))


pack32 = _wide_operation(  # the sixteen signed numbers of a, then b, held to 16 bits
    _DOUBLES,
    np.int32,
    lambda a, b: np.clip(np.concatenate([a, b]), -32768, 32767).astype(np.int16),
    _pack,
)
every64 = _pick(lambda v: np.full(4, int(v) % 2**64, np.uint64).view(np.uint8), lambda: _splat(_QUADS, 4, 64))


def _make_shift_right32():
    @intrinsic
    def shift_right32(typingctx, a, count):
        def codegen(context, builder, sig, args):
            narrow = builder.trunc(context.cast(builder, args[1], sig.args[1], types.int64), _I32)
            one = builder.insert_element(ir.Constant(_DOUBLES, ir.Undefined), narrow, ir.Constant(_I32, 0))
            counts = builder.shuffle_vector(one, ir.Constant(_DOUBLES, ir.Undefined), ir.Constant(_DOUBLES, [0] * 8))
            return builder.bitcast(builder.lshr(builder.bitcast(args[0], _DOUBLES), counts), _BYTES)

        return lanes(a, count), codegen

    return shift_right32


def _make_gather32():
    @intrinsic
    def gather32(typingctx, table, index):
        def codegen(context, builder, sig, args):
            made = context.make_array(sig.args[0])(context, builder, args[0])
            base = builder.bitcast(made.data, _I8.as_pointer())
            every = ir.Constant(_DOUBLES, [-1] * 8)
            places = builder.bitcast(args[1], _DOUBLES)
            kinds = ir.FunctionType(_DOUBLES, [_DOUBLES, base.type, _DOUBLES, _DOUBLES, _I8])
            gather = cgutils.get_or_insert_function(builder.module, kinds, "llvm.x86.avx2.gather.d.d.256")
            nothing, four = ir.Constant(_DOUBLES, [0] * 8), ir.Constant(_I8, 4)
            return builder.bitcast(builder.call(gather, [nothing, base, places, every, four]), _BYTES)

        return lanes(table, index), codegen

    return gather32


shift_right32 = _pick(lambda a, count: (a.view(np.uint32) >> np.uint32(count)).view(np.uint8), _make_shift_right32)
# Eight entries of a table of 32-bit numbers; the indices must be inside it.
gather32 = _pick(lambda table, index: table.reshape(-1)[index.view(np.int32)].view(np.uint8), _make_gather32)
