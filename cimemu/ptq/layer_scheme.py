"""What a scheme says of single layers: where they run, and what they have other than the rest."""

from typing import Any, Literal

from pydantic import Field, model_validator

from cimemu.record import Record

WeightMethod = Literal["minmax", "percentile", "mse", "output", "closed_form", "centred", "xnor", "exact"]


class LayerWeights(Record):
    """What a layer's weights have other than the scheme's."""

    bits: int | None = Field(None, ge=1, le=8, description="weight width in bits, at most the scheme's")
    granularity: Literal["layer", "channel", "array", "column"] | None = Field(None, description="what shares a scale")
    method: WeightMethod | None = Field(None, description="how a scale, or two levels, are found")


class LayerActivations(Record):
    """What a layer's inputs have other than the scheme's."""

    bits: int | None = Field(None, ge=1, le=8, description="width of the layer's inputs in bits")


class LayerConverter(Record):
    """What a layer's converters have other than the scheme's."""

    bits: float | None = Field(None, description="code width in bits, at most the scheme's")
    granularity: Literal["layer", "array", "column"] | None = Field(None, description="what shares a step or levels")
    method: str | None = Field(None, description="how a step or levels are found")


class LayerScheme(Record):
    """One layer: on macros with settings of its own, or on the digital unit."""

    place: Literal["macros", "digital"] = Field("macros", description="what multiplies: macros, or the digital unit")
    bits: Literal["float", 8] | None = Field(
        None,
        description="for place digital: float32 (float, the default), or 8-bit weights and activations, added exactly (8)",
    )
    weights: LayerWeights = Field(default_factory=LayerWeights, description="for place macros")
    activations: LayerActivations = Field(default_factory=LayerActivations, description="for place macros")
    converter: LayerConverter = Field(default_factory=LayerConverter, description="for place macros")

    @model_validator(mode="after")
    def _keys_fit_the_place(self) -> "LayerScheme":
        if self.place == "macros" and self.bits is not None:
            raise ValueError(
                f"bits = {self.bits} with place = macros: bits are for place digital; give weights.bits and activations.bits"
            )
        if self.place == "digital" and self.own():
            raise ValueError(
                f"place = digital with {', '.join(self.own())}, which are for macros: leave them out, or give bits: 8"
            )
        return self

    def own(self) -> dict[str, dict[str, Any]]:
        """What differs from the scheme: keys by part."""
        parts = {
            name: getattr(self, name).model_dump(exclude_none=True) for name in ("weights", "activations", "converter")
        }
        return {name: keys for name, keys in parts.items() if keys}
