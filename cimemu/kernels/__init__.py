"""Kernels that several rooms share: random words by counters, normal quantiles, what draws do to cells and psums."""
