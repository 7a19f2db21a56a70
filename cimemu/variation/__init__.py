"""Variation models: a new one is a file and an entry here, or a plug-in of the group `cimemu.variation`."""

from typing import Annotated, Any, get_args

from pydantic import Field

from cimemu.variation.base import VariationBase
from cimemu.variation.calibration import Calibration
from cimemu.variation.chip import Chip
from cimemu.variation.converter import Converter
from cimemu.variation.drift import Drift
from cimemu.variation.driver import Driver
from cimemu.variation.ir_drop import IrDrop
from cimemu.variation.level_spread import LevelSpread
from cimemu.variation.lognormal import Lognormal
from cimemu.variation.measured import Measured
from cimemu.variation.measured_converters import MeasuredConverters
from cimemu.variation.measured_drift import MeasuredDrift
from cimemu.variation.measured_reads import MeasuredReads
from cimemu.variation.normal import Normal
from cimemu.variation.on_off import OnOff
from cimemu.variation.stuck_at import StuckAt
from cimemu.variation.stuck_line import StuckBitline, StuckWordline
from cimemu.variation.telegraph import Telegraph
from cimemu.variation.temperature import Temperature
from cimemu.variation.thermal import Thermal
from cimemu.variation.write_verify import WriteVerify

Variation = Annotated[
    Lognormal
    | Normal
    | LevelSpread
    | Measured
    | MeasuredDrift
    | Chip
    | WriteVerify
    | StuckAt
    | StuckWordline
    | StuckBitline
    | OnOff
    | Drift
    | Temperature
    | IrDrop
    | Driver
    | Thermal
    | Telegraph
    | MeasuredReads
    | Converter
    | MeasuredConverters
    | Calibration,
    Field(discriminator="model"),
]
MODELS: dict[str, Any] = {kind.model_fields["model"].default: kind for kind in get_args(get_args(Variation)[0])}

__all__ = ["MODELS", "Variation", "VariationBase"]
