"""Yield: the share of drawn chips that reach an accuracy, with an exact interval, and how many chips to draw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.arch.schema import Arch
from cimemu.compute.checksums import Checksums, alarms_of, checksums_of
from cimemu.compute.forward import Emulator
from cimemu.emulate import score
from cimemu.errors import CimemuError, WorkloadError
from cimemu.faults.stuck_chips import StuckChips, why_not
from cimemu.macro.checksums import Alarms
from cimemu.mapping.place import make_plan
from cimemu.options import Draws
from cimemu.shares import clopper_pearson, trials_for
from cimemu.variation.compose import Variations, compose
from cimemu.workload.network import Network

BATCH = 64
LEAST_TRIALS = 10  # before a run may stop early
MOST_PLANNED = 10**9
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class YieldResult:
    """Chips drawn in order, and those that reach the accuracy; `low` and `high` are the 95 % interval of the yield."""

    accuracy: NDArray[np.float64]  # of every chip, trial 0 first
    least: float  # the accuracy that a good chip reaches
    good: int
    low: float
    high: float
    stopped: bool  # before all trials were drawn, as the interval was narrow enough
    seed: int

    @property
    def trials(self) -> int:
        """Chips drawn."""
        return len(self.accuracy)

    @property
    def share(self) -> float:
        """The yield."""
        return self.good / self.trials


class Chips:
    """A network on a chip that is drawn again and again, and scored on the same labelled images."""

    def __init__(self, arch: Arch, network: Network, inputs: Any, labels: Any) -> None:
        """Raises WorkloadError without images or labels: a yield is of accuracies."""
        self.inputs, self.network = np.asarray(inputs), network
        if len(self.inputs) == 0:
            raise WorkloadError("inputs: no image given, give at least one")
        if labels is None:
            raise WorkloadError(
                "yield: no labels given, an accuracy needs them; name them in a workload.yaml, or by --labels for a bare file"
            )
        self.labels = np.asarray(labels)
        self.plan = make_plan(network, arch)
        self.emulator = Emulator(network, arch.macro, plan=self.plan)
        self.alarms = Alarms(0, 0, 0)  # of checksum columns, all chips so far

    def checksums(self) -> Checksums | None:
        """What the checksum columns can find, and what they found on all chips so far; None where there are none."""
        found = checksums_of(self.emulator.matrices)
        return None if found is None else replace(found, **self.alarms._asdict())

    def accuracy(self, vary: Sequence[Any], seed: int, trial: int) -> float:
        """Of the chip that `vary` draws: the one that `cimemu run --seed --trial` has."""
        return float(self.accuracies([compose(vary, seed, trial)])[0])

    def at_once(self, models: Variations) -> int:
        """How many chips of such models are drawn together."""
        return 1 if self.why_full(models) is not None else self._stuck.at_once

    def why_full(self, models: Variations) -> str | None:
        """Why chips of such models run in full; None where they are told by what their stuck cells change alone."""
        return why_not(self.emulator, models, len(self.inputs))

    def accuracies(self, chips: Sequence[Variations]) -> NDArray[np.float64]:
        """Of every chip: that of a full run, however it is found."""
        if chips and all(self.why_full(models) is None for models in chips):
            return np.array([self._scored(outputs) for outputs in self._stuck.outputs(chips)])
        return np.array([self._scored(self._in_full(models)) for models in chips])

    def _in_full(self, models: Variations) -> dict[str, Any]:
        self.emulator.program(self.plan, models.models, models.seed, models.trial)
        name = self.network.outputs[0]
        outputs = [
            self.emulator.run([self.inputs[first : first + BATCH]], first_image=first, counted=False).tensors[name]
            for first in range(0, len(self.inputs), BATCH)
        ]
        self.alarms = self.alarms.plus(alarms_of(self.emulator.matrices))
        return {name: np.concatenate(outputs)}

    def _scored(self, outputs: Mapping[str, Any]) -> float:
        _, accuracy = score(outputs, self.network, self.labels, len(self.inputs))
        assert accuracy is not None
        return accuracy

    @cached_property
    def _stuck(self) -> StuckChips:
        """On an emulator of its own: a full run writes other cells into this one's."""
        emulator = Emulator(self.network, self.emulator.macro, plan=self.plan)
        return StuckChips(emulator, self.plan, self.inputs)


def yield_of(
    chips: Chips,
    *,
    draws: Draws,
    accuracy: float,
    trials: int,
    width: float | None = None,
    progress: Told | None = None,
) -> YieldResult:
    """Draw `trials` chips and count those with at least `accuracy` (a share of the images).

    `draws` has the models and the seed; chip t is trial t of them, as `stress` and `run` have it. With `width` no more chips
    are drawn once the interval is that narrow, after ten at least; that is decided on chips in order. Raises CimemuError.

    >>> import cimemu
    >>> from cimemu.stress.yields import Chips, yield_of
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    >>> draws = cimemu.Draws(seed=1, vary=["stuck_at:sa0=0.01"])
    >>> chips = Chips(arch, network, *workload.inputs(8))
    >>> found = yield_of(chips, draws=draws, accuracy=0.5, trials=4)
    >>> found.trials, found.good
    (4, 4)
    """
    bounds.whole("trials", trials, 1, bounds.MOST_TRIALS)
    bounds.real("accuracy", accuracy, 0, 1)
    if width is not None:
        bounds.real("width", width, 1e-9, 1 - 1e-9)
    models = compose(draws.vary, draws.seed)
    if not models:
        raise CimemuError("yield: nothing varies, give at least one model: --vary stuck_at:sa0=0.01")
    models.check(2**chips.emulator.macro.cell.bits - 1)
    found: list[float] = []
    good, narrow = 0, False
    step = chips.at_once(models)
    for first in range(0, trials, step):
        drawn = [replace(models, trial=trial) for trial in range(first, min(first + step, trials))]
        for one in chips.accuracies(drawn).tolist():
            found.append(one)
            good += one >= accuracy
            low, high = clopper_pearson(good, len(found)) if width is not None else (0.0, 1.0)
            narrow = width is not None and len(found) >= LEAST_TRIALS and high - low <= width
            if narrow:
                break
        if progress is not None:
            progress("chips", len(found), trials)
        if narrow:
            break
    low, high = clopper_pearson(good, len(found))
    stopped = narrow and len(found) < trials
    return YieldResult(np.array(found), accuracy, good, low, high, stopped, draws.seed)


def trials_planned(expected: float, width: float) -> int:
    """How many chips an interval of `width` takes at an expected yield. CimemuError where it is more than 10^9."""
    bounds.real("expected yield", expected, 0, 1)
    bounds.real("width", width, 1e-9, 1 - 1e-9)
    needed = trials_for(expected, width, MOST_PLANNED)
    if needed is None:
        raise CimemuError(f"width = {width}: takes more than {MOST_PLANNED:,} chips, ask for a wider interval")
    return needed
