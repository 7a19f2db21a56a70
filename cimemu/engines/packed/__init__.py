"""Engine `packed`: one-bit cells in 64-bit words, AND and population count, clamp and shift-add fused.

Serves one-bit cells and one-bit input slices behind converters that are one addition and one clamp, the same for all
columns. It needs no tables, so it is the fastest for few inputs; its bound is one AND, one count and one add for every 32 rows,
input slice and column, sixteen columns a register."""
