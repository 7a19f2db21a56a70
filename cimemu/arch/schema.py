"""The chip: tiles of macros, buffers, interconnect, digital unit and off-chip memory (contract sections 3 and 4)."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from cimemu.adc import IdealAdc
from cimemu.adc.base import MOST_CYCLES
from cimemu.arch.macro import Macro
from cimemu.arch.site import make_site
from cimemu.cost.resolve import resolved
from cimemu.cost.schema import Costs
from cimemu.cost.tables import log_log
from cimemu.errors import ArchError
from cimemu.facts import Facts, Shown
from cimemu.record import Grown, Record

MOST_MACROS = 2**17
LEAST_CLOCK_NS = 1e-6
NOT_YET: Any = None  # a clock until `clock_points` have been asked
SAME_CLOCK = 1e-9  # what may lie between a clock and the same one of a table
MOST_TILES = 2**16
AUTO = "auto"


class Buffer(Record):
    """The global buffer: a finite size, ports of a finite bandwidth."""

    size_kib: float = Field(gt=0, le=2**30, description="capacity in KiB")
    read_bits_per_cycle: int = Field(256, ge=1, le=2**20, description="read bandwidth of one port")
    write_bits_per_cycle: int = Field(256, ge=1, le=2**20, description="write bandwidth of one port")
    ports: int = Field(1, ge=1, le=1024, description="accesses served at the same time")


class TileBuffer(Record):
    """The input or output memory of a tile: one port each way."""

    size_kib: float = Field(gt=0, le=2**30, description="capacity in KiB")
    read_bits_per_cycle: int = Field(256, ge=1, le=2**20, description="read bandwidth")
    write_bits_per_cycle: int = Field(256, ge=1, le=2**20, description="write bandwidth")


class Interconnect(Record):
    """What joins the tiles, the global buffer and the digital unit."""

    kind: Literal["bus", "mesh"] = Field("mesh", description="one shared bus, or a 2-D mesh with XY routing")
    bits_per_cycle: int = Field(256, ge=1, le=2**20, description="width of the bus or of one link")
    hop_cycles: int = Field(1, ge=0, le=MOST_CYCLES, description="router latency of one hop")


class DigitalUnit(Record):
    """The unit that runs everything that is not a matrix product."""

    lanes: int = Field(64, ge=1, le=2**20, description="elementary operations per cycle")
    startup_cycles: int = Field(2, ge=0, le=MOST_CYCLES, description="latency of one batch of operations")


class OffChip(Record):
    """Memory outside the chip: the images, and what does not fit."""

    bits_per_cycle: int = Field(128, ge=1, le=2**20, description="bandwidth")
    latency_cycles: int = Field(20, ge=0, le=MOST_CYCLES, description="latency of one access")


class Programming(Record):
    """Writing weights into cells."""

    row_write_cycles: int = Field(10, ge=1, le=10**9, description="cycles to write (and verify) one row of one macro")
    nonvolatile: bool = Field(True, description="cells keep their levels without power and wear out")
    endurance_writes: float = Field(1e8, gt=0, description="writes a cell survives")


class Gating(Record):
    """Macros that do not work are switched off."""

    saved: float = Field(
        gt=0,
        le=1,
        description="share of a macro's leakage that it does not draw while it is off; 1: nothing is kept alive",
    )
    after_cycles: int = Field(0, ge=0, le=MOST_CYCLES, description="cycles without work after which a macro is off")
    wake_cycles: int = Field(
        ge=1, le=MOST_CYCLES, description="cycles to switch it on before its next work (energy: `costs.wake_up`)"
    )


class PowerRules(Record):
    """What of the chip is switched off when."""

    gating: Gating | None = Field(
        None, description="macros without work are switched off; none: they leak all the time"
    )


class Tile(Record):
    """A group of macros around one input and one output buffer."""

    macros: int = Field(8, ge=1, le=2**16, description="macros of one tile")
    input_buffer: TileBuffer = Field(
        default_factory=lambda: TileBuffer(size_kib=16),
        description="holds the rows of inputs that the macros need",
    )
    output_buffer: TileBuffer = Field(
        default_factory=lambda: TileBuffer(size_kib=4),
        description="holds finished output rows until they have left",
    )
    adder_lanes: int = Field(64, ge=1, le=2**20, description="partial sums added per cycle by the tile accumulator")


class Chip(Record):
    """The whole chip."""

    tiles: Annotated[int, Field(ge=1, le=MOST_TILES)] | Literal["auto"] = Field(
        16, description="tiles of the chip; auto: as many as the network needs to lie on it as a whole"
    )
    interconnect: Interconnect = Field(default_factory=Interconnect, description="bus or mesh")
    global_buffer: Buffer = Field(
        default_factory=lambda: Buffer(size_kib=1024, ports=2), description="feature maps between layers"
    )
    digital: DigitalUnit = Field(default_factory=DigitalUnit, description="the digital unit")
    offchip: OffChip = Field(default_factory=OffChip, description="off-chip memory")

    @field_validator("tiles", mode="before")
    @classmethod
    def _are_counted_or_auto(cls, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value != AUTO and not (isinstance(value, int) and 1 <= value <= MOST_TILES):
            raise ValueError(f"{value!s:.40} is no number of tiles, must be 1 .. {MOST_TILES}, or {AUTO}")
        return value


class ChipMapping(Record):
    """How a network is placed on the chip."""

    share_macros: bool = Field(True, description="several small blocks may share a macro, on converter boundaries")
    packing: Literal["spread", "tight"] = Field(
        "spread",
        description="blocks that share a macro: of different layers while macros last, in layer order; or also of one layer "
        "(which then wait for each other), widest first, in as few macros as possible",
    )
    max_replicas: int = Field(
        1, ge=1, le=2**16, description="copies of a busy layer where macros are left over; 1: none"
    )
    activations: Literal["digital", "macros"] = Field(
        "digital",
        description="products of two activations (attention): on the digital unit; or the right one is written into macros "
        "for every image, and the left one driven (non-volatile cells need allow_reprogram)",
    )


class ClockPoint(Record):
    """The clock at one supply."""

    voltage_v: float = Field(gt=0, description="supply")
    clock_ns: float = Field(gt=0, le=1e9, description="length of a cycle at it")


class Arch(Shown, Grown):
    """One architecture file, as `cimemu.load_arch` gives it; `Arch.model_validate({...})` takes the mapping of the YAML.

    Raises ArchError where a key is wrong, or keys do not fit together.

    >>> import cimemu
    >>> arch = cimemu.load_arch("rram_128")
    >>> arch.macros, arch.clock_ns, arch.macro.columns
    (512, 1.0, 128)
    """

    problem: ClassVar = ArchError

    name: str = Field(description="short name, as in the file name")
    title: str = Field("", description="one line for `cimemu list`")
    source: str = Field(description="where the numbers come from")
    clock_ns: float = Field(
        NOT_YET,
        validate_default=False,
        gt=0,
        le=1e9,
        description="length of a cycle; must be given without `clock_points`",
    )
    clock_points: tuple[ClockPoint, ...] = Field(
        (),
        description="length of a cycle at several supplies, in the place of `clock_ns`: straight in the logarithms in between, "
        "refused outside",
    )
    later: ClassVar[tuple[str, ...]] = ("clock_points",)
    schedule: Literal["layer_by_layer", "pipelined"] = Field(
        "layer_by_layer", description="a layer after the other, or as soon as its window of rows is there"
    )
    allow_reprogram: bool = Field(False, description="non-volatile cells may be rewritten during a run")
    chip: Chip = Field(default_factory=Chip, description="tiles, interconnect, digital unit, memory")
    tile: Tile = Field(default_factory=Tile, description="macros and buffers of a tile")
    macro: Macro = Field(description="the crossbar macro")
    programming: Programming = Field(default_factory=Programming, description="writing of cells")
    power: PowerRules = Field(
        default_factory=PowerRules, description="macros that are switched off while they are idle"
    )
    mapping: ChipMapping = Field(default_factory=ChipMapping, description="placement on the chip")
    costs: Costs = Field(default_factory=Costs, description="energy per event, area and leakage per component")

    @model_validator(mode="after")
    def _digital_cells_need_no_adc(self) -> "Arch":
        if self.macro.cell.kind == "digital" and not isinstance(self.macro.adc, IdealAdc):
            model = getattr(self.macro.adc, "model", "")
            raise ValueError(f"macro.cell.kind = digital with macro.adc.model = {model}, needs adc: ideal")
        return self

    @model_validator(mode="after")
    def _trees_are_digital(self) -> "Arch":
        given = [name for name in ("adder_tree", "pipeline_register") if getattr(self.costs.adc, name) is not None]
        if given and self.macro.cell.kind != "digital":
            raise ValueError(
                f"costs.adc.{given[0]} with macro.cell.kind = {self.macro.cell.kind}: for digital cells, leave it out"
            )
        return self

    @model_validator(mode="after")
    def _clock_of_the_supply(self) -> "Arch":
        """One clock: as given, or that of the supply, which then stays a field that was not set."""
        given = "clock_ns" in self.model_fields_set
        if not self.clock_points:
            if not given:
                raise ValueError("clock_ns: must be given, or clock_points at several supplies")
            return self
        points = sorted((point.voltage_v, point.clock_ns) for point in self.clock_points)
        if len({volt for volt, _ in points}) < max(2, len(points)):
            raise ValueError("clock_points: must be at two supplies at least, each once")
        technology = self.costs.technology
        if technology is None:
            raise ValueError("clock_points: need the supply, give costs.technology.voltage_v")
        found = log_log(technology.voltage_v, points, False, "clock_points: costs.technology.voltage_v")
        if given and abs(self.clock_ns - found) > SAME_CLOCK * found:
            raise ValueError(
                f"clock_ns = {self.clock_ns:g} with clock_points, which say {found:g} at {technology.voltage_v:g} V: "
                "leave clock_ns out, or set clock_points=[]"
            )
        self.__dict__["clock_ns"] = found
        return self

    @model_validator(mode="after")
    def _numbers_can_be_multiplied(self) -> "Arch":
        if self.chip.tiles != AUTO and self.macros > MOST_MACROS:
            raise ValueError(f"chip.tiles x tile.macros = {self.macros} macros, must be <= {MOST_MACROS}")
        if self.clock_ns < LEAST_CLOCK_NS:
            raise ValueError(f"clock_ns = {self.clock_ns:g}, must be >= {LEAST_CLOCK_NS:g}")
        return self

    @model_validator(mode="after")
    def _ask_estimators(self) -> "Arch":
        own = self.macro.adc if hasattr(self.macro.adc, "estimate") else None
        costs = resolved(self.costs, make_site(self.macro, self.clock_ns, self.costs.technology), own)
        object.__setattr__(self, "costs", costs)  # filled in once, here; what was given stays marked as given
        return self

    @model_serializer(mode="wrap")
    def _without_power_rules(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`power` only where something is switched off: traces of other chips are what they were."""
        made = self.spoken(handler(self))
        if self.power.gating is None:
            made.pop("power", None)
        return made

    def _facts(self) -> Facts:
        macro, adc = self.macro, self.macro.adc
        bits = getattr(adc, "bits", None)
        model = getattr(adc, "model", type(adc).__name__)
        converter = f"{model} converter" + (f" of {bits} bits" if bits is not None else "")
        return f"Arch {self.name}: {self.title}", [
            (
                "chip",
                f"{self.chip.tiles} tiles of {self.tile.macros} macros, {self.clock_ns:g} ns a cycle, {self.schedule}",
            ),
            (
                "macro",
                f"{macro.rows} x {macro.columns} cells of {macro.cell.bits} bits, {macro.weight.bits}-bit weights "
                f"({macro.weight.encoding}), {macro.input.bits}-bit inputs",
            ),
            ("", f"{converter} for {macro.columns_per_adc} columns"),
        ]

    @property
    def tiles(self) -> int:
        """Tiles of the chip. ArchError where a network decides how many there are, and none has been placed."""
        if isinstance(self.chip.tiles, str):
            raise ArchError(
                f"{self.name}: chip.tiles = {AUTO}, only a network decides how many there are; use --set chip.tiles=N here"
            )
        return self.chip.tiles

    @property
    def macros(self) -> int:
        """Macros of the chip. ArchError as for `tiles`."""
        return self.tiles * self.tile.macros

    def with_tiles(self, tiles: int) -> "Arch":
        """The same chip with so many tiles. Raises ArchError where they are too many."""
        if tiles > min(MOST_TILES, MOST_MACROS // self.tile.macros):
            raise ArchError(
                f"{self.name}: {tiles} tiles of {self.tile.macros} macros, must be <= {MOST_TILES} tiles and "
                f"<= {MOST_MACROS} macros; use larger macros (macro.rows, macro.columns) or a smaller network"
            )
        return self.model_copy(update={"chip": self.chip.model_copy(update={"tiles": tiles})})
