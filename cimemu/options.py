"""What a run is asked for beside its network and images: three records, each of which checks its own fields.

`cimemu.run` takes them whole (`options=`, `draws=`, `output=`) or by the names of their fields.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.errors import CimemuError

Progress = Callable[[str, int, int], None]  # stage, done, of how many (0: not known)
Metric = Callable[[NDArray[Any]], float | None]
BUDGET_BYTES = 1 << 30
DETAILS = ("ops", "cycles")


@dataclass(frozen=True)
class Options:
    """How a run works, and what it reports. No field changes an output, a cycle or an energy.

    `detail` is "ops" (an event for every macro operation), "cycles" (an event for every drive, conversion round and
    shift-add) or None (no timing and no energy). `batch` images are computed together. `path` "serial" forbids the exact
    integer product that otherwise stands in for bit-serial work where it is proven equal. `threads` is the number of
    threads (None: one), `budget_bytes` the memory that a layer's work may take. `progress` is called with
    (stage, done, of how many). `metric` makes the accuracy of outputs that are no class scores (see `Workload.score`).
    Raises CimemuError where a field is out of its range.

    >>> import cimemu
    >>> cimemu.Options(path="serial", threads=2).detail
    'ops'
    """

    detail: str | None = "ops"
    batch: int = 64
    path: str = "auto"
    threads: int | None = None
    budget_bytes: int = BUDGET_BYTES
    progress: Progress | None = None
    metric: Metric | None = None

    def __post_init__(self) -> None:
        if self.detail is not None and not (isinstance(self.detail, str) and self.detail in DETAILS):
            raise CimemuError(f"detail = {self.detail!r}, must be ops, cycles or None")
        bounds.whole("batch", self.batch, 1, bounds.MOST_IMAGES)
        if self.threads is not None:
            bounds.whole("threads", self.threads, 1, bounds.MOST_THREADS)


@dataclass(frozen=True)
class Draws:
    """What chance decides: the models of variation in order, and the numbers that every draw follows from.

    `vary` holds texts as `--vary` takes them, mappings, or models of `cimemu.variation`. `seed` is 0 .. 2^63 - 1; `trial`
    counts chips drawn with one seed. Raises CimemuError where a field is out of its range.

    >>> import cimemu
    >>> cimemu.Draws(seed=7, vary=["lognormal:sigma=0.1"]).trial
    0
    """

    seed: int = 0
    trial: int = 0
    vary: Sequence[Any] = ()

    def __post_init__(self) -> None:
        bounds.whole("seed", self.seed, 0, bounds.MOST_SEED)
        bounds.whole("trial", self.trial, 0, bounds.MOST_TRIAL)
        if isinstance(self.vary, str | bytes) or not isinstance(self.vary, Sequence | np.ndarray):
            raise CimemuError(f"vary = {self.vary!r:.60}, must be a list of models")


@dataclass(frozen=True)
class Output:
    """The trace that a run writes.

    `trace` names the HDF5 file (None: none is written), which `overwrite` may replace. Its events are those of the first
    `event_images` images (None: as many as 20 million events hold); `provenance` is kept in it as JSON. Raises
    CimemuError where a field is out of its range.

    >>> import cimemu
    >>> cimemu.Output("digits.h5", overwrite=True).event_images is None
    True
    """

    trace: str | Path | None = None
    overwrite: bool = False
    event_images: int | None = None
    provenance: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.trace is not None and not isinstance(self.trace, str | Path):
            raise CimemuError(f"trace = {self.trace!r:.60}, must be a path")
        if self.event_images is not None:
            bounds.whole("event_images", self.event_images, 0, bounds.MOST_IMAGES)


class DrawsKeywords(TypedDict, total=False):
    """Every field of `Draws`, as a keyword."""

    seed: int
    trial: int
    vary: Sequence[Any]


class RunKeywords(DrawsKeywords, total=False):
    """Every field of the three records, as a keyword of `cimemu.run`."""

    trace: str | Path | None
    detail: str | None
    batch: int
    path: str
    threads: int | None
    budget_bytes: int
    overwrite: bool
    event_images: int | None
    provenance: Mapping[str, Any] | None
    progress: Progress | None
    metric: Metric | None
