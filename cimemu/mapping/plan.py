"""The plan: a value-free program that values (compute) and time (timing) both interpret.

A layer on macros is cut into units (pieces raised together), a unit into row blocks x column blocks;
each (unit, row block, column block) is one `Block` in one macro. A macro operation is one input vector
(output position) on one block. `block.index` is the block's number inside its layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry
from cimemu.mapping.layout import LayerCut, Layout, Unit


@dataclass(frozen=True)
class Block:
    """The piece of a layer's weight matrix in one macro."""

    index: int
    unit: int
    row_block: int
    col_block: int
    rows_used: int
    outputs: int
    columns_used: int  # converted columns, those of checksums with them, without a reference column
    physical_columns: int  # bitlines occupied
    cells: int  # cells that hold weights (off-block cells of a packed grouped convolution left out) or their checksums
    op_cycles: int  # nothing skipped


@dataclass(frozen=True)
class Placed:
    """One copy of one block in one macro: replica r serves output positions p with p mod R == r.

    `layer` is the first of the layers that share the cells in that phase (`LayerPlan.cells_of`).
    """

    layer: int
    block: int
    replica: int
    macro: int
    first_column: int
    phase: int


@dataclass(frozen=True)
class LayerPlan:
    """One layer of the program; `geometry`, the cut and its blocks are empty off macros.

    Its output is complete in `phase`; a layer larger than the chip begins in an earlier one, `first_phase`.
    """

    index: int
    name: str
    op: str
    inputs: tuple[int, ...]  # producing layers; -1, -2, ... are the network's inputs in their order
    phase: int
    geometry: Geometry | None
    cut: LayerCut
    blocks: tuple[Block, ...]
    replicas: int
    input_types: tuple[TensorType, ...]
    output_types: tuple[TensorType, ...]
    digital_ops: int
    layout: str  # of a macro layer's tensors: nchw, nhwc or rows
    pool_rows: tuple[int, ...]  # (kernel rows, stride) of a pooling layer, else empty
    table_bits: int  # of a constant table read from off-chip memory, an image
    is_output: bool  # whether a network output is among the outputs
    first_phase: int = 0
    cells_of: int = -1  # of a layer on macros: whose cells it uses, its own index where it has its own
    written: bool = False  # its cells hold an activation, which is written for every image
    parts: int = 1  # products of digits that make one product of the network

    @property
    def units(self) -> tuple[Unit, ...]:
        """The matrices that the layer is made of."""
        return self.cut.units

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layout of every unit."""
        return self.cut.layouts

    @property
    def phases(self) -> range:
        """The phases that it runs in."""
        return range(self.first_phase, self.phase + 1)

    @property
    def on_macros(self) -> bool:
        """Whether the layer runs on macros."""
        return self.geometry is not None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return 0 if self.geometry is None else self.geometry.macs // self.parts


@dataclass(frozen=True)
class Plan:
    """The whole program on one chip."""

    arch: Arch
    network: str
    layers: tuple[LayerPlan, ...]
    placed: tuple[Placed, ...]
    phases: int
    macros_used: int
    utilization: float  # weight-holding cells / cells of the macros used
    macro_cells: NDArray[np.int64]  # [phases, macros] cells that hold weights
    writes_per_cell: float  # of weights, in one run beyond the first programming: 0 where everything fits
    kept: dict[Any, Any] = field(init=False, repr=False, compare=False, default_factory=dict)  # worked out of it once

    @cached_property
    def by_phase(self) -> tuple[Sequence[Placed], ...]:
        """What is placed in every phase."""
        found: tuple[list[Placed], ...] = tuple([] for _ in range(self.phases))
        for p in self.placed:
            found[p.phase].append(p)
        return found

    @property
    def cut(self) -> bool:
        """Whether a layer is larger than the chip and runs in several phases."""
        return any(len(layer.phases) > 1 for layer in self.layers)

    def most_writes(self, images: int) -> float:
        """Writes of the cell that a run of `images` writes most often, the first programming left out."""
        held = {(p.phase, p.macro): self.layers[p.layer].written for p in self.placed}
        often: dict[int, int] = {}
        for (_, macro), written in held.items():
            often[macro] = often.get(macro, 0) + (images if written else int(self.phases > 1))
        return max([self.writes_per_cell, *map(float, often.values())])
