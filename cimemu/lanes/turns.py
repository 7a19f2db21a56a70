"""Registers of 32-bit numbers turned: columns of eight registers become rows, and rows become 64-bit outputs."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _BYTES, _I8, _I32, _I64, _bytes_of, _operation, _pick, _pointer, lanes

_DOUBLE_WORDS = ir.VectorType(_I32, 8)


def _chosen(mask):
    """Double words `mask` of two registers side by side."""

    def emit(e, a, b):
        whole = e.shuffle_vector(
            e.bitcast(a, _DOUBLE_WORDS), e.bitcast(b, _DOUBLE_WORDS), ir.Constant(_DOUBLE_WORDS, mask)
        )
        return e.bitcast(whole, _BYTES)

    def python(a, b):
        return np.concatenate([a, b]).view(np.uint32)[mask].view(np.uint8)

    return _operation(python, emit, 2)


interleave_low32, interleave_high32 = _chosen([0, 8, 1, 9, 4, 12, 5, 13]), _chosen([2, 10, 3, 11, 6, 14, 7, 15])
interleave_low64, interleave_high64 = _chosen([0, 1, 8, 9, 4, 5, 12, 13]), _chosen([2, 3, 10, 11, 6, 7, 14, 15])
low_halves, high_halves = _chosen([0, 1, 2, 3, 8, 9, 10, 11]), _chosen([4, 5, 6, 7, 12, 13, 14, 15])


def _make_store_scaled():
    @intrinsic
    def store_scaled(typingctx, array, index, value, factor, rest):
        def codegen(context, builder, sig, args):
            wide = ir.VectorType(_I64, 8)
            where = context.cast(builder, args[1], sig.args[1], types.intp)

            def every(number, kind):
                number = context.cast(builder, number, kind, types.int64)
                one = builder.insert_element(ir.Constant(wide, ir.Undefined), number, ir.Constant(_I32, 0))
                return builder.shuffle_vector(one, ir.Constant(wide, ir.Undefined), ir.Constant(_DOUBLE_WORDS, [0] * 8))

            narrow = builder.trunc(every(args[3], sig.args[3]), _DOUBLE_WORDS)
            product = builder.mul(
                builder.sext(builder.bitcast(args[2], _DOUBLE_WORDS), wide), builder.sext(narrow, wide)
            )
            total = builder.add(product, every(args[4], sig.args[4]))
            stored = builder.store(total, _pointer(context, builder, sig.args[0], args[0], where, wide))
            stored.align = 8
            return context.get_dummy_value()

        return types.void(array, index, value, factor, rest), codegen

    return store_scaled


def _store_scaled_python(array, index, value, factor, rest):
    _bytes_of(array)[index : index + 64] = (value.view(np.int32).astype(np.int64) * int(factor) + int(rest)).view(
        np.uint8
    )


# Eight int32 times `factor` (within int32) plus `rest`, as int64 from byte `index` on.
store_scaled = _pick(_store_scaled_python, _make_store_scaled)


def _make_load_halves():
    @intrinsic
    def load_halves(typingctx, array, low, high):
        def codegen(context, builder, sig, args):
            half, parts = ir.VectorType(_I8, 16), []
            for index, kind in zip(args[1:], sig.args[1:]):
                where = context.cast(builder, index, kind, types.intp)
                loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], where, half))
                loaded.align = 1
                parts.append(loaded)
            return builder.shuffle_vector(*parts, ir.Constant(ir.VectorType(_I32, 32), [*range(32)]))

        return lanes(array, low, high), codegen

    return load_halves


def _load_halves_python(array, low, high):
    flat = _bytes_of(array)
    return np.concatenate([flat[low : low + 16], flat[high : high + 16]])


load_halves = _pick(_load_halves_python, _make_load_halves)  # sixteen bytes from `low` on, and sixteen from `high` on
