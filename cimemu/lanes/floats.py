"""A register as float64, four or eight of them: sums and products, each rounded by itself."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _I8, _I32, _I64, _operation, _pick, broad, lanes


def _arithmetic(python, name):
    def emit(e, a, b):
        kind = ir.VectorType(ir.DoubleType(), a.type.count // 8)
        return e.bitcast(getattr(e, name)(e.bitcast(a, kind), e.bitcast(b, kind)), a.type)

    return _operation(lambda a, b: python(a.view(np.float64), b.view(np.float64)).view(np.uint8), emit, 2)


add64, mul64 = _arithmetic(np.add, "fadd"), _arithmetic(np.multiply, "fmul")


def _real_of_emit(e, a, _):
    numbers = e.bitcast(a, ir.VectorType(_I64, a.type.count // 8))
    real = ir.VectorType(ir.DoubleType(), numbers.type.count)
    if numbers.type.count == 8:
        return e.bitcast(e.sitofp(numbers, real), a.type)
    # With AVX2 alone: such an integer is the last bits of a float64 of 2^52 and more.
    offset = ir.Constant(numbers.type, [0x4330000000000000] * numbers.type.count)
    made = e.bitcast(e.or_(numbers, offset), real)
    return e.bitcast(e.fsub(made, e.bitcast(offset, real)), a.type)


real_of = _operation(  # 64-bit numbers of 0 .. 2^52 - 1 as float64 (the second register has no meaning)
    lambda a, _: a.view(np.int64).astype(np.float64).view(np.uint8), _real_of_emit, 2
)


def _make_real_as():
    @intrinsic
    def real_as(typingctx, unit, value):
        register = lanes if unit.count == 1 else broad
        kind = ir.VectorType(ir.DoubleType(), register.width // 8)

        def codegen(context, builder, sig, args):
            number = context.cast(builder, args[1], sig.args[1], types.float64)
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_I32, 0))
            picked = ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
            filled = builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), picked)
            return builder.bitcast(filled, ir.VectorType(_I8, register.width))

        return register(unit, value), codegen

    return real_as


def _make_doubles():
    @intrinsic
    def doubles(typingctx, integers):
        def codegen(context, builder, sig, args):
            numbers = builder.bitcast(args[0], ir.VectorType(_I32, 8))
            made = builder.sitofp(numbers, ir.VectorType(ir.DoubleType(), 8))
            return builder.bitcast(made, ir.VectorType(_I8, 64))

        return broad(integers), codegen

    return doubles


real_as = _pick(  # a number in every place of a register as wide as `unit` says: without such registers it takes two
    lambda unit, value: np.full(4 * len(unit), value, np.float64).view(np.uint8), _make_real_as
)
doubles = _pick(lambda integers: integers.view(np.int32).astype(np.float64).view(np.uint8), _make_doubles)
