"""`cimemu.mvm`: one matrix product as a macro computes it, the smallest useful thing (contract, section 1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.arch.macro import Macro
from cimemu.engines.calibrate import drawn
from cimemu.engines.choose import engines_of
from cimemu.engines.programmed import MvmResult, program
from cimemu.errors import ArchError
from cimemu.keywords import filled
from cimemu.macro.read_noise import ReadNoise, Reads
from cimemu.macro.sites import own_macros
from cimemu.variation.compose import compose


@dataclass(frozen=True, eq=False)
class MvmOptions:
    """What a product is asked for beside its operands; `cimemu.mvm` takes the fields as keywords."""

    path: str = "auto"
    cells: NDArray[np.floating] | None = None
    noise: tuple[ReadNoise, ...] = ()
    reads: Reads | None = None
    vary: Iterable[Any] = ()
    seed: int = 0
    trial: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        engines_of(self.path)
        bounds.whole("seed", self.seed, 0, bounds.MOST_SEED)
        bounds.whole("trial", self.trial, 0, bounds.MOST_TRIAL)
        if self.threads is not None:
            bounds.whole("threads", self.threads, 1, bounds.MOST_THREADS)


class MvmKeywords(TypedDict, total=False):
    """The fields of MvmOptions."""

    path: str
    cells: NDArray[np.floating] | None
    noise: tuple[ReadNoise, ...]
    reads: Reads | None
    vary: Iterable[Any]
    seed: int
    trial: int
    threads: int | None


def mvm(x: NDArray[Any], w: NDArray[Any], macro: Macro, codes: bool = False, **given: Unpack[MvmKeywords]) -> MvmResult:
    """`x` int [P, K] times `w` int [K, N] as `macro` computes it, bit for bit.

    `codes=True` also returns every converter's code. Keywords: `cells` [K, N * columns_per_output] are effective cell
    levels (real numbers, rounded once to multiples of 2^-fraction_bits) in the place of the ideal ones; `noise` is added
    to every partial sum, keyed by the place of its row in `reads`; `vary` are variation models
    (`["lognormal:sigma=0.1"]`, mappings or `cimemu.variation` models) that draw cells by `seed` and `trial` (block j of
    the matrix, row blocks outer, is macro j). `path` is auto (the fastest engine that serves), serial (the fastest that
    makes every conversion), the name of an engine, or naive; all give the same bytes. `threads` is how many (None: one).

    Raises WorkloadError for inputs or weights out of range, ArchError for a macro, cells or models that do not fit,
    CimemuError for a keyword or a path that there is not.

    >>> import cimemu
    >>> macro = cimemu.load_arch("rram_128").macro
    >>> cimemu.mvm([[1, 2]], [[3], [-4]], macro).y.tolist()
    [[-5]]
    """
    (options,) = filled("mvm", given, MvmOptions())
    programmed = program(w, macro, cells=options.cells, noise=options.noise)
    variations = compose(options.vary, options.seed, options.trial)
    if variations and (options.cells is not None or options.noise):
        raise ArchError("vary with cells or noise given: levels are either drawn or given, leave one of them out")
    if variations:
        programmed = drawn(programmed.matrix, own_macros(programmed.matrix.layout), variations)
    return programmed.run(x, codes=codes, path=options.path, threads=options.threads, reads=options.reads)
