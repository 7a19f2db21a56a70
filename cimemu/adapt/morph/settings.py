"""The key `morph` of a file for `cimemu adapt`: two-stage macro-aware adaptation."""

from typing import Any, Literal

from pydantic import Field, field_validator

from cimemu.adapt.settings import TrainSettings
from cimemu.record import Record


class MorphSettings(Record):
    """Stage 1 of macro-aware adaptation: shrink, prune, expand, retrain."""

    macros: int | tuple[int, ...] = Field(
        description="macros to fill; a list: stage 1 alone for each, as a curve beside the network trained as long",
        json_schema_extra={"option": "--macros", "least": 1},
    )
    widen: int = Field(
        1,
        ge=1,
        le=16,
        description="copies of every channel, whose readers share its weight, before anything else: the network computes the "
        "same and has more to prune",
    )
    goal: float = Field(0.9, gt=0, le=1, description="share of their cells that should hold weights")
    columns_left: float = Field(
        0.8, gt=0, le=1, description="share of their columns that shrinking leaves, the rest is filled again"
    )
    penalty: Literal["count", "log"] = Field(
        "count", description="of a channel that lives: its columns, or those times the logarithm of its scale"
    )
    threshold: float = Field(0.01, ge=0, description="channels whose batch-normalisation scale is smaller are pruned")
    live_factor: bool = Field(
        True,
        description="whether a channel costs the columns that it takes with those living now; else K^2 for each product that "
        "makes or reads it, however many others live",
    )
    drop_branches: bool = Field(False, description="whether whole residual branches may go where rows stay empty")
    stage2: bool = Field(
        True, description="whether the macro's quantisation is trained in behind it; else the float network is written"
    )
    shrink: TrainSettings = Field(
        default_factory=lambda: TrainSettings(epochs=1), description="training with penalty; keys as of `train`"
    )
    retrain: TrainSettings = Field(
        default_factory=TrainSettings, description="training of the filled network; keys as of `train`"
    )
    calibration: int = Field(
        256, ge=2, description="training images that channel scales are found on, where normalisations are folded"
    )

    @field_validator("shrink")
    @classmethod
    def _keeps_its_last(cls, value: TrainSettings) -> TrainSettings:
        if "hold_back" in value.model_fields_set:
            raise ValueError("hold_back: shrinking keeps its last epoch, set retrain.hold_back")
        return value

    @field_validator("macros")
    @classmethod
    def _some(cls, value: Any) -> Any:
        each = value if isinstance(value, tuple) else (value,)
        if not each or min(each) < 1:
            raise ValueError(f"macros = {value}, must be 1 or more")
        return value
