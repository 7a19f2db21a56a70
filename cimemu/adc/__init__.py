"""Converter models: a new one is a file and an entry here, or a plug-in of the group `cimemu.adc` (see `cimemu.extend`)."""

from typing import TYPE_CHECKING, Annotated, Any

from cimemu.adc.base import ConverterBase
from cimemu.adc.ideal import IdealAdc
from cimemu.adc.linear import LinearAdc
from cimemu.adc.nonlinear import NonlinearAdc
from cimemu.open_union import Open

Plain = IdealAdc | LinearAdc | NonlinearAdc  # the forms that engines know
MODELS: dict[str, type[Any]] = {"ideal": IdealAdc, "linear": LinearAdc, "nonlinear": NonlinearAdc}

if TYPE_CHECKING:
    Adc = IdealAdc | ConverterBase
else:
    Adc = Annotated[Plain, Open("cimemu.adc")]


def plain(adc: "Adc") -> Plain:
    """A converter as one of the three forms that engines know: one of a plug-in becomes its tables. Raises ArchError."""
    if isinstance(adc, IdealAdc) or type(adc) in (LinearAdc, NonlinearAdc):
        return adc  # type: ignore[return-value]
    thresholds, levels = adc.tables()
    return NonlinearAdc(
        circuit=adc.circuit, bits=adc.bits, cycles=adc.conversion_cycles(), thresholds=thresholds, levels=levels
    )


__all__ = ["MODELS", "Adc", "ConverterBase", "IdealAdc", "LinearAdc", "NonlinearAdc", "Plain", "plain"]
