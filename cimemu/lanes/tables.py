"""Tables of up to 256 bytes in memory, 32 entries at a time: rows of 16 looked up in registers, then chosen from."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimemu.lanes.registers import _BYTES, _I8, _I32, _I64, _bytes_of, _call, _pick, _pointer, lanes


def _make_lookup_rows(rows):
    @intrinsic
    def lookup_rows(typingctx, array, index, which):
        def codegen(context, builder, sig, args):
            where = context.cast(builder, args[1], sig.args[1], types.intp)
            found, inside = [], args[2]
            if rows == 16:  # bit 7 of an index would give 0
                inside = builder.and_(inside, ir.Constant(_BYTES, [127] * 32))
            for row in range(rows):
                half = ir.VectorType(_I8, 16)
                at = builder.add(where, ir.Constant(where.type, 16 * row))
                loaded = builder.load(_pointer(context, builder, sig.args[0], args[0], at, half))
                loaded.align = 1
                both_ = builder.shuffle_vector(
                    loaded, ir.Constant(half, ir.Undefined), ir.Constant(ir.VectorType(_I32, 32), [*range(16)] * 2)
                )
                found.append(_call(builder, "llvm.x86.avx2.pshuf.b", _BYTES, [both_, inside]))
            move = 3  # bit 4, then 5, 6 and 7 of the index goes to bit 7, which chooses
            wide = ir.VectorType(_I64, 4)
            while len(found) > 1:
                moved = builder.shl(builder.bitcast(args[2], wide), ir.Constant(wide, [move] * 4))
                chooser = builder.bitcast(moved, _BYTES)
                found = [
                    _call(builder, "llvm.x86.avx2.pblendvb", _BYTES, [found[j], found[j + 1], chooser])
                    for j in range(0, len(found), 2)
                ]
                move -= 1
            return found[0]

        return lanes(array, index, which), codegen

    return lookup_rows


def _lookup_rows_python(rows):
    return lambda array, index, which: _bytes_of(array)[index : index + 16 * rows][which]


# Tables of 16 to 256 entries (1 to 16 rows of 16); the index must be inside them.
lookup1, lookup2, lookup4, lookup8, lookup16 = (
    _pick(_lookup_rows_python(rows), lambda rows=rows: _make_lookup_rows(rows)) for rows in (1, 2, 4, 8, 16)
)
