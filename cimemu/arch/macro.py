"""The macro: one crossbar with its drivers, converters and shift-add (contract section 1)."""

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from cimemu.adc import Adc, IdealAdc, LinearAdc
from cimemu.adc.base import MOST_CYCLES
from cimemu.arch.checks import CheckGroup, check_columns, check_groups, outputs_within
from cimemu.arch.drivers import Input
from cimemu.arch.repair import Repair
from cimemu.encoding import Correction, Encoding, EncodingName, find, names, refusal
from cimemu.errors import ArchError
from cimemu.record import Grown, Record

Overflow = Literal["error", "saturate", "wrap"]


class Cell(Record):
    """One memory cell of the array."""

    bits: int = Field(1, ge=1, le=4, description="bits stored in one cell; levels are 0 .. 2^bits - 1")
    kind: Literal["current", "charge", "digital"] = Field(
        "current",
        description="what a column sums: current (RRAM, FeFET), charge (SRAM capacitors) or digital (adder tree)",
    )
    fraction_bits: int = Field(
        7, ge=0, le=14, description="a non-ideal level is rounded once to a multiple of 2^-fraction_bits"
    )


class Weight(Grown):
    """How a weight is stored in cells and how its slices come together again."""

    bits: int = Field(ge=1, le=9, description="weight width in bits")
    encoding: EncodingName = Field(
        "offset", description="what the cells of a weight hold (contract section 1.3)", examples=names()
    )
    subtract: Literal["digital", "analog"] = Field(
        "digital", description="differential: plus minus minus after the ADC (digital) or before it (analog)"
    )
    combine: Literal["digital", "analog"] = Field(
        "digital",
        description="weight slices are weighed after the ADC (digital) or before one conversion (analog)",
    )
    correction: Literal["digital", "reference_column"] = Field(
        "digital",
        description="sum of inputs for offset and binary: an exact adder, or one more converted all-ones column",
    )
    column_flipping: bool = Field(
        False,
        description="offset: a column whose levels sum to more than half of what they could is stored inverted, "
        "and put right with the sum of inputs (ISAAC, section V)",
    )
    guard_columns: int = Field(
        0,
        ge=0,
        le=64,
        description="digital cells: columns beside those of every output that hold no weight, room for the carries of its sum",
    )
    later: ClassVar[tuple[str, ...]] = ("guard_columns",)


class Timing(Grown):
    """Cycles of one macro operation's steps (contract section 3)."""

    wordline_cycles: int = Field(
        1, ge=0, le=MOST_CYCLES, description="cycles to raise the wordlines of one group and slice"
    )
    sample_cycles: int = Field(1, ge=0, le=MOST_CYCLES, description="cycles until the columns are sampled")
    shift_add_cycles: int = Field(
        1, ge=0, le=MOST_CYCLES, description="cycles of the last shift-add, once an operation"
    )
    overlap: bool = Field(
        False, description="ping-pong sample-and-hold: drive the next slice while this one is converted"
    )
    skip_zero_slices: bool = Field(False, description="a (group, slice) whose inputs are all zero is not converted")
    skip_cycles: int = Field(1, ge=0, le=MOST_CYCLES, description="cycles of a skipped (group, slice)")
    weight_bit_cycles: int = Field(
        0,
        ge=0,
        le=MOST_CYCLES,
        description="cycles more to drive a (group, slice) for each bit of a weight: a carry that ripples through its columns",
    )
    pipeline_stages: int = Field(
        0,
        ge=0,
        le=1024,
        description="rows of registers that a sum passes on its way out: results come so many steps later, operations as often",
    )
    later: ClassVar[tuple[str, ...]] = ("weight_bit_cycles", "pipeline_stages")

    @model_validator(mode="after")
    def _drive_takes_time(self) -> "Timing":
        if self.wordline_cycles + self.sample_cycles < 1:
            raise ValueError("wordline_cycles + sample_cycles = 0, must be >= 1")
        return self


class MacroMapping(Record):
    """How matrices are cut into macros."""

    rows: Literal["dense", "whole_kernels", "grouped"] = Field(
        "dense",
        description="row blocks of `rows` rows; or of whole input channels so that no kernel straddles two arrays, as many "
        "as fit (whole_kernels) or spread evenly over as few arrays (grouped: a grouped convolution, a group an array)",
    )
    groups: Literal["block_diagonal", "separate"] = Field(
        "block_diagonal",
        description="grouped convolutions: several groups in one macro and one raise, or one each",
    )


def _or_a_name(schema: dict[str, Any]) -> None:
    """`adc: ideal` is a text in the file."""
    schema["anyOf"] = [*schema["anyOf"], {"type": "string", "description": "the model's name alone"}]


class Macro(Record):
    """One compute-in-memory macro. `Macro.model_validate({...})` takes the mapping of the YAML.

    Raises ArchError where a field is out of its range, or fields do not fit together.

    >>> import cimemu
    >>> given = {"rows": 64, "columns": 64, "weight": {"bits": 4}, "input": {"bits": 4}, "adc": "ideal"}
    >>> macro = cimemu.Macro.model_validate(given)
    >>> macro.input_slices, macro.columns_per_output, macro.outputs
    (4, 4, 16)
    """

    problem: ClassVar = ArchError

    rows: int = Field(ge=1, le=65536, description="wordlines")
    columns: int = Field(ge=1, le=65536, description="bitlines")
    active_rows: int | None = Field(None, ge=1, le=65536, description="wordlines raised together; default: rows")
    columns_per_adc: int = Field(8, ge=1, le=65536, description="neighbouring columns that share one converter")
    cell: Cell = Field(default_factory=Cell, description="the cell")
    weight: Weight = Field(description="weight width and encoding")
    input: Input = Field(description="input width and DAC")
    adc: Adc = Field(
        default_factory=IdealAdc,
        description="the converter: ideal, linear or nonlinear",
        json_schema_extra=_or_a_name,
    )
    accumulator_bits: int | None = Field(
        None,
        ge=2,
        le=63,
        description="width of the signed running sum of each row block and output (levels are integers); none: wide enough",
    )
    accumulator_overflow: Overflow = Field(
        "error", description="what happens where a running sum leaves the accumulator after a (group, input slice)"
    )
    timing: Timing = Field(default_factory=Timing, description="cycles of the steps")
    mapping: MacroMapping = Field(default_factory=MacroMapping, description="how matrices are cut")
    repair: Repair = Field(default_factory=Repair, description="spare lines, checksum columns, repeated reads")

    @field_validator("adc", mode="before")
    @classmethod
    def _adc_by_name(cls, value: Any) -> Any:
        """`adc: ideal` is short for `adc: {model: ideal}`."""
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _active_rows_default(self) -> "Macro":
        """All rows, and still not a field that was set: an override of `rows` moves it along."""
        if self.active_rows is None:
            self.__dict__["active_rows"] = self.rows
        return self

    @model_validator(mode="after")
    def _rules(self) -> "Macro":
        weight, cell = self.weight, self.cell
        if self.raised_rows > self.rows:
            raise ValueError(f"active_rows = {self.active_rows}, must be <= rows = {self.rows}")
        refused = refusal(self.encoding, weight.bits, cell.bits)
        if refused is not None:
            raise ValueError(refused)
        if weight.subtract == "analog" and self.encoding.sides == 1:
            needed = " or ".join(names(lambda encoding: encoding.sides == 2))
            raise ValueError(f"subtract analog with encoding {weight.encoding}, needs encoding {needed}")
        if weight.correction == "reference_column" and not self.needs_input_sums:
            needed = " and ".join(names(lambda encoding: encoding.correction(weight.bits).of_inputs != 0))
            raise ValueError(f"correction reference_column with encoding {weight.encoding}, only {needed} need one")
        if weight.column_flipping:
            self._flipping_rules()
        if self.repair.reads > 1:
            self._reads_rules()
        if self.repair.checksum_columns:
            self._checksum_rules()
        if self.input.signed and self.input.dac_bits != 1:
            raise ValueError(f"signed inputs with dac_bits = {self.input.dac_bits}, need dac_bits = 1")
        if weight.guard_columns and cell.kind != "digital":
            raise ValueError(
                f"weight.guard_columns = {weight.guard_columns} with cell.kind {cell.kind}: they carry sums of digital cells, use 0"
            )
        if self.timing.pipeline_stages and cell.kind != "digital":
            raise ValueError(
                f"timing.pipeline_stages = {self.timing.pipeline_stages} with cell.kind {cell.kind}: for digital cells, use 0"
            )
        if self.output_width > self.columns:
            raise ValueError(
                f"columns = {self.columns}, one output needs {self.output_width} "
                f"({'weight.guard_columns, ' if weight.guard_columns else ''}weight.bits, cell.bits, encoding)"
            )
        return self

    def _checksum_rules(self) -> None:
        weight = self.weight
        wanted: dict[str, Any] = {
            "combine": "digital",
            "subtract": "digital",
            "correction": "digital",
            "column_flipping": False,
        }
        wanted["guard_columns"] = 0
        for key, value in wanted.items():
            if getattr(weight, key) != value:
                raise ValueError(
                    f"repair.checksum_columns = {self.repair.checksum_columns} with weight.{key} {getattr(weight, key)}: every "
                    f"column is compared by itself; needs {value}, or checksum_columns 0"
                )
        if self.outputs < 1:
            per = self.columns_per_output
            needed = per + self.checks_of(per)
            raise ValueError(
                f"columns = {self.columns}, one output needs {per} and {needed - per} of checksums "
                f"(repair.checksum_columns = {self.repair.checksum_columns})"
            )

    def _reads_rules(self) -> None:
        said = f"repair.reads = {self.repair.reads} with"
        if self.cell.kind == "digital":
            raise ValueError(f"{said} cell.kind digital, whose sums have no noise; set repair.reads to 1")
        if self.input.driver == "holds":
            raise ValueError(
                f"{said} input.driver holds: what a line takes in a repeated read is not defined; use returns"
            )
        if self.timing.skip_zero_slices:
            raise ValueError(f"{said} timing.skip_zero_slices: not defined; set one of them off (reads 1, or false)")

    def _flipping_rules(self) -> None:
        weight = self.weight
        plain = self.encoding.may_be_flipped and (weight.combine, weight.correction) == ("digital", "digital")
        if not plain or self.accumulator_bits is not None:
            needed = " or ".join(names(lambda encoding: encoding.may_be_flipped))
            raise ValueError(
                f"column_flipping with encoding {weight.encoding}, combine {weight.combine}, correction "
                f"{weight.correction}, accumulator_bits {self.accumulator_bits}; needs {needed}, digital, digital, none"
            )
        if not isinstance(self.adc, IdealAdc | LinearAdc):
            name = getattr(self.adc, "model", "")
            raise ValueError(f"column_flipping with adc.model {name}, needs ideal or linear")

    @property
    def raised_rows(self) -> int:
        """Wordlines raised together."""
        return self.rows if self.active_rows is None else self.active_rows

    @property
    def line_unit(self) -> int:
        """Counts of one wordline at the full voltage: a voltage DAC's are squares of slice values, others are pulses.

        A driver that holds is counted in bits that change.
        """
        unit: int = {"holds": 1, "returns": self._drawn_unit}[self.input.driver]
        return unit

    @property
    def _drawn_unit(self) -> int:
        """Counts of what is drawn at the full voltage from slice to slice."""
        unit: int = {"pulse": 1, "bits": 1, "voltage": (2**self.input.dac_bits - 1) ** 2}[self.input.dac]
        return unit

    @property
    def cell_unit(self) -> int:
        """Counts of one cell at the full voltage; a digital cell's are bits that change."""
        return {"digital": 1, "current": self._drawn_unit, "charge": self._drawn_unit}[self.cell.kind]

    @property
    def slice_pulses(self) -> int:
        """Times that a wordline is driven in one slice at most."""
        pulses: int = {
            "pulse": 2**self.input.dac_bits - 1,
            "bits": self.input.dac_bits,
            "voltage": 1,
        }[self.input.dac]
        return pulses

    @property
    def samples(self) -> int:
        """Times that a column is sampled before a conversion: once, or for each bit of a slice that is driven by itself."""
        times: int = {"pulse": 1, "voltage": 1, "bits": self.input.dac_bits}[self.input.dac]
        return times

    @property
    def drive_cycles(self) -> int:
        """Cycles to drive and sample one (group, slice): a bit that counts 2^j is sampled so many times over."""
        weighed: int = {"pulse": 1, "voltage": 1, "bits": 2**self.input.dac_bits - 1}[self.input.dac]
        timing = self.timing
        settled = timing.sample_cycles * weighed + timing.weight_bit_cycles * self.weight.bits
        return timing.wordline_cycles * self.slice_pulses + settled

    @property
    def input_slices(self) -> int:
        """I: as many as `input.slices`, or `ceil(input.bits / dac_bits)`."""
        return len(self.input.spans)

    @property
    def steps_per_group(self) -> int:
        """Times that a group is driven and converted in one operation: every input slice as often as it is read."""
        return self.input_slices * self.repair.reads

    @property
    def encoding(self) -> Encoding:
        """How weights lie in cells; `weight.encoding` is its name."""
        return find(self.weight.encoding)

    @property
    def correction(self) -> Correction:
        """What the digital unit makes of shift-added columns; `weight.correction` says where sums of inputs come from."""
        return self.encoding.correction(self.weight.bits)

    @property
    def needs_input_sums(self) -> bool:
        """Whether the correction takes the sum of inputs."""
        return self.correction.of_inputs != 0

    @property
    def weight_slices(self) -> int:
        """S, the slices of one weight (of one side where it has plus and minus columns)."""
        return self.encoding.slices(self.weight.bits, self.cell.bits)

    @property
    def largest_side(self) -> int:
        """The most that the levels of one weight, of one side, add up to by their places."""
        places = self.encoding.places(self.weight.bits, self.cell.bits)
        made: int = (2**self.cell.bits - 1) * sum(abs(place) for place in places)
        return made

    @property
    def columns_per_output(self) -> int:
        """Physical columns of one output."""
        return self.weight_slices * self.encoding.sides

    @property
    def output_width(self) -> int:
        """Physical columns that one output takes, those that only guard its sum included."""
        return self.columns_per_output + self.weight.guard_columns

    @property
    def conversions_per_output(self) -> int:
        """Conversions of one output in one (group, slice): its columns, less what is combined before the ADC."""
        slices = {"analog": 1, "digital": self.weight_slices}[self.weight.combine]
        return slices * {"analog": 1, "digital": self.encoding.sides}[self.weight.subtract]

    @property
    def outputs(self) -> int:
        """Outputs of one macro."""
        return outputs_within(self.columns, self.output_width, self.repair.checksum_columns, self.cell.bits)

    def checks_of(self, data: int) -> int:
        """Checksum columns behind `data` columns of a block."""
        return check_columns(data, self.repair.checksum_columns, self.cell.bits)

    def check_groups(self, data: int) -> tuple[CheckGroup, ...]:
        """The groups of `data` columns of a block that checksums guard."""
        return check_groups(data, self.repair.checksum_columns, self.cell.bits)


__all__ = ["Cell", "Input", "Macro", "MacroMapping", "Overflow", "Repair", "Timing", "Weight"]
