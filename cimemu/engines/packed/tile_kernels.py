"""Sixteen columns at once: AND, count, clamp and shift-add of all input slices, sums held in a vector register.

LLVM's own loop vectoriser keeps to half-width registers on several processors and spills the sums between
slices; here the vector code is written out (`<16 x i32>`, which LLVM maps to what the processor has).
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimemu.lanes.jit import JIT_DISABLED

LANES = 16
_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(_I32, LANES)


def _splat(builder, value):
    """A scalar in every lane."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(
        one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    )


def _address(context, builder, array_type, array, indices):
    """Pointer to an element of a C-contiguous array."""
    made = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(
        context,
        builder,
        array_type,
        made,
        [context.cast(builder, i, types.intp, types.intp) for i in indices],
    )


def make_tile(words, with_offset):
    """The tile function for groups of `words` 32-row words; without an offset it saves two operations."""

    @intrinsic
    def tile(typingctx, inputs, cells, sums, place, slices, offset, top):
        """sums[p, row, column..+16] += sum_i 2^i * clamp(psum_i + offset, 0, top) for slices slices-1 .. 0.

        `place` is (p, g, row, column), g the group of rows of `inputs` and `cells`.

        inputs uint32 [P, G, I, words], cells uint32 [G, words, C], sums int32 [P, rows, C], all C-contiguous.
        """
        signature = types.void(inputs, cells, sums, types.UniTuple(types.intp, 4), types.intp, types.int32, types.int32)

        def codegen(context, builder, sig, args):
            inputs_, cells_, sums_, place_, slices_, offset_, top_ = args
            p_, g_, row_, column_ = cgutils.unpack_tuple(builder, place_)
            zero = ir.Constant(types_intp, 0)
            count = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), "llvm.ctpop.v16i32"
            )

            def load(pointer):
                wide = builder.bitcast(pointer, _VECTOR.as_pointer())
                loaded = builder.load(wide)
                loaded.align = 4
                return loaded, wide

            columns = [
                load(_address(context, builder, sig.args[1], cells_, [g_, ir.Constant(types_intp, w), column_]))[0]
                for w in range(words)
            ]
            total, sums_pointer = load(_address(context, builder, sig.args[2], sums_, [p_, row_, column_]))
            low = _splat(builder, ir.Constant(_I32, 0))
            doubled = ir.Constant(_VECTOR, [1] * LANES)
            accumulator = cgutils.alloca_once_value(builder, low)
            high, shift = _splat(builder, top_), _splat(builder, offset_)
            base = _address(context, builder, sig.args[0], inputs_, [p_, g_, zero, zero])
            last = builder.sub(slices_, ir.Constant(types_intp, 1))
            with cgutils.for_range(builder, slices_) as loop:  # most significant slice first: t = 2 t + code
                slice_ = builder.sub(last, loop.index)
                start = builder.gep(base, [builder.mul(slice_, ir.Constant(types_intp, words))])
                psum = shift if with_offset else None
                for w in range(words):
                    bits = builder.load(builder.gep(start, [ir.Constant(types_intp, w)]))
                    ones = builder.call(count, [builder.and_(columns[w], _splat(builder, bits))])
                    psum = ones if psum is None else builder.add(psum, ones)
                if with_offset:
                    psum = builder.select(builder.icmp_signed("<", psum, low), low, psum)
                code = builder.select(builder.icmp_unsigned("<", psum, high), psum, high)
                builder.store(builder.add(builder.shl(builder.load(accumulator), doubled), code), accumulator)
            stored = builder.store(builder.add(total, builder.load(accumulator)), sums_pointer)
            stored.align = 4
            return context.get_dummy_value()

        return signature, codegen

    return tile


types_intp = ir.IntType(64)


def _tile_in_python(words, with_offset):
    def tile(inputs, cells, sums, place, slices, offset, top):
        p, g, row, column = place
        for c in range(column, column + LANES):
            for i in range(slices):
                psum = int(offset) if with_offset else 0
                for w in range(words):
                    psum += (int(inputs[p, g, i, w]) & int(cells[g, w, c])).bit_count()
                sums[p, row, c] += np.int32(min(max(psum, 0), int(top)) << i)

    return tile


_make = _tile_in_python if JIT_DISABLED else make_tile
TILE_WORDS = (2, 4, 6, 8, 16)
tile2, tile4, tile6, tile8, tile16 = (_make(words, False) for words in TILE_WORDS)
tile2_offset, tile4_offset, tile6_offset, tile8_offset, tile16_offset = (_make(words, True) for words in TILE_WORDS)
