"""The macro count of CIM-aware adaption (arXiv 2510.14379, stage 1), reconstructed: what it says next to the mapper."""

from dataclasses import dataclass
from math import ceil

from cimemu.arch.macro import Macro
from cimemu.layer.macro_layer import Geometry


@dataclass(frozen=True)
class PaperCount:
    """Whole kernels in rows, columns of all layers laid side by side without gaps."""

    columns: int
    macros: int
    utilization: float


def paper_count(geometries: list[Geometry], macro: Macro) -> PaperCount:
    """`n = floor(rows / K^2)` channels a macro, `B = ceil(Cin / n) * Cout * S` columns, `M = ceil(sum B / columns)`.

    Only the count: no converter boundary, no block that must lie in one macro. A kernel larger than the rows takes
    as many row blocks as it needs.
    """
    columns = cells = 0
    for g in geometries:
        blocks = row_blocks(g.channels_in // g.groups, g.kernel_area, macro.rows)
        columns += blocks * g.channels_out * macro.output_width
        cells += g.rows_per_group * g.channels_out * macro.columns_per_output
    macros = ceil(columns / macro.columns)
    return PaperCount(columns, macros, cells / (macros * macro.rows * macro.columns))


def row_blocks(channels: int, kernel_area: int, rows: int) -> int:
    """`G = ceil(Cin / n)`: macros one above the other that hold the kernels of `channels` input channels."""
    fit = rows // kernel_area
    return ceil(channels / fit) if fit else ceil(channels * kernel_area / rows)
