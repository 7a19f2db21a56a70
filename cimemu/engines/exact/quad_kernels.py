"""Eight outputs at sixteen or thirty-two positions: products of bytes, four channels added in one instruction.

A processor with AVX-512 and VNNI multiplies 64 unsigned bytes with 64 signed ones and adds every four products to a sum of
32 bits (Intel's since Cascade Lake, AMD's since Zen 4): four times what 16-bit products in pairs make of AVX2.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimemu.lanes.jit import JIT_DISABLED, kernel
from cimemu.lanes.target import target_has

POSITIONS = 16
OUTPUTS = 8
HAS_QUADS = target_has("avx512f", "avx512vl", "avx512vnni")
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_SUMS = ir.VectorType(_I32, POSITIONS)


def _every(builder, pointer):
    """The number at `pointer` at all places."""
    one = builder.insert_element(ir.Constant(_SUMS, ir.Undefined), builder.load(pointer), ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, ir.Constant(_SUMS, ir.Undefined), ir.Constant(_SUMS, [0] * POSITIONS))


def make_dot_tile(parts):
    """The compiled tile of `parts` registers of positions."""

    @intrinsic
    def dot_tile(typingctx, quads, offsets, weights, start, y, place):
        """y[row + n, position + p] = start[row + n] + sum_t quad(quads[base + offsets[t] + 4p]) . quad(weights[t, row + n]).

        n < 8, p < 16 * parts; place = (base, row, position). quads uint8 [elements], offsets int64 [T], weights int32
        [T, N] (four signed bytes each), start int32 [N], y int32 [N, positions], all C-contiguous.
        """
        signature = types.void(quads, offsets, weights, start, y, types.UniTuple(types.intp, 3))

        def codegen(context, builder, sig, args):
            base, row, position = cgutils.unpack_tuple(builder, args[5])
            made = [context.make_array(sig.args[i])(context, builder, args[i]) for i in range(5)]
            dot = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_SUMS, [_SUMS] * 3), "llvm.x86.avx512.vpdpbusd.512"
            )
            steps = builder.extract_value(made[1].shape, 0)
            columns = builder.extract_value(made[2].shape, 1)
            first = builder.gep(made[3].data, [row])
            begin = [_every(builder, builder.gep(first, [ir.Constant(_I64, n)])) for n in range(OUTPUTS)]
            sums = [[cgutils.alloca_once_value(builder, begin[n]) for _ in range(parts)] for n in range(OUTPUTS)]
            x0, w0 = builder.gep(made[0].data, [base]), builder.gep(made[2].data, [row])
            with cgutils.for_range(builder, steps) as loop:
                at = builder.gep(x0, [builder.load(builder.gep(made[1].data, [loop.index]))])
                seen = []
                for part in range(parts):
                    wide = builder.bitcast(builder.gep(at, [ir.Constant(_I64, 64 * part)]), _SUMS.as_pointer())
                    loaded = builder.load(wide)
                    loaded.align = 1
                    seen.append(loaded)
                weight = builder.gep(w0, [builder.mul(loop.index, columns)])
                for n in range(OUTPUTS):
                    four = _every(builder, builder.gep(weight, [ir.Constant(_I64, n)]))
                    for part in range(parts):
                        added = builder.call(dot, [builder.load(sums[n][part]), seen[part], four])
                        builder.store(added, sums[n][part])
            width = builder.extract_value(made[4].shape, 1)
            for n in range(OUTPUTS):
                line = builder.add(builder.mul(builder.add(row, ir.Constant(_I64, n)), width), position)
                for part in range(parts):
                    target = builder.gep(made[4].data, [builder.add(line, ir.Constant(_I64, POSITIONS * part))])
                    stored = builder.store(builder.load(sums[n][part]), builder.bitcast(target, _SUMS.as_pointer()))
                    stored.align = 4
            return context.get_dummy_value()

        return signature, codegen

    return dot_tile


def _dot_tile_in_python(parts):
    def dot_tile(quads, offsets, weights, start, y, place):
        base, row, position = place
        fours = np.ascontiguousarray(weights[:, row : row + OUTPUTS]).view(np.int8).reshape(-1, OUTPUTS, 4)
        for p in range(POSITIONS * parts):
            seen = quads[(base + offsets + 4 * p)[:, None] + np.arange(4)].astype(np.int64)
            y[row : row + OUTPUTS, position + p] = start[row : row + OUTPUTS] + (seen[:, None] * fours).sum(axis=(0, 2))

    return dot_tile


dot_tile, dot_two = (_dot_tile_in_python(n) if JIT_DISABLED else make_dot_tile(n) for n in (1, 2))


@kernel
def interleave_quads(strip, channels, add, line, quads):
    """quads[b, k, py, px, 4 * (h * line + w) + i] = strip[b, channels[k, i], h * sy + py, w * sx + px] + add, as a byte.

    strip uint8 or int16 [images, channels, rows, columns]; channels int64 [K, 4]; quads uint8 [images, K, sy, sx, places].
    Places that no element of the strip has stay as they are.
    """
    down, right, columns = quads.shape[2], quads.shape[3], strip.shape[3]
    for b in range(strip.shape[0]):
        for k in range(channels.shape[0]):
            for row in range(strip.shape[2]):
                first, second = strip[b, channels[k, 0], row], strip[b, channels[k, 1], row]
                third, fourth = strip[b, channels[k, 2], row], strip[b, channels[k, 3], row]
                for px in range(min(right, columns)):
                    target = quads[b, k, row % down, px, 4 * line * (row // down) :]
                    if right == 1:
                        for w in range(first.shape[0]):
                            target[4 * w] = np.uint8((first[w] + add) & 255)
                            target[4 * w + 1] = np.uint8((second[w] + add) & 255)
                            target[4 * w + 2] = np.uint8((third[w] + add) & 255)
                            target[4 * w + 3] = np.uint8((fourth[w] + add) & 255)
                        continue
                    for w in range((columns - px + right - 1) // right):
                        at = w * right + px
                        target[4 * w] = np.uint8((first[at] + add) & 255)
                        target[4 * w + 1] = np.uint8((second[at] + add) & 255)
                        target[4 * w + 2] = np.uint8((third[at] + add) & 255)
                        target[4 * w + 3] = np.uint8((fourth[at] + add) & 255)


def interleave_quads_naive(strip, channels, add, line, quads):
    """The definition, one element at a time."""
    down, right = quads.shape[2:4]
    for b, k, row, column in np.ndindex(strip.shape[0], len(channels), *strip.shape[2:]):
        place = 4 * (row // down * line + column // right)
        four = [int(strip[b, c, row, column]) + int(add) for c in channels[k]]
        quads[b, k, row % down, column % right, place : place + 4] = np.array(four).astype(np.uint8)


@kernel
def convolve_quads(quads, image_step, group_step, offsets, weights, start, y):
    """y[b, g, n, p] = start[b, g, n] + sum_t x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3.

    (x0 .. x3) are four elements of quads from b * image_step + g * group_step + offsets[t] + 4p on.

    quads uint8 [elements]; offsets int64 [T]; weights int32 [groups, T, N], four signed bytes each (the first in the lowest
    byte), N a multiple of 8; start int32 [images, groups, N]; y int32 [images, groups, N, positions], positions a multiple
    of 16. Sums wrap at 32 bits.
    """
    for b in range(y.shape[0]):
        for g in range(y.shape[1]):
            base = b * image_step + g * group_step
            first, target = start[b, g], y[b, g]
            matrix = weights[g]
            last = target.shape[1] - target.shape[1] % (2 * POSITIONS)
            for p in range(0, last, 2 * POSITIONS):
                for n in range(0, target.shape[0], OUTPUTS):
                    dot_two(quads, offsets, matrix, first, target, (base + 4 * p, n, p))
            if last < target.shape[1]:
                for n in range(0, target.shape[0], OUTPUTS):
                    dot_tile(quads, offsets, matrix, first, target, (base + 4 * last, n, last))


def convolve_quads_naive(quads, image_step, group_step, offsets, weights, start, y):
    """The definition, on Python integers."""
    for b, g, n, p in np.ndindex(*y.shape):
        total = int(start[b, g, n])
        for t, offset in enumerate(offsets):
            place = b * image_step + g * group_step + int(offset) + 4 * p
            for x, w in zip(quads[place : place + 4], weights[g, t, n : n + 1].copy().view(np.int8)):
                total += int(x) * int(w)
        y[b, g, n, p] = (total + 2**31) % 2**32 - 2**31
