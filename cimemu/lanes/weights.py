"""What the bytes of a register that equal another's weigh, eight bytes a number: bit i of a byte for byte i of the eight."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _I8, _I32, _I64, _call, _pick


def _real_of(builder, numbers, real):
    """Integers of 64 bits below 2^52 as float64."""
    if numbers.type.count == 8:
        return builder.sitofp(numbers, real)
    # With AVX2 alone: such an integer is the last bits of a float64 of 2^52 and more.
    offset = ir.Constant(numbers.type, [0x4330000000000000] * numbers.type.count)
    made = builder.bitcast(builder.or_(numbers, offset), real)
    return builder.fsub(made, builder.bitcast(offset, real))


def _make_weights(signed):
    @intrinsic
    def weights_where_same(typingctx, a, b, live):
        def codegen(context, builder, sig, args):
            count = args[0].type.count
            name = "llvm.x86.avx512.psad.bw.512" if count == 64 else "llvm.x86.avx2.psad.bw"
            numbers, real = ir.VectorType(_I64, count // 8), ir.VectorType(ir.DoubleType(), count // 8)

            def total(value):
                return _call(builder, name, numbers, [value, ir.Constant(value.type, [0] * count)])

            weights = ir.Constant(args[0].type, [1 << k for k in range(8)] * (count // 8))
            byte = builder.trunc(context.cast(builder, args[2], sig.args[2], types.int64), _I8)
            one = builder.insert_element(ir.Constant(weights.type, ir.Undefined), byte, ir.Constant(_I32, 0))
            everywhere = ir.Constant(ir.VectorType(_I32, count), [0] * count)
            every = builder.shuffle_vector(one, ir.Constant(weights.type, ir.Undefined), everywhere)
            weights = builder.and_(weights, every)
            same, zero = builder.icmp_unsigned("==", args[0], args[1]), ir.Constant(weights.type, [0] * count)
            if not signed:
                found = _real_of(builder, total(builder.select(same, weights, zero)), real)
                return builder.bitcast(found, args[0].type)
            # What weighs -128 is counted where bytes differ, and 128 taken away.
            top = ir.Constant(weights.type, ([0] * 7 + [128]) * (count // 8))
            away = builder.and_(weights, top)
            counted = total(builder.select(same, builder.and_(weights, builder.not_(top)), away))
            made = builder.fsub(_real_of(builder, counted, real), _real_of(builder, total(away), real))
            return builder.bitcast(made, args[0].type)

        return a(a, b, live), codegen

    return weights_where_same


def _weights_python(signed):
    def weights_where_same(a, b, live):
        numbers = np.packbits(a == b, bitorder="little") & np.uint8(live)
        return (numbers.view(np.int8) if signed else numbers).astype(np.float64).view(np.uint8)

    return weights_where_same


def _make_reduced(name):
    @intrinsic
    def reduced(typingctx, a):
        def codegen(context, builder, sig, args):
            found = _call(builder, f"llvm.vector.reduce.{name}.v{args[0].type.count}i8", _I8, [args[0]])
            return builder.zext(found, _I64)

        return types.int64(a), codegen

    return reduced


# Of every 8 bytes a number in float64: sum_i 2^i * [byte i of a equals that of b], of the bytes whose bit `live` has; the
# other takes bit 7 of it as -128. Then the least and the largest byte of a register.
weights_where_same = _pick(_weights_python(False), lambda: _make_weights(False))
signed_weights_where_same = _pick(_weights_python(True), lambda: _make_weights(True))
least_byte = _pick(lambda a: int(a.min()), lambda: _make_reduced("umin"))
largest_byte = _pick(lambda a: int(a.max()), lambda: _make_reduced("umax"))
