"""What a stress run gives: statistics by point, the layers that break, schemes compared on the same chips."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.facts import Facts, Shown
from cimemu.stress.upkeep import Upkeep


@dataclass(frozen=True, eq=False, repr=False)
class StressResult(Shown):
    """A point is a scheme with one setting of the models; every array's first axis is the point.

    `columns`: trials, mean, std, low, high (95 % interval of the mean), method, quantiles [points, 7], worst_trial,
    worst, failed, breaks_first; `layer_error` and `own_error` [points, layers] are means over trials. `ideal` holds
    accuracy, cycles, energy and area of ideal cells by scheme. `paired` compares schemes on the same chips.
    """

    schemes: tuple[str, ...]
    scheme_of: tuple[str, ...]
    vary: tuple[tuple[str, ...], ...]
    layers: tuple[str, ...]
    columns: dict[str, NDArray[Any]]
    layer_error: NDArray[np.float64]
    own_error: NDArray[np.float64]
    accuracy: NDArray[np.float64]  # [points, trials], nan where not run
    ideal: dict[str, dict[str, Any]]
    paired: tuple[dict[str, Any], ...]
    upkeep: tuple[Upkeep | None, ...]  # by point, where chips are calibrated or written again
    errors: tuple[str, ...]  # of trials that failed every time
    seed: int
    path: Path | None

    def _facts(self) -> Facts:
        told = self.columns
        points = [
            (
                label or "ideal cells",
                f"{100 * told['mean'][i]:.2f} % [{100 * told['low'][i]:.2f}, {100 * told['high'][i]:.2f}], "
                f"worst {100 * told['worst'][i]:.2f}, {int(told['trials'][i])} chips",
            )
            for i, label in enumerate(self.labels())
        ]
        chips = int(np.sum(told["trials"]))
        return f"StressResult: {len(points)} points, {chips:,} chips, seed {self.seed}", points

    def labels(self) -> list[str]:
        """A short name of every point."""
        return [", ".join(filter(None, (scheme, *vary))) for scheme, vary in zip(self.scheme_of, self.vary)]

    def settings(self) -> list[tuple[str, ...]]:
        """The models of every setting, in order: the points of one scheme."""
        return list(self.vary[: len(self.vary) // len(self.schemes)])

    def worst_point(self) -> int | None:
        """The point with the least accurate chip; None where nothing was scored."""
        worst = self.columns["worst"]
        return None if bool(np.isnan(worst).all()) else int(np.nanargmin(worst))
