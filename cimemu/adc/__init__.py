"""Converter models; the union below is the registry: a new converter is one file and one entry here."""

from typing import Annotated

from pydantic import Field

from cimemu.adc.ideal import IdealAdc
from cimemu.adc.linear import LinearAdc
from cimemu.adc.nonlinear import NonlinearAdc

Adc = Annotated[IdealAdc | LinearAdc | NonlinearAdc, Field(discriminator="model")]

__all__ = ["Adc", "IdealAdc", "LinearAdc", "NonlinearAdc"]
