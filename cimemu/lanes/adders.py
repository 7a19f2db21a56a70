"""Adders of single bits, for all bits of a register at once.

Two bits that are added together are kept as one of them and `second` of both. In AVX2 that is their exclusive or, which
makes two full adders eight instructions (A. Kojevnikov, A. Kulikov, G. Yaroslavtsev: Finding efficient circuits using
SAT-solvers, SAT 2009: MDFA). AVX-512 has any function of three bits as one instruction: there it is the other bit, and a
full adder two instructions.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.broad import _as, _by_width, _bytes
from cimemu.lanes.registers import _I32, _call, _operation, _pick


def _ternary(builder, table, a, b, c):
    numbers = _as(builder, _I32, a, b, c)
    name = f"llvm.x86.avx512.pternlog.d.{8 * a.type.count}"
    return _bytes(builder, _call(builder, name, numbers[0].type, [*numbers, ir.Constant(_I32, table)]))


def _exclusive(b, x, y, z):
    return _ternary(b, 0x96, x, y, z)


def _majority(b, x, y, z):
    return _ternary(b, 0xE8, x, y, z)


def _pairs_narrow(b, a, x, x_y, u, u_v):
    half = b.xor(a, x_y)
    more = b.and_(b.xor(u, half), b.not_(u_v))
    return b.xor(half, u_v), b.xor(half, more), b.xor(b.or_(x_y, b.xor(x, a)), more)


def _pairs_broad(b, a, x, y, u, v):
    first = _exclusive(b, a, x, y)
    return _exclusive(b, first, u, v), _majority(b, a, x, y), _majority(b, first, u, v)


def _make_add_pairs():
    @intrinsic
    def add_pairs(typingctx, a, x, x_y, u, u_v):
        made = types.UniTuple(a, 3)

        def codegen(context, builder, sig, args):
            emit = _pairs_narrow if a.width == 32 else _pairs_broad
            return context.make_tuple(builder, made, emit(builder, *args))

        return made(a, x, x_y, u, u_v), codegen

    return add_pairs


def _add_pairs_python(a, x, x_y, u, u_v):
    if len(a) == 32:
        half = a ^ x_y
        more = (u ^ half) & ~u_v
        return half ^ u_v, half ^ more, (x_y | (x ^ a)) ^ more
    first = a ^ x ^ x_y
    return first ^ u ^ u_v, a & x | a & x_y | x & x_y, first & u | first & u_v | u & u_v


second = _operation(
    lambda x, y: x ^ y if len(x) == 32 else y, _by_width(lambda b, x, y: b.xor(x, y), lambda b, x, y: y), 2
)
add_pairs = _pick(_add_pairs_python, _make_add_pairs)  # (s, c, second(c, d)): a + x + y + u + v = s + 2 * (c + d)
sum_of = _operation(  # the sum bit of a + b + c, given second(b, c)
    lambda a, b, b_c: a ^ b_c if len(a) == 32 else a ^ b ^ b_c,
    _by_width(lambda e, a, b, b_c: e.xor(a, b_c), _exclusive),
    3,
)
carry_of = _operation(  # its carry
    lambda a, b, b_c: b ^ (b_c & (b ^ a)) if len(a) == 32 else a & b | a & b_c | b & b_c,
    _by_width(lambda e, a, b, b_c: e.xor(b, e.and_(b_c, e.xor(b, a))), _majority),
    3,
)
