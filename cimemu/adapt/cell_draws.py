"""Varied cells for training: what every converter sees of each weight, drawn by the very models of `stress`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.compute.program import fixed_seen, write_matrix
from cimemu.compute.sites import Site, own_macros
from cimemu.compute.vary import start_draft
from cimemu.errors import ArchError
from cimemu.mapping.layout import make_layout
from cimemu.variation.base import CELL_STAGES
from cimemu.variation.compose import compose
from cimemu.variation.parse import name_of


class CellDraws:
    """Draws of one layer's cells, a chip a step; layers of different `first_macro` never share a draw."""

    def __init__(self, vary: Sequence[str], macro: Macro, *, seed: int, first_macro: int) -> None:
        """Raises ArchError for a model that changes other things than cells, or does not fit them."""
        variations = compose(vary, seed)
        others = [
            name_of(model) for model in variations.models if model.stage not in CELL_STAGES and not model.is_identity
        ]
        if others:
            raise ArchError(
                f"--vary {others[0]} while training: only models of cells are drawn there, leave it to stress"
            )
        solved = [name_of(model) for model in variations.models if model.solves_reads]
        if solved:
            raise ArchError(
                f"--vary {solved[0]} while training: rows = gated, solver = exact is no matrix of cells, use solver fast"
            )
        variations.check(2**macro.cell.bits - 1)
        self.vary, self.seed, self.first_macro = tuple(vary), seed, first_macro
        self.macro = macro.model_copy(update={"adc": IdealAdc(), "accumulator_bits": None})

    def deviations(self, weights: NDArray[np.int64], kernel_area: int, step: int) -> NDArray[np.float32]:
        """What a converter of chip `step` sees per unit of input more than with ideal cells.

        `weights` integers [K, N]; float32 [K, N * conversions per output], columns over (output, conversion).
        """
        layout = make_layout(weights.shape[0], weights.shape[1], self.macro, kernel_area)
        sites = {
            place: Site(self.first_macro + site.macro, site.first_column, site.write)
            for place, site in own_macros(layout).items()
        }
        ideal = write_matrix(weights, self.macro, layout=layout)
        draft = start_draft(ideal, sites, compose(self.vary, self.seed, step))
        for task in draft.tasks():
            task()
        fixed = fixed_seen(draft.cells, ideal.columns, layout)
        return (fixed / 2.0**draft.macro.cell.fraction_bits - ideal.seen).astype(np.float32)
