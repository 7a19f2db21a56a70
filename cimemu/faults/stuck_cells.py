"""What a chip of stuck cells differs by from the ideal one: its faulty cells, in the rows and columns of the network's matrices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.forward import Emulator
from cimemu.macro.sites import Site, planned_sites
from cimemu.macro.vary import told
from cimemu.mapping.plan import Plan
from cimemu.variation.compose import Variations


@dataclass(frozen=True, eq=False)
class Faulty:
    """Cells of one unit of a layer, in one replica, whose levels are not what they should be: an entry a cell.

    `row` and `column` (physical) are counted in the unit's matrix; `delta` is by how many levels the cell is off.
    """

    layer: str
    replica: int
    unit: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    delta: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Block:
    first_row: int
    first_column: int
    site: Site
    targets: NDArray[np.uint8]


class NetworkCells:
    """All cells that a network's weights are written into, as they should be."""

    def __init__(self, emulator: Emulator, plan: Plan) -> None:
        """Of every replica and unit of the layers that `emulator` has on macros."""
        self.top = 2**emulator.macro.cell.bits - 1
        per_output = emulator.macro.columns_per_output
        self.pieces: list[tuple[str, int, int, list[_Block]]] = []
        for name, replicas in planned_sites(plan).items():
            for r, units in enumerate(replicas):
                for u, (programmed, sites) in enumerate(zip(emulator.matrices[name].programmed, units)):
                    layout = programmed.matrix.layout
                    blocks = [
                        _Block(
                            layout.row_blocks[rb][0],
                            layout.col_blocks[cb][0] * per_output,
                            site,
                            told(programmed.matrix, (rb, cb))[0],
                        )
                        for (rb, cb), site in sites.items()
                    ]
                    self.pieces.append((name, r, u, blocks))

    def faulty(self, variations: Variations) -> list[Faulty]:
        """The cells that models which do nothing but stick cells leave at other levels than they should hold."""
        models = variations.at("cells")
        made = []
        for name, replica, unit, blocks in self.pieces:
            parts = []
            for block in blocks:
                shape, site = block.targets.shape, block.site
                found = [
                    model.stuck(site.macro, site.first_column, shape, self.top, stream) for model, stream in models
                ]
                row, column, level = found[0] if len(found) == 1 else _last(found, shape)
                delta = level - block.targets[row, column]
                off = delta != 0
                if off.any():
                    parts.append((row[off] + block.first_row, column[off] + block.first_column, delta[off]))
            if parts:
                row, column, delta = (np.concatenate(arrays) for arrays in zip(*parts))
                made.append(Faulty(name, replica, unit, row, column, delta))
        return made


Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _last(found: Sequence[Found], shape: tuple[int, ...]) -> Found:
    """Stuck cells of several models: where two stick a cell, the later one's level holds."""
    level = np.full(shape, -1, dtype=np.int64)
    for row, column, at in found:
        level[row, column] = at
    row, column = np.nonzero(level >= 0)
    return row, column, level[row, column]
