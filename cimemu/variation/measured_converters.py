"""Converters as they were measured: INL or DNL curves of some, of which every converter takes one by chance."""

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from cimemu.errors import ArchError
from cimemu.kernels.small import cell_lanes
from cimemu.variation.base import Owner, Stage, Stream, VariationBase
from cimemu.variation.converter import OfConverters
from cimemu.variation.table import Columns, open_table

LSB = ("LSB", "lsb")


class MeasuredConverters(OfConverters, VariationBase):
    """`t_k' = t_k + lsb * INL(k)`: threshold k lies between the codes k - 1 and k, and thresholds stay in ascending order.

    The file has a column `code` (0, 1, ... in order) and a column for every measured converter, whose name begins with `inl` or
    `dnl` and ends with the unit: `inl_1_LSB`. A DNL is the width of a code less one LSB, and the INL of a code the sum of the DNL
    of the codes before it.
    """

    model: Literal["measured_converters"] = "measured_converters"
    file: str = Field(
        description="CSV of converters: code, and a column inl..._LSB or dnl..._LSB for each that was measured"
    )
    fit: Literal["exact", "stretch"] = Field(
        "exact",
        description="exact: the file has the codes of macro.adc.bits; stretch: its curves are drawn over the codes that there are",
    )

    noise: ClassVar[float] = 0.0
    stage: ClassVar[Stage] = "converter"
    draws_of: ClassVar[Owner | None] = "device"
    source: ClassVar[str] = "a file of measured converters"

    _curves: NDArray[np.float64] = PrivateAttr()  # [converters, codes] INL in LSB

    def model_post_init(self, context: Any) -> None:
        """Read the file once."""
        self._curves = _curves(open_table(self.file, "a CSV of measured converters"))

    @property
    def is_identity(self) -> bool:
        """All are straight."""
        return not self._curves.any()

    def smallest(self, top: int) -> float | None:
        """The spread of all thresholds, for a step of one level."""
        return float(self._curves.std()) or None

    def errors(
        self, stream: Stream, macro: int, converters: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(by how many LSB `count` thresholds are moved [converters, count], gain errors 0 [converters]) of converters of a macro.

        ArchError where the file has other codes and `fit` is exact.
        """
        lanes = np.empty((1, int(converters[-1]) + 1), dtype=np.uint16)
        cell_lanes(stream.key, macro, 0, 0, 0, 0, lanes)
        taken = (lanes[0, converters].astype(np.int64) * len(self._curves)) >> 16
        return self._thresholds(count)[taken], np.zeros(len(converters))

    def _thresholds(self, count: int) -> NDArray[np.float64]:
        """INL [measured converters, thresholds 1 .. count]."""
        known = self._curves.shape[1] - 1
        if known == count:
            return self._curves[:, 1:]
        if self.fit == "exact":
            raise ArchError(
                f"--vary measured_converters: {self.file}: converters of {known + 1} codes, macro.adc.bits gives {count + 1}; "
                "take that number of bits, or fit=stretch"
            )
        place = np.arange(1, count + 1) * known
        first = np.minimum(place // count, known - 1)
        share = (place - first * count) / count
        return np.asarray(self._curves[:, first] * (1 - share) + self._curves[:, first + 1] * share)


def _curves(columns: Columns) -> NDArray[np.float64]:
    """INL [converters, codes] in LSB."""
    file = columns.file
    code = next((name for name in columns.texts if "code" in name.lower()), None)
    curves = [name for name in columns.texts if name.lower().startswith(("inl", "dnl"))]
    if code is None or not curves:
        raise ValueError(
            f"{file}: has columns {', '.join(columns.texts)[:80]}; must have code, and inl..._LSB or dnl..._LSB a converter"
        )
    wrong = next((name for name in curves if columns.units[name] not in LSB), None)
    if wrong is not None:
        raise ValueError(f"{file}: column {wrong} is in {columns.units[wrong]}, must be in LSB")
    if len(columns.lines) < 2 or (columns.numbers(code) != np.arange(len(columns.lines))).any():
        raise ValueError(f"{file}: {code} must be 0, 1, 2 ... in order, two codes at least")
    made = []
    for name in curves:
        values = columns.numbers(name)
        made.append(values if name.lower().startswith("inl") else np.concatenate([[0.0], np.cumsum(values[:-1])]))
    return np.array(made)
