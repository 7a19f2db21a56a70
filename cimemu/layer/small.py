"""Float and elementwise layers by kernels, or in NumPy where there is little to do (see `cimemu.lanes.small`)."""

from cimemu.lanes.small import Either
from cimemu.layer import conv_kernels
from cimemu.layer import elementwise_kernels as kernels

look_up_pairs = Either(kernels.look_up_pairs, kernels.look_up_pairs_naive)
add_taps = Either(conv_kernels.add_taps, conv_kernels.add_taps_naive)
