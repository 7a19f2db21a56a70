"""A convolution cut into arrays, seen as one grouped convolution: array g is group g and meets its own channels alone.

ColumnQuant (arXiv 2502.07842) trains on such a view: the filters of all arrays side by side, one convolution of G groups,
and its G x N outputs are the arrays' sums, converted one by one and added. Where the channels do not divide evenly, the
smaller groups are padded with empty channels here (its code runs the last group apart). The code at hand feeds the whole
input to every group; a crossbar cannot, so only the physical form is offered.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import MappingError
from cimemu.mapping.layout import make_layout


@dataclass(frozen=True, eq=False)
class GroupedView:
    """Filters and channels of a convolution's arrays."""

    weight: NDArray[Any]  # [arrays * outputs, slots, *kernel]: every filter, array by array; 0 in empty slots
    channels: NDArray[np.int64]  # [arrays, slots] input channel of a slot, -1 for an empty one

    @property
    def groups(self) -> int:
        """Groups of the convolution: arrays that one output is spread over."""
        return len(self.channels)

    def inputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """`x` [images, channels, ...] as the grouped convolution takes it, [images, arrays * slots, ...]; 0 where empty."""
        taken = x[:, self.channels.ravel()]
        taken[:, self.channels.ravel() < 0] = 0
        return taken

    def psums(self, y: NDArray[Any]) -> NDArray[Any]:
        """The grouped convolution's outputs [images, arrays * outputs, ...] by array, [images, arrays, outputs, ...]."""
        return y.reshape(len(y), self.groups, -1, *y.shape[2:])


def grouped_view(weight: NDArray[Any], macro: Macro) -> GroupedView:
    """The view of a convolution's `weight` [outputs, channels, *kernel] (no groups of its own) as `macro` cuts its rows.

    Raises MappingError where the cut leaves a kernel in two arrays.

    >>> import cimemu, numpy as np
    >>> macro = cimemu.load_arch("rram_128", {"macro.mapping.rows": "grouped"}).macro
    >>> view = cimemu.grouped_view(np.ones((2, 20, 3, 3), dtype=int), macro)  # 180 rows in arrays of 128
    >>> view.groups, view.weight.shape, view.channels.shape
    (2, (4, 10, 3, 3), (2, 10))
    """
    weight = np.asarray(weight)
    if weight.ndim < 2 or weight.dtype.kind not in "iuf" or not weight.size:
        raise MappingError(
            f"weight: {weight.dtype} of shape {weight.shape}, must be numbers [outputs, channels, *kernel]"
        )
    outputs, channels = weight.shape[:2]
    area = int(np.prod(weight.shape[2:], dtype=np.int64))
    blocks = make_layout(channels * area, outputs, macro, area).row_blocks
    torn = next((edge for _, edge in blocks if edge % area), None)
    if torn is not None:
        raise MappingError(
            f"mapping.rows = {macro.mapping.rows}: row {torn} parts a kernel of {area} rows, which no grouped convolution "
            "can; use mapping.rows = grouped or whole_kernels"
        )
    slots = max(last - first for first, last in blocks) // area
    order = np.full((len(blocks), slots), -1, dtype=np.int64)
    parts = np.zeros((len(blocks), outputs, slots, *weight.shape[2:]), dtype=weight.dtype)
    for number, (first, last) in enumerate(blocks):
        mine = np.arange(first // area, last // area)
        order[number, : len(mine)] = mine
        parts[number, :, : len(mine)] = weight[:, mine]
    return GroupedView(parts.reshape(-1, slots, *weight.shape[2:]), order)
