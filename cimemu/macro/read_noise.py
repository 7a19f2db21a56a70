"""Noise of single reads: what is added to a partial sum before it is converted, drawn anew at every conversion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.kernels.noise import normal_quantiles
from cimemu.kernels.read_noise import SIGMA_BITS
from cimemu.kernels.small import add_read_noise


@dataclass(frozen=True, eq=False)
class ReadNoise:
    """One Gaussian source of noise in the columns of one matrix, the same for every read but its draws.

    A draw is keyed by (the column's key, global image index, output position, group in its macro, input slice,
    column in its macro); the key stands for (seed, trial, model, instance, macro). What is added is
    `(sigma * quantile + 2^31) >> 32` with quantiles in units of 2^-24 sigma that end at +-4.33 sigma.
    """

    keys: NDArray[np.uint64]  # [row blocks, converted columns]: the stream of the macro that holds the column
    columns: NDArray[np.int64]  # [converted columns]: the converted column's number in its macro
    sigma: NDArray[np.int64]  # [row blocks, converted columns], in psum units of 2^-(fraction_bits + SIGMA_BITS)


@dataclass(frozen=True)
class Reads:
    """Which reads the rows of `x [P, K]` are: row j is row `first_row + j` of all images' positions, image-major.

    `positions` are the positions of an image on this matrix; with replicas, position q of replica r of R is output
    position `q * R + r` of the layer. Layers that share cells have one replica, and `replica` is then how many positions
    of the image the cells have served before.
    """

    first_row: int = 0
    positions: int = 1
    replicas: int = 1
    replica: int = 0

    def after(self, rows: int) -> "Reads":
        """The reads of the inputs that follow the first `rows`."""
        return Reads(self.first_row + rows, self.positions, self.replicas, self.replica)

    def place(self, row: int) -> tuple[int, int]:
        """(global image index, output position) of row `row` of x."""
        image, position = divmod(self.first_row + row, self.positions)
        return image, position * self.replicas + self.replica


def quantised_sigma(sigma_psum: NDArray[np.float64], fraction_bits: int) -> NDArray[np.int64]:
    """Standard deviations in psum units (1 = one input of 1 on a cell of level 1), rounded once to fixed point."""
    return np.rint(np.asarray(sigma_psum, dtype=np.float64) * 2.0 ** (fraction_bits + SIGMA_BITS)).astype(np.int64)


def add_noise(
    psums: NDArray[np.int64],
    noise: tuple[ReadNoise, ...],
    reads: Reads,
    place: tuple[int, int, int],
    macro: Macro,
) -> None:
    """Add the draws of all sources to psums [P, c]; place is (row block, group in it, input slice).

    Where a step is read several times, what is left is the median: the code of the median is the median of the codes. Read m
    of slice i draws as slice `i + m * input slices` would, so that read 0 is the only read of a macro that reads once.
    """
    block, group, step = place
    times = macro.repair.reads
    if times == 1 or not noise:
        _add_once(psums, noise, reads, place)
        return
    every = np.repeat(psums[None], times, axis=0)
    for m in range(times):
        _add_once(every[m], noise, reads, (block, group, step + m * macro.input_slices))
    psums[...] = np.sort(every, axis=0)[times // 2]


def _add_once(
    psums: NDArray[np.int64], noise: tuple[ReadNoise, ...], reads: Reads, place: tuple[int, int, int]
) -> None:
    """The draws of one read."""
    block, group, step = place
    for source in noise:
        add_read_noise(
            psums,
            source.keys[block],
            source.columns,
            source.sigma[block],
            np.array([reads.first_row, reads.positions, reads.replicas, reads.replica], dtype=np.int64),
            group,
            step,
            normal_quantiles(),
        )
