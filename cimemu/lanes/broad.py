"""Registers of 32 or 64 bytes under one name each: the width is the type of a `unit` that kernels are given.

`NARROW` is an AVX2 register. `BROAD` is one of AVX-512 where the processor also looks bytes up among 128 (VBMI), turns
8 x 8 bits (GFNI) and weighs bytes (VNNI): Intel's since Ice Lake, AMD's since Zen 4. A kernel is written once; numba
compiles it for the width of the unit that it is called with. Operations that move bytes do so within every 16 bytes, as
those of AVX2 do. Where the instructions differ the meaning is the same, and the Python meaning is the definition of both.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import (
    _I8,
    _I16,
    _I32,
    _I64,
    _bytes_of,
    _call,
    _operation,
    _pick,
    _pointer,
    broad,
    lanes,
)
from cimemu.lanes.target import target_has

NARROW, BROAD = (0,), (0, 0)  # an entry for every 32 bytes

HAS_BROAD = target_has("avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512vnni", "gfni")


def _make_register_bytes():
    @intrinsic
    def register_bytes(typingctx, unit):
        return types.intp(unit), lambda context, builder, sig, args: ir.Constant(_I64, 32 * unit.count)

    return register_bytes


register_bytes = _pick(lambda unit: 32 * len(unit), _make_register_bytes)  # how many bytes a register has


def _register_of(unit):
    """Numba's type of the registers that a unit (its type) stands for."""
    return lanes if unit.count == 1 else broad


def _as(builder, element, *values):
    """Registers as vectors of wider elements, all of them as many bytes."""
    made = [builder.bitcast(v, ir.VectorType(element, v.type.count * 8 // element.width)) for v in values]
    return made if len(made) > 1 else made[0]


def _bytes(builder, value):
    return builder.bitcast(value, ir.VectorType(_I8, value.type.count * value.type.element.width // 8))


def _by_width(narrow, wide):
    """The emitter for the width of the first register."""
    return lambda b, *v: (narrow if v[0].type.count == 32 else wide)(b, *v)


# -- memory ---------------------------------------------------------------------------------------------------------


def _make_load_as():
    @intrinsic
    def load_as(typingctx, unit, array, index):
        kind = _register_of(unit)

        def codegen(context, builder, sig, args):
            where = context.cast(builder, args[2], sig.args[2], types.intp)
            register = ir.VectorType(_I8, kind.width)
            loaded = builder.load(_pointer(context, builder, sig.args[1], args[1], where, register))
            loaded.align = 1
            return loaded

        return kind(unit, array, index), codegen

    return load_as


def _make_listed_as():
    @intrinsic
    def listed_as(typingctx, unit, rows, lists, index):
        kind = _register_of(unit)

        def codegen(context, builder, sig, args):
            where = builder.shl(context.cast(builder, args[3], sig.args[3], types.intp), ir.Constant(_I64, 1))
            row = builder.load(_pointer(context, builder, sig.args[2], args[2], where, _I16))
            row.align = 2
            at = builder.mul(builder.zext(row, _I64), ir.Constant(_I64, kind.width))
            register = ir.VectorType(_I8, kind.width)
            loaded = builder.load(_pointer(context, builder, sig.args[1], args[1], at, register))
            loaded.align = 1
            return loaded

        return kind(unit, rows, lists, index), codegen

    return listed_as


def _make_every_as(element):
    @intrinsic
    def every_as(typingctx, unit, value):
        kind = _register_of(unit)

        def codegen(context, builder, sig, args):
            numbers = ir.VectorType(element, 8 * kind.width // element.width)
            one = context.cast(builder, args[1], sig.args[1], types.int64)
            one = builder.trunc(one, element) if element.width < 64 else one
            placed = builder.insert_element(ir.Constant(numbers, ir.Undefined), one, ir.Constant(_I32, 0))
            zeros = ir.Constant(ir.VectorType(_I32, numbers.count), [0] * numbers.count)
            return _bytes(builder, builder.shuffle_vector(placed, ir.Constant(numbers, ir.Undefined), zeros))

        return kind(unit, value), codegen

    return every_as


def _make_store_parts():
    @intrinsic
    def store_parts(typingctx, array, index, stride, value):
        def codegen(context, builder, sig, args):
            where, step = (context.cast(builder, args[i], sig.args[i], types.intp) for i in (1, 2))
            half = ir.VectorType(_I8, 32)
            for part in range(value.width // 32):
                mask = ir.Constant(ir.VectorType(_I32, 32), [*range(32 * part, 32 * part + 32)])
                one = builder.shuffle_vector(args[3], args[3], mask)
                stored = builder.store(one, _pointer(context, builder, sig.args[0], args[0], where, half))
                stored.align = 1
                where = builder.add(where, step)
            return context.get_dummy_value()

        return types.void(array, index, stride, value), codegen

    return store_parts


def _store_parts_python(array, index, stride, value):
    for part in range(len(value) // 32):
        at = index + part * stride
        _bytes_of(array)[at : at + 32] = value[32 * part : 32 * part + 32]


def _listed_python(unit, rows, lists, index):
    width = 32 * len(unit)
    return _bytes_of(rows)[width * int(lists[index]) :][:width].copy()


# The register from byte `index` of an array on; from row lists[index] (uint16) of rows that are registers.
load_as = _pick(lambda unit, array, index: _bytes_of(array)[index:][: 32 * len(unit)].copy(), _make_load_as)
listed_as = _pick(_listed_python, _make_listed_as)
every32_as = _pick(
    lambda unit, v: np.full(8 * len(unit), int(v) & (2**32 - 1), np.uint32).view(np.uint8), lambda: _make_every_as(_I32)
)
every64_as = _pick(
    lambda unit, v: np.full(4 * len(unit), int(v) % 2**64, np.uint64).view(np.uint8), lambda: _make_every_as(_I64)
)
every16_as = _pick(
    lambda unit, v: np.full(16 * len(unit), int(v) & 65535, np.uint16).view(np.uint8), lambda: _make_every_as(_I16)
)
store_parts = _pick(_store_parts_python, _make_store_parts)  # each 32 bytes `stride` bytes after those before


# -- bytes ----------------------------------------------------------------------------------------------------------


def _interleave(size, high):
    """Elements of `size` bytes of a and b in turn, those of the low or the high half of every 16 bytes."""

    def mask(width):
        made = []
        for first in range(0, width, 16):
            for e in range(first + 8 * high, first + 8 * high + 8, size):
                made += [*range(e, e + size), *range(width + e, width + e + size)]
        return made

    def emit(b, x, y):
        width = x.type.count
        return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, width), mask(width)))

    return _operation(lambda a, b: np.concatenate([a, b])[mask(len(a))], emit, 2)


low8, high8 = _interleave(1, 0), _interleave(1, 1)
low16, high16 = _interleave(2, 0), _interleave(2, 1)
low32, high32 = _interleave(4, 0), _interleave(4, 1)


def _turn_python(a, _):
    bits = np.unpackbits(a, bitorder="little").reshape(-1, 8, 8)
    return np.packbits(bits[:, ::-1].transpose(0, 2, 1), bitorder="little").reshape(-1)


def _turn_narrow(b, a, _):
    """Three rounds that swap bits across the diagonal, of 1, 2 and 4 (H. Warren: Hacker's Delight, 7-3)."""
    backwards = [8 * (j // 8) + 7 - j % 8 for j in range(32)]
    x = _as(b, _I64, b.shuffle_vector(a, a, ir.Constant(ir.VectorType(_I32, 32), backwards)))
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        counts, masks = (ir.Constant(x.type, [v] * 4) for v in (shift, mask))
        moved = b.and_(b.xor(x, b.lshr(x, counts)), masks)
        x = b.xor(b.xor(x, moved), b.shl(moved, counts))
    return _bytes(b, x)


def _turn_broad(b, a, _):
    """The matrix of each 8 bytes applied to the bytes 1, 2, 4 .. 128: its columns."""
    unit = ir.Constant(a.type, [1 << j % 8 for j in range(64)])
    return _call(b, "llvm.x86.vgf2p8affineqb.512", a.type, [unit, a, ir.Constant(_I8, 0)])


# Of every 8 bytes of the first register: bit k of byte j becomes bit 7 - j of byte k (the second has no meaning).
turn_bits = _operation(_turn_python, _by_width(_turn_narrow, _turn_broad), 2)


def _weigh_narrow(b, total, a, w):
    words = _call(b, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(_I16, 16), [a, w])
    ones = ir.Constant(words.type, [1] * 16)
    added = _call(b, "llvm.x86.avx2.pmadd.wd", ir.VectorType(_I32, 8), [words, ones])
    return _bytes(b, b.add(_as(b, _I32, total), added))


def _weigh_broad(b, total, a, w):
    numbers = _as(b, _I32, total, a, w)
    return _bytes(b, _call(b, "llvm.x86.avx512.vpdpbusd.512", numbers[0].type, numbers))


def _weigh_python(total, a, w):
    sums = (a.astype(np.int32) * w.view(np.int8)).reshape(-1, 4).sum(axis=1).astype(np.int32)
    return (total.view(np.int32) + sums).view(np.uint8)


def _words_emit(b, x, y):
    words = _as(b, _I16, x, y)
    name = "llvm.x86.avx2.pmadd.wd" if x.type.count == 32 else "llvm.x86.avx512.pmaddw.d.512"
    return _bytes(b, _call(b, name, ir.VectorType(_I32, x.type.count // 4), words))


def _words_python(a, b):
    products = a.view(np.int16).astype(np.int64) * b.view(np.int16)
    return products.reshape(-1, 2).sum(axis=1).astype(np.int32).view(np.uint8)


def _pack_emit(b, x, y):
    numbers = _as(b, _I32, x, y)
    name = "llvm.x86.avx2.packssdw" if x.type.count == 32 else "llvm.x86.avx512.packssdw.512"
    return _bytes(b, _call(b, name, ir.VectorType(_I16, x.type.count // 2), numbers))


def _pack_python(a, b):
    both = np.concatenate([a.view(np.int32).reshape(-1, 4), b.view(np.int32).reshape(-1, 4)], axis=1)
    return np.clip(both, -32768, 32767).astype(np.int16).reshape(-1).view(np.uint8)


# A number of 32 bits plus four unsigned bytes times four signed ones (two products must stay within 16 bits together); two
# signed words times two; numbers of a, then of b, of every 16 bytes held to signed words.
weigh_bytes = _operation(_weigh_python, _by_width(_weigh_narrow, _weigh_broad), 3)
weigh_words = _operation(_words_python, _words_emit, 2)
pack_numbers = _operation(_pack_python, _pack_emit, 2)
same_bytes = _operation(  # 255 where a == b, else 0
    lambda a, b: np.where(a == b, 255, 0).astype(np.uint8),
    lambda b, x, y: b.sext(b.icmp_unsigned("==", x, y), x.type),
    2,
)
least_bytes = _operation(np.minimum, lambda b, x, y: _call(b, f"llvm.umin.v{x.type.count}i8", x.type, [x, y]), 2)
most_bytes = _operation(np.maximum, lambda b, x, y: _call(b, f"llvm.umax.v{x.type.count}i8", x.type, [x, y]), 2)
pick_bytes = _operation(  # b where `which` is 255, a where it is 0
    lambda a, b, which: (b & which) | (a & ~which),
    lambda b, x, y, which: b.select(
        b.icmp_unsigned("!=", which, ir.Constant(which.type, [0] * which.type.count)), y, x
    ),
    3,
)


def _make_shift_left32():
    @intrinsic
    def shift_left32(typingctx, a, count):
        def codegen(context, builder, sig, args):
            numbers = _as(builder, _I32, args[0])
            one = builder.trunc(context.cast(builder, args[1], sig.args[1], types.int64), _I32)
            placed = builder.insert_element(ir.Constant(numbers.type, ir.Undefined), one, ir.Constant(_I32, 0))
            zeros = ir.Constant(numbers.type, [0] * numbers.type.count)
            counts = builder.shuffle_vector(placed, ir.Constant(numbers.type, ir.Undefined), zeros)
            return _bytes(builder, builder.shl(numbers, counts))

        return a(a, count), codegen

    return shift_left32


shift_left32 = _pick(lambda a, count: (a.view(np.uint32) << np.uint32(count)).view(np.uint8), _make_shift_left32)


def _entries_narrow(context, builder, sig, args, entries, which):
    """Rows of 16 entries, then the row that the upper bits of the index choose."""
    found = []
    where = context.cast(builder, args[1], sig.args[1], types.intp)
    inside = builder.and_(which, ir.Constant(which.type, [127] * 32))
    for row in range(entries // 16):
        half = ir.VectorType(_I8, 16)
        at = builder.add(where, ir.Constant(where.type, 16 * row))
        loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], at, half))
        loaded.align = 1
        twice = builder.shuffle_vector(loaded, loaded, ir.Constant(ir.VectorType(_I32, 32), [*range(16)] * 2))
        found.append(_call(builder, "llvm.x86.avx2.pshuf.b", which.type, [twice, inside]))
    move = 3  # bit 4, then 5, 6 and 7 of the index goes to bit 7, which chooses
    while len(found) > 1:
        quads = _as(builder, _I64, which)
        chooser = _bytes(builder, builder.shl(quads, ir.Constant(quads.type, [move] * 4)))
        found = [
            _call(builder, "llvm.x86.avx2.pblendvb", which.type, [found[j], found[j + 1], chooser])
            for j in range(0, len(found), 2)
        ]
        move -= 1
    return found[0]


def _entries_broad(context, builder, sig, args, entries, which):
    """64 entries in a register, 128 in two, of 256 those that bit 7 of the index chooses."""
    where = context.cast(builder, args[1], sig.args[1], types.intp)
    parts = []
    for first in range(0, entries, 64):
        at = builder.add(where, ir.Constant(where.type, first))
        loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], at, which.type))
        loaded.align = 1
        parts.append(loaded)
    if entries == 64:
        return _call(builder, "llvm.x86.avx512.permvar.qi.512", which.type, [parts[0], which])
    found = [
        _call(builder, "llvm.x86.avx512.vpermi2var.qi.512", which.type, [parts[j], which, parts[j + 1]])
        for j in range(0, len(parts), 2)
    ]
    if len(found) == 1:
        return found[0]
    upper = builder.icmp_signed("<", which, ir.Constant(which.type, [0] * 64))
    return builder.select(upper, found[1], found[0])


def _make_look_up(entries):
    @intrinsic
    def look_up(typingctx, array, index, which):
        def codegen(context, builder, sig, args):
            emit = _entries_narrow if which.width == 32 else _entries_broad
            return emit(context, builder, sig, args, entries, args[2])

        return which(array, index, which), codegen

    return look_up


# Bytes of tables of 64, 128 and 256 entries; of an index the bits above those of the table do not count.
look_up64, look_up128, look_up256 = (
    _pick(
        lambda array, index, which, entries=entries: _bytes_of(array)[index : index + entries][which & (entries - 1)],
        lambda entries=entries: _make_look_up(entries),
    )
    for entries in (64, 128, 256)
)


def _words_of_two(b, low, index, high):
    parts = _as(b, _I16, low, index, high)
    return _bytes(b, _call(b, "llvm.x86.avx512.vpermi2var.hi.512", parts[0].type, parts))


# Words of 64 entries in two registers of 64 bytes, `index` (words below 64) between them.
look_up_words = _operation(
    lambda low, index, high: np.concatenate([low, high]).view(np.uint16)[index.view(np.uint16)].view(np.uint8),
    _words_of_two,
    3,
)
