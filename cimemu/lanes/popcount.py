"""Population count of a 64-bit word as one machine instruction, also inside vector loops."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.jit import JIT_DISABLED

if JIT_DISABLED:

    def popcount(word):
        """Number of ones in a 64-bit word."""
        return int(word).bit_count()
else:

    @intrinsic
    def popcount(typingctx, word):
        """Number of ones in a 64-bit word (LLVM's ctpop, which loops over columns vectorise)."""

        def codegen(context, builder, signature, args):
            function = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)])
            return builder.call(function, args)

        return types.int64(types.uint64), codegen


def popcount_naive(word):
    """Ones counted digit by digit."""
    return bin(int(word)).count("1")
