"""What the bytes of a register that equal another's weigh, eight bytes a number: bit i of a byte for byte i of the eight."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _I8, _I32, _I64, _call, _pick


def _make_weights(signed):
    @intrinsic
    def weights_where_same(typingctx, a, b, live):
        def codegen(context, builder, sig, args):
            count = args[0].type.count
            bits = builder.bitcast(builder.icmp_unsigned("==", args[0], args[1]), ir.IntType(count))
            byte = builder.and_(context.cast(builder, args[2], sig.args[2], types.int64), ir.Constant(_I64, 255))
            every = builder.mul(byte, ir.Constant(_I64, 0x0101010101010101))
            bits = builder.and_(bits, builder.trunc(every, bits.type) if count < 64 else every)
            numbers = builder.bitcast(bits, ir.VectorType(_I8, count // 8))
            kind = ir.VectorType(_I32, count // 8)
            wide = builder.sext(numbers, kind) if signed else builder.zext(numbers, kind)
            made = builder.sitofp(wide, ir.VectorType(ir.DoubleType(), count // 8))
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
