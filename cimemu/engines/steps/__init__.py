"""Engine `steps`: one (group, input slice) at a time, for everything that a macro can be.

Serves any cells, any converter, codes, accumulators that are held step by step, solved reads and traps. Partial sums come
from packed words where cells are whole numbers, else from exact BLAS products; every other engine is tested against it and
against `cimemu.macro.naive`. Its bound is memory: all partial sums of a step are written and read again."""
