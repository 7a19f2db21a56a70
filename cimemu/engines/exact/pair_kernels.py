"""Four outputs at sixteen positions: 16-bit products added in pairs, sums held in vector registers.

A processor with AVX2 multiplies sixteen 16-bit numbers and adds neighbouring products in one instruction, twice the
rate of its float32 multiply-add; elsewhere the same sums are written as widened products. All sums are int32.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimemu.lanes.jit import JIT_DISABLED

POSITIONS = 16
OUTPUTS = 4
_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_PAIRS, _SUMS = ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)


def _has_avx2():
    """Whether the code that is compiled here runs with AVX2."""
    from llvmlite import binding

    if not binding.get_default_triple().startswith(("x86_64", "i686")):
        return False
    return bool(binding.get_host_cpu_features().get("avx2", False))


def _multiply_add(builder, a, b):
    """<8 x i32>: a[2i] * b[2i] + a[2i+1] * b[2i+1] of <16 x i16>."""
    if _AVX2:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_SUMS, [_PAIRS, _PAIRS]), "llvm.x86.avx2.pmadd.wd"
        )
        return builder.call(function, [a, b])
    total = None
    for first in (0, 1):
        mask = ir.Constant(_SUMS, [2 * i + first for i in range(8)])
        left, right = (
            builder.sext(builder.shuffle_vector(v, ir.Constant(_PAIRS, ir.Undefined), mask), _SUMS) for v in (a, b)
        )
        product = builder.mul(left, right)
        total = product if total is None else builder.add(total, product)
    return total


def make_madd_tile():
    """The compiled `madd_tile`."""

    @intrinsic
    def madd_tile(typingctx, pairs, offsets, weights, start, y, place):
        """y[row + n, position + p] = start[row + n] + sum_t pair(pairs[base + offsets[t] + 2p]) . pair(weights[t, row + n]).

        n < 4, p < 16; place = (base, row, position). pairs int16 [elements], offsets int64 [T], weights int32 [T, N] (two
        16-bit numbers each, the first in the low half), start int32 [N], y int32 [N, positions], all C-contiguous.
        """
        signature = types.void(pairs, offsets, weights, start, y, types.UniTuple(types.intp, 3))

        def codegen(context, builder, sig, args):
            pairs_, offsets_, weights_, start_, y_, place_ = args
            base_, row_, position_ = cgutils.unpack_tuple(builder, place_)

            def address(number, array, indices):
                made = context.make_array(sig.args[number])(context, builder, array)
                return cgutils.get_item_pointer(context, builder, sig.args[number], made, indices, wraparound=False)

            def every(pointer):
                one = builder.insert_element(
                    ir.Constant(_SUMS, ir.Undefined), builder.load(pointer), ir.Constant(_I32, 0)
                )
                return builder.shuffle_vector(one, ir.Constant(_SUMS, ir.Undefined), ir.Constant(_SUMS, [0] * 8))

            made = context.make_array(sig.args[1])(context, builder, offsets_)
            steps = builder.extract_value(made.shape, 0)
            first = address(3, start_, [row_])
            begin = [every(builder.gep(first, [ir.Constant(_I64, n)])) for n in range(OUTPUTS)]
            sums = [[cgutils.alloca_once_value(builder, begin[n]) for _ in (0, 1)] for n in range(OUTPUTS)]
            x0 = address(0, pairs_, [base_])
            w0 = address(2, weights_, [ir.Constant(_I64, 0), row_])
            columns = builder.extract_value(context.make_array(sig.args[2])(context, builder, weights_).shape, 1)
            o0 = made.data
            with cgutils.for_range(builder, steps) as loop:
                start = builder.gep(x0, [builder.load(builder.gep(o0, [loop.index]))])
                halves = []
                for half in (0, 1):
                    wide = builder.bitcast(builder.gep(start, [ir.Constant(_I64, 16 * half)]), _PAIRS.as_pointer())
                    loaded = builder.load(wide)
                    loaded.align = 2
                    halves.append(loaded)
                weight0 = builder.gep(w0, [builder.mul(loop.index, columns)])
                for n in range(OUTPUTS):
                    both = builder.bitcast(every(builder.gep(weight0, [ir.Constant(_I64, n)])), _PAIRS)
                    for half in (0, 1):
                        added = builder.add(builder.load(sums[n][half]), _multiply_add(builder, halves[half], both))
                        builder.store(added, sums[n][half])
            for n in range(OUTPUTS):
                target = address(4, y_, [builder.add(row_, ir.Constant(_I64, n)), position_])
                for half in (0, 1):
                    wide = builder.bitcast(builder.gep(target, [ir.Constant(_I64, 8 * half)]), _SUMS.as_pointer())
                    stored = builder.store(builder.load(sums[n][half]), wide)
                    stored.align = 4
            return context.get_dummy_value()

        return signature, codegen

    return madd_tile


def _madd_tile_in_python(pairs, offsets, weights, start, y, place):
    base, row, position = place
    halves = np.ascontiguousarray(weights[:, row : row + OUTPUTS]).view(np.int16).reshape(-1, OUTPUTS, 2)
    for p in range(POSITIONS):
        seen = pairs[(base + offsets + 2 * p)[:, None] + np.arange(2)].astype(np.int64)
        y[row : row + OUTPUTS, position + p] = start[row : row + OUTPUTS] + (seen[:, None] * halves).sum(axis=(0, 2))


_AVX2 = _has_avx2()
madd_tile = _madd_tile_in_python if JIT_DISABLED else make_madd_tile()
