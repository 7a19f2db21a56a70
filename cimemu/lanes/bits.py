"""Bits of 256 numbers in a register: adders of single bits, for all of them at once."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _BYTES, _I16, _I64, _operation, _pick, _pointer, lanes, load

without = _operation(lambda a, b: a & ~b, lambda e, a, b: e.and_(a, e.not_(b)), 2)


def _make_load_listed():
    @intrinsic
    def load_listed(typingctx, rows, lists, index):
        def codegen(context, builder, sig, args):
            where = builder.shl(context.cast(builder, args[2], sig.args[2], types.intp), ir.Constant(_I64, 1))
            row = builder.load(_pointer(context, builder, sig.args[1], args[1], where, _I16))
            row.align = 2
            loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], builder.zext(row, _I64), _BYTES))
            loaded.align = 1
            return loaded

        return lanes(rows, lists, index), codegen

    return load_listed


def _load_listed_python(rows, lists, index):
    return load(rows, int(lists[index]))


load_listed = _pick(_load_listed_python, _make_load_listed)  # the register from byte lists[index] (uint16) of rows on
