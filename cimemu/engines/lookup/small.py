"""Tables by kernels, or in NumPy where there are few (see `cimemu.lanes.small`)."""

from cimemu.engines.lookup import table_kernels as kernels
from cimemu.lanes.small import Either

nibble_ranges = Either(kernels.nibble_ranges, kernels.nibble_ranges_naive)
fill_tables = Either(kernels.fill_tables, kernels.fill_tables_naive)
