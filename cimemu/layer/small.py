"""Elementwise layers by kernels, or in NumPy where there is little to do (see `cimemu.lanes.small`)."""

from cimemu.lanes.small import Either
from cimemu.layer import elementwise_kernels as kernels

look_up_pairs = Either(kernels.look_up_pairs, kernels.look_up_pairs_naive)
