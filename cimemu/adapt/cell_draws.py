"""Varied cells and reads for training: what every converter sees of each weight, drawn by the very models of `stress`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.errors import ArchError
from cimemu.kernels.read_noise import SIGMA_BITS
from cimemu.macro.encode import fixed_seen
from cimemu.macro.program import Writing, write_matrix
from cimemu.macro.sites import Site, own_macros
from cimemu.macro.surroundings import Surroundings
from cimemu.macro.vary import start_draft
from cimemu.mapping.layout import make_layout
from cimemu.variation.base import CELL_STAGES, VariationBase
from cimemu.variation.compose import compose
from cimemu.variation.driver import Driver
from cimemu.variation.parse import name_of
from cimemu.variation.telegraph import Telegraph


class CellDraws:
    """Draws of one layer's cells, a chip a step; layers of different `first_macro` never share a draw."""

    def __init__(self, vary: Sequence[str], macro: Macro, *, seed: int, first_macro: int) -> None:
        """Raises ArchError for a model that changes other things than cells, or does not fit them."""
        variations = compose(vary, seed)
        for model in variations.models:
            problem = None if model.is_identity else _problem(model)
            if problem:
                raise ArchError(f"--vary {name_of(model)} while training: {problem}")
        variations.check(2**macro.cell.bits - 1)
        if macro.repair.reads > 1 and any(not m.is_identity and m.stage == "read" for m in variations.models):
            raise ArchError(
                f"macro.repair.reads = {macro.repair.reads} while training with noise of reads: one read is drawn there; set "
                "macro.repair.reads to 1, or leave the noise to stress"
            )
        self.vary, self.seed, self.first_macro = tuple(vary), seed, first_macro
        self.macro = macro.model_copy(update={"adc": IdealAdc(), "accumulator_bits": None})

    def deviations(self, weights: NDArray[np.int64], kernel_area: int, step: int) -> NDArray[np.float32]:
        """`drawn`, of the cells alone."""
        return self.drawn(weights, kernel_area, step)[0]

    def drawn(
        self, weights: NDArray[np.int64], kernel_area: int, step: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """What a converter of chip `step` sees per unit of input more than with ideal cells, and the spread of its reads.

        `weights` integers [K, N]; float32 [K, N * conversions per output], columns over (output, conversion), and [row
        blocks, the same] in psums, None where reads are exact.
        """
        layout = make_layout(weights.shape[0], weights.shape[1], self.macro, kernel_area)
        sites = {
            place: Site(self.first_macro + site.macro, site.first_column, site.write)
            for place, site in own_macros(layout).items()
        }
        ideal = write_matrix(weights, self.macro, Writing(layout=layout))
        variations = compose(self.vary, self.seed, step)
        draft = start_draft(ideal, sites, variations)
        for task in draft.tasks():
            task()
        fixed = fixed_seen(draft.cells, ideal.columns)
        unit = 2.0**draft.macro.cell.fraction_bits
        noise = Surroundings(ideal, sites, variations, draft.macro, draft.blocks).noise()
        spread = None
        if noise:
            variance = sum((source.sigma / (unit * 2.0**SIGMA_BITS)) ** 2 for source in noise)
            spread = np.sqrt(variance).astype(np.float32)
        return (fixed / unit - ideal.seen).astype(np.float32), spread


def _problem(model: VariationBase) -> str | None:
    """Why a model cannot be trained with."""
    if isinstance(model, Telegraph) and model.draw == "traps":
        return "the state of every trap is not drawn there, take draw=normal or leave it to stress"
    if isinstance(model, Driver) and model.inl:
        return "the bow of drivers is not in its forward, leave inl to stress"
    if model.solves_reads:
        return "rows = gated, solver = exact is no matrix of cells, use solver fast"
    if model.stage not in (*CELL_STAGES, "read"):
        return "only models of cells and reads are drawn there, leave it to stress"
    return None
