"""Engine `lookup`: tables of what a column sums for every four rows, looked up 32 positions at a time.

Serves any cells - several bits, varied, with read noise - behind any converter whose codes fit a byte, or a linear one of
any width, while partial sums fit 30 bits. Sums of 8 bits are the fastest, 16 and 32 follow. Its bound is one table look-up in
registers (PSHUFB) and one addition for four rows, 32 positions and digit of a sum."""
