"""A register as four float64: sums, products and differences, each rounded by itself."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _BYTES, _I32, _operation, _pick, lanes

_DOUBLES = ir.VectorType(ir.DoubleType(), 4)


def _arithmetic(python, name):
    def emit(e, a, b):
        return e.bitcast(getattr(e, name)(e.bitcast(a, _DOUBLES), e.bitcast(b, _DOUBLES)), _BYTES)

    return _operation(lambda a, b: python(a.view(np.float64), b.view(np.float64)).view(np.uint8), emit, 2)


add64, sub64, mul64 = _arithmetic(np.add, "fadd"), _arithmetic(np.subtract, "fsub"), _arithmetic(np.multiply, "fmul")


def _make_every64():
    @intrinsic
    def every64(typingctx, value):
        def codegen(context, builder, sig, args):
            one = builder.insert_element(ir.Constant(_DOUBLES, ir.Undefined), args[0], ir.Constant(_I32, 0))
            picked = ir.Constant(ir.VectorType(_I32, 4), [0] * 4)
            return builder.bitcast(builder.shuffle_vector(one, ir.Constant(_DOUBLES, ir.Undefined), picked), _BYTES)

        return lanes(types.float64), codegen

    return every64


every64 = _pick(lambda value: np.full(4, value, np.float64).view(np.uint8), _make_every64)
