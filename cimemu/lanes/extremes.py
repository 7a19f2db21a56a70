"""The least and the largest byte of a register."""

from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _I8, _I64, _call, _pick


def _make_reduced(name):
    @intrinsic
    def reduced(typingctx, a):
        def codegen(context, builder, sig, args):
            found = _call(builder, f"llvm.vector.reduce.{name}.v{args[0].type.count}i8", _I8, [args[0]])
            return builder.zext(found, _I64)

        return types.int64(a), codegen

    return reduced


least_byte = _pick(lambda a: int(a.min()), lambda: _make_reduced("umin"))
largest_byte = _pick(lambda a: int(a.max()), lambda: _make_reduced("umax"))
