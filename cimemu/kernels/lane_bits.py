"""Bits of 256 columns in a register: one full adder is two operations here, five instructions, for all of them."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.kernels.lanes import _BYTES, _I8, _I64, _bytes_of, _call, _operation, _pick, _pointer, lanes, load

parity = _operation(lambda a, b, c: a ^ b ^ c, lambda e, a, b, c: e.xor(e.xor(a, b), c), 3)  # sum bit of a + b + c
majority = _operation(  # carry bit of a + b + c
    lambda a, b, c: (a & b) | ((a ^ b) & c),
    lambda e, a, b, c: e.or_(e.and_(a, b), e.and_(e.xor(a, b), c)),
    3,
)


def _make_store_eight():
    @intrinsic
    def store_eight(typingctx, array, index, value):
        def codegen(context, builder, sig, args):
            where = context.cast(builder, args[1], sig.args[1], types.intp)
            stored = builder.store(args[2], _pointer(context, builder, sig.args[0], args[0], where, _I64))
            stored.align = 1
            return context.get_dummy_value()

        return types.void(array, index, types.uint64), codegen

    return store_eight


def _store_eight_python(array, index, value):
    _bytes_of(array)[index : index + 8] = np.frombuffer(int(value).to_bytes(8, "little"), np.uint8)


store_eight = _pick(_store_eight_python, _make_store_eight)  # the bytes of a uint64 from byte `index` on


def _make_load_listed():
    @intrinsic
    def load_listed(typingctx, rows, at, lists, index):
        def codegen(context, builder, sig, args):
            start, where = (context.cast(builder, args[k], sig.args[k], types.intp) for k in (1, 3))
            row = builder.load(_pointer(context, builder, sig.args[2], args[2], where, _I8))
            offset = builder.shl(builder.zext(row, _I64), _I64(5))
            place = _pointer(context, builder, sig.args[0], args[0], builder.add(start, offset), _BYTES)
            loaded = builder.load(place)
            loaded.align = 1
            return loaded

        return lanes(rows, at, lists, index), codegen

    return load_listed


def _load_listed_python(rows, at, lists, index):
    return load(rows, at + 32 * int(_bytes_of(lists)[index]))


load_listed = _pick(_load_listed_python, _make_load_listed)  # register number lists[index] of those from byte `at` on


def _make_top_bits():
    @intrinsic
    def top_bits(typingctx, a):
        def codegen(context, builder, sig, args):
            name, kind = "llvm.x86.avx2.pmovmskb", ir.IntType(32)
            return builder.zext(_call(builder, name, kind, [args[0]]), _I64)

        return types.uint64(a), codegen

    return top_bits


def _top_bits_python(a):
    return np.uint64(int.from_bytes(np.packbits(a >> 7, bitorder="little").tobytes(), "little"))


top_bits = _pick(_top_bits_python, _make_top_bits)  # bit 7 of every byte, the first one lowest
