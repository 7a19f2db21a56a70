"""Converters that differ: offset, gain, integral and differential nonlinearity, noise of single conversions."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.kernels.noise import QUANTILE_BITS, normal_quantiles
from cimemu.kernels.small import cell_lanes
from cimemu.variation.base import Owner, Stage, Stream, VariationBase


class OfConverters:
    """What models of converters share: errors of a converter are those of all columns that it serves."""

    def distorted(
        self,
        thresholds: NDArray[np.float64],
        lsb: NDArray[np.float64],
        macro: int,
        numbers: NDArray[np.int64],
        stream: Stream,
    ) -> NDArray[np.float64]:
        """`thresholds` [C, T] of columns that converters `numbers` [C] of one macro serve, in their units."""
        converters, of_column = np.unique(numbers, return_inverse=True)
        moved, gain = self.errors(stream, macro, converters, thresholds.shape[1])
        return apply_errors(thresholds, lsb, moved[of_column], gain[of_column])

    def errors(
        self, stream: Stream, macro: int, converters: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(by how many LSB `count` thresholds are moved [converters, count], gain errors [converters])."""
        raise TypeError(f"{type(self).__name__} has no errors")


class Converter(OfConverters, VariationBase):
    """Every physical converter has thresholds of its own, the same for all columns that it serves.

    `t' = (t + lsb * (bow_k + walk_k) - lsb * offset) / (1 + gain)`: the bow is parabolic with its peak at mid scale,
    the walk sums the errors of the steps and ends where it began; thresholds are put in ascending order again. `lsb`
    is the converter's step, for nonlinear ones the mean distance of thresholds. Levels (what a code stands for) stay.
    """

    model: Literal["converter"] = "converter"
    offset: float = Field(
        0.0, ge=0, le=1e3, description="standard deviation of the offset from converter to converter, in LSB"
    )
    gain: float = Field(0.0, ge=0, le=0.2, description="standard deviation of the gain error, relative")
    inl: float = Field(0.0, ge=0, le=100, description="standard deviation of the peak of the bow, in LSB")
    dnl: float = Field(0.0, ge=0, le=10, description="standard deviation of the width of a code, in LSB")
    noise: float = Field(0.0, ge=0, le=100, description="rms noise of one conversion, in LSB")

    draws_of: ClassVar[Owner | None] = "device"
    stage: ClassVar[Stage] = "converter"
    source: ClassVar[str] = "IEEE Std 1241-2010 (offset, gain, INL, DNL and noise of ADCs)"

    @property
    def is_identity(self) -> bool:
        """All are 0."""
        return not any((self.offset, self.gain, self.inl, self.dnl, self.noise))

    def smallest(self, top: int) -> float | None:
        """The smallest that is not 0, for a step of one level."""
        return min(s for s in (self.offset, self.gain, self.inl, self.dnl, self.noise) if s > 0)

    def errors(
        self, stream: Stream, macro: int, converters: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(by how many LSB `count` thresholds are moved [converters, count], gain errors [converters]) of converters of a macro."""
        offset, gain, bow = (
            sigma * _normals(stream, macro, 1, converters, draw)[0]
            for draw, sigma in enumerate((self.offset, self.gain, self.inl))
        )
        place = np.arange(1, count + 1) / (count + 1)
        moved = bow[:, None] * (4 * place * (1 - place))
        if self.dnl:
            walk = np.cumsum(self.dnl * _normals(stream, macro, count + 1, converters, 3), axis=0).T
            moved = moved + walk[:, :-1] - place * walk[:, -1:]
        return np.asarray(moved - offset[:, None]), np.asarray(gain)


def apply_errors(
    thresholds: NDArray[np.float64], lsb: NDArray[np.float64], moved: NDArray[np.float64], gain: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Thresholds [C, T] that are `moved` [C, T] by so many `lsb` [C] and seen through gain errors [C], in ascending order."""
    return np.sort((thresholds + lsb[:, None] * moved) / (1.0 + np.maximum(gain, -0.9))[:, None], axis=1)


def _normals(stream: Stream, macro: int, rows: int, converters: NDArray[np.int64], draw: int) -> NDArray[np.float64]:
    """Standard normal numbers [rows, converters], keyed by (macro, row, converter)."""
    lanes = np.empty((rows, int(converters[-1]) + 1), dtype=np.uint16)
    cell_lanes(stream.key, macro, 0, 0, 0, draw, lanes)
    return np.asarray(normal_quantiles()[lanes[:, converters]] / 2.0**QUANTILE_BITS)
