"""The cost table of an architecture file: energy per event, area and leakage per component instance."""

from typing import Any, Self, get_args

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from cimemu.cost.basis import QUANTITIES, Basis
from cimemu.cost.converters import ConverterEstimator
from cimemu.cost.physics import ComponentEstimator
from cimemu.record import Record

MODELS: dict[str, Any] = {  # estimators of either kind by name; others come from plug-ins of the group `cimemu.cost`
    kind.model_fields["model"].default: kind
    for union in (ComponentEstimator, ConverterEstimator)
    for kind in get_args(get_args(union)[0])
}


class Technology(Record):
    """What estimators scale to."""

    node_nm: float = Field(gt=0, description="technology node")
    voltage_v: float = Field(gt=0, description="supply")


INTERVALS = tuple(f"{quantity}_interval" for quantity in QUANTITIES)
Factors = tuple[float, float]


DROPPED = (
    *INTERVALS,
    "basis",
    "table",
    "fixed_pj",
    "step_pj",
    "static_uw",
    "sample_pj",
    "adder_tree",
    "pipeline_register",
)  # from a dump, where they are not given


class Unsure(Record):
    """How sure the prices of a component are: 90 % intervals as factors of them, or else what they rest on."""

    energy_interval: Factors | None = Field(
        None, description="90 % interval of the energy as factors of it, [0.7, 1.6]; default: by `basis`"
    )
    area_interval: Factors | None = Field(None, description="the same of the area")
    leakage_interval: Factors | None = Field(None, description="the same of the leakage")
    basis: Basis | None = Field(
        None, description="what the numbers rest on; default: told by estimator, scale and source (cimemu docs energy)"
    )

    @field_validator(*INTERVALS)
    @classmethod
    def _holds_the_price(cls, value: Factors | None) -> Factors | None:
        if value is not None and not 0 < value[0] <= 1 <= value[1]:
            raise ValueError(f"[{value[0]:g}, {value[1]:g}] must be [low, high] with 0 < low <= 1 <= high")
        return value

    @model_serializer(mode="wrap")
    def _without_what_is_not_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Such keys only where there are some: traces of chips without them are what they were."""
        made: dict[str, Any] = handler(self)
        return {key: value for key, value in made.items() if key not in DROPPED or value not in (None, (), [])}


class Component(Unsure):
    """One component: what an event on it costs, and what an instance of it occupies and leaks.

    Numbers stand as they are given; those that are not given come from the estimator, which is asked once when the
    architecture is loaded.
    """

    estimator: ComponentEstimator | None = Field(None, description="where numbers that are not given come from")
    energy_pj: float = Field(0.0, ge=0, description="energy of one event")
    area_um2: float = Field(0.0, ge=0, description="area of one instance")
    leakage_uw: float = Field(0.0, ge=0, description="leakage power of one instance")
    energy_scale: float = Field(1.0, gt=0, description="calibration factor on energy_pj")
    area_scale: float = Field(1.0, gt=0, description="calibration factor on area_um2")
    source: str = Field("", description="where the numbers come from")
    estimate: str = Field("", description="what the estimator says of its numbers; filled in when the arch is loaded")


class AdcRow(Record):
    """One point of a converter table."""

    bits: int = Field(ge=1, description="resolution")
    energy_pj: float = Field(ge=0, description="energy of one conversion")
    area_um2: float = Field(ge=0, description="area of one converter")


class AdcCost(Unsure):
    """Converter costs by resolution and circuit: a number, an estimator, a fixed part and one by step, a table, or comparisons."""

    sar: tuple[AdcRow, ...] = Field((), description="SAR converters by resolution, log-linear in between")
    extrapolate: bool = Field(False, description="allow resolutions outside the table (log-linear)")
    estimator: ConverterEstimator | None = Field(
        None, description="where the converter's energy, area and leakage come from, in the place of the table"
    )
    energy_pj: float | None = Field(None, ge=0, description="energy of one conversion, before the table and estimator")
    area_um2: float | None = Field(None, ge=0, description="area of one converter, before the table and estimator")
    table: tuple[AdcRow, ...] = Field(
        (),
        description="converters of the macro's circuit, whichever it is, by resolution; as `sar`, which is of SAR alone",
    )
    fixed_pj: float | None = Field(
        None, ge=0, description="what a conversion takes whatever its steps, in the place of `energy_pj`"
    )
    step_pj: float | None = Field(
        None,
        ge=0,
        description="what each step takes besides: a bit of a SAR, a comparison of a flash, a step of a ramp, a cycle of `phases`",
    )
    sample_pj: float | None = Field(
        None,
        ge=0,
        description="what sampling the column takes, besides all else: once a conversion, or once a bit of the slice (dac: bits)",
    )
    static_uw: float | None = Field(
        None, ge=0, description="what a converter draws all the time while it converts, besides all else"
    )
    comparator: Component = Field(
        default_factory=Component,
        description="one comparison: flash costs 2^bits - 1 of them (and as many comparators), ramp the same in steps",
    )
    adder_tree: Component | None = Field(
        None, description="digital macros: what adds up a column in one (group, slice); instance: column"
    )
    pipeline_register: Component | None = Field(
        None,
        description="digital macros: one row of registers of a column that a sum passes (timing.pipeline_stages); instance: each",
    )
    leakage_uw: float = Field(0.0, ge=0, description="leakage power of one converter")
    energy_scale: float = Field(1.0, gt=0, description="calibration factor on the energies")
    area_scale: float = Field(1.0, gt=0, description="calibration factor on the areas")
    source: str = Field("", description="where the numbers come from")
    estimate: str = Field("", description="what the estimator says of its numbers; filled in when the arch is loaded")

    @property
    def by_step(self) -> bool:
        """Whether a conversion is a fixed part and one by step."""
        return self.fixed_pj is not None or self.step_pj is not None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """An energy by step stands in the place of all others."""
        if self.by_step:
            given = [name for name in ("energy_pj", "estimator") if getattr(self, name) is not None]
            given += [name for name in ("table", "sar") if getattr(self, name)]
            if given:
                raise ValueError(
                    f"fixed_pj and step_pj with {given[0]}: a conversion has one price, leave one of them out"
                )
        if self.table and self.sar:
            raise ValueError("table with sar: leave one of them out")
        for rows in (self.table, self.sar):
            if len({row.bits for row in rows}) < len(rows):
                raise ValueError("a table of converters has the same bits twice, leave one row out")
        return self


def _zero() -> Component:
    return Component()


class Costs(Record):
    """Every price of the chip; the counter each one multiplies stands in `cimemu.tally`."""

    technology: Technology | None = Field(None, description="node and supply that estimators scale to")
    adc: AdcCost = Field(default_factory=AdcCost, description="one conversion; instance: converter")
    sample_hold: Component = Field(
        default_factory=_zero,
        description="one sampled column (one a bit of the slice with dac: bits); instance: column",
    )
    reference_switch: Component = Field(default_factory=_zero, description="references switched between columns")
    wordline: Component = Field(
        default_factory=_zero,
        description="one pulse on one wordline, or one line that a voltage DAC drives at the full voltage (DAC and driver), or one "
        "bit that changes on a line that holds; instance: wordline",
    )
    cell: Component = Field(
        default_factory=_zero,
        description="one raised cell per pulse or at the full voltage, level 0 included; digital: an input bit that changes "
        "at a cell; instance: cell",
    )
    cell_level: Component = Field(
        default_factory=_zero,
        description="more per level of a raised cell; digital: a product bit that changes",
    )
    shift_add: Component = Field(default_factory=_zero, description="one shift-add; instance: converter")
    correction_adder: Component = Field(
        default_factory=_zero, description="one input added for sum_k x; instance: macro"
    )
    psum_adder: Component = Field(
        default_factory=_zero, description="one partial sum added in the tile; instance: adder lane"
    )
    input_register: Component = Field(
        default_factory=_zero, description="one bit latched at the wordlines; instance: bit"
    )
    output_register: Component = Field(
        default_factory=_zero, description="one bit out of the accumulators; instance: bit"
    )
    tile_buffer: Component = Field(default_factory=_zero, description="one bit read or written; instance: KiB")
    global_buffer: Component = Field(default_factory=_zero, description="one bit read or written; instance: KiB")
    interconnect: Component = Field(default_factory=_zero, description="one bit over one hop; instance: router")
    digital: Component = Field(default_factory=_zero, description="one elementary operation; instance: lane")
    scale_multiplier: Component = Field(default_factory=_zero, description="one multiplication by a converter scale")
    offchip: Component = Field(default_factory=_zero, description="one bit over the chip's edge; instance: interface")
    programming: Component = Field(default_factory=_zero, description="one cell written")
    wake_up: Component = Field(
        default_factory=_zero,
        description="one macro switched on again (`power.gating`); its leakage is its components'",
    )

    @model_serializer(mode="wrap")
    def _without_wake_up(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Its price only where there is one: traces of other chips are what they were."""
        made: dict[str, Any] = handler(self)
        if self.wake_up == Component():
            made.pop("wake_up", None)
        return made
