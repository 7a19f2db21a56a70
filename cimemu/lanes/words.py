"""Words of 16 bits in registers of either width: moved, signed, packed to bytes, taken out of numbers of 32 bits."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _I16, _I32, _as_bytes, _as_words, _call, _operation, _pick, _word_operation


def _make_shift_right16():
    @intrinsic
    def shift_right16(typingctx, a, count):
        def codegen(context, builder, sig, args):
            (words,) = _as_words(builder, args[0])
            one = builder.trunc(context.cast(builder, args[1], sig.args[1], types.int64), _I16)
            nothing = ir.Constant(words.type, ir.Undefined)
            placed = builder.insert_element(nothing, one, ir.Constant(_I32, 0))
            first = ir.Constant(ir.VectorType(_I32, words.type.count), [0] * words.type.count)
            return _as_bytes(builder, builder.lshr(words, builder.shuffle_vector(placed, nothing, first)))

        return a(a, count), codegen

    return shift_right16


def _every_other(first):
    """Words of an even or odd place of a, then of b."""

    def emit(b, x, y):
        count = x.type.count
        return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, count), [2 * j + first for j in range(count)]))

    return _word_operation(lambda a, b: np.concatenate([a, b])[first::2], emit)


def _pack_python(a, b):
    words = np.concatenate([a.view(np.int16).reshape(-1, 8), b.view(np.int16).reshape(-1, 8)], axis=1)
    return np.clip(words, 0, 255).astype(np.uint8).reshape(-1)


def _pack_emit(b, x, y):
    name = "llvm.x86.avx2.packuswb" if x.type.count == 32 else "llvm.x86.avx512.packuswb.512"
    return _call(b, name, x.type, _as_words(b, x, y))


shift_right16 = _pick(lambda a, count: (a.view(np.uint16) >> np.uint16(count)).view(np.uint8), _make_shift_right16)
even_words, odd_words = _every_other(0), _every_other(1)
upper_half = _word_operation(  # 65535 where a has its bit 15, else 0 (the second register has no meaning)
    lambda a, _: np.where(a >= 32768, 65535, 0),
    lambda b, x, _: b.ashr(x, ir.Constant(x.type, [15] * x.type.count)),
)
pack_signed = _operation(_pack_python, _pack_emit, 2)  # signed words of a, then b, of every 16 bytes, held to bytes
at_least8 = _operation(  # 255 where a >= b, else 0
    lambda a, b: np.where(a >= b, 255, 0).astype(np.uint8),
    lambda b, x, y: b.sext(b.icmp_unsigned(">=", x, y), x.type),
    2,
)
less_where_reached = _operation(  # a - 1 where b >= c, else a, of bytes
    lambda a, b, c: (a - (b >= c)).astype(np.uint8),
    lambda b, x, y, z: b.add(x, b.sext(b.icmp_unsigned(">=", y, z), x.type)),
    3,
)


def _more_emit(b, x, y, z):
    (words, here, limit) = _as_words(b, x, y, z)
    more = b.add(words, ir.Constant(words.type, [256] * words.type.count))
    return _as_bytes(b, b.select(b.icmp_unsigned("<", here, limit), more, words))


more_where_below = _operation(  # a + 256 where b < c, else a, of words
    lambda a, b, c: (a.view(np.uint16) + np.uint16(256) * (b.view(np.uint16) < c.view(np.uint16))).view(np.uint8),
    _more_emit,
    3,
)
