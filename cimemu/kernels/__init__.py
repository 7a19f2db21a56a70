"""Numba kernels: arrays and numbers in, arrays out. Each has its naive twin directly below it."""
