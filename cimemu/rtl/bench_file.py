"""bench.yaml: how a module of one's own is programmed, driven and read, in terms of its ports or of its bus."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cimemu.config_file import read_mapping, validated
from cimemu.errors import CimemuError
from cimemu.record import Record

Word = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$.]*$")]
Values = Literal["cells", "weights", "reference_cells", "flipped", "thresholds", "levels", "inputs"]
Results = Literal["codes", "shift_add", "outputs", "reference_codes"]


class Lanes(Record):
    """How numbers lie in a word: each has `bits`, the first one in the lowest bits."""

    bits: int = Field(ge=1, le=64, description="bits of one number")
    signed: bool = Field(False, description="numbers are two's complement")
    reverse: bool = Field(False, description="the first number is in the highest bits")
    invert: bool = Field(False, description="a 1 is a low wire: every bit is inverted")


def _named(given: Any) -> Any:
    """A name alone stands for a port of that name."""
    return {"port": given} if isinstance(given, str) else given


class Signal(Record):
    """A wire that says something: a port and the level that means yes."""

    port: Word
    active: Literal["high", "low"] = "high"

    _of_name = model_validator(mode="before")(_named)


class Bus(Record):
    """A synchronous bus: an address, one word written or read in a cycle."""

    address: Word
    write: Word = Field(description="high: `write_data` is stored at the next clock edge")
    write_data: Word
    read_data: Word
    read_cycles: int = Field(1, ge=0, le=64, description="clock edges from the address to its word")


class Place(Record):
    """Where numbers go or come from: a port, or addresses of the bus, `stride` apart."""

    port: Word | None = None
    address: int | None = Field(None, ge=0, le=2**32)
    stride: int = Field(1, ge=1, le=2**20, description="from one word's address to the next one's")

    _of_name = model_validator(mode="before")(_named)

    @model_validator(mode="after")
    def _one_place(self) -> "Place":
        if (self.port is None) == (self.address is None):
            raise ValueError("a port or an address is needed, and not both")
        return self


class Programmed(Place, Lanes):
    """One thing that is programmed before the first operation."""

    value: Values
    index: Word | None = Field(None, description="a port that carries the number of the word (the row)")
    strobe: Signal | None = Field(None, description="is active for a cycle for each word")
    per: Literal["row", "number", "all"] = Field("row", description="a word a row, a word a number, or one word")


class Given(Place, Lanes):
    """The inputs of an operation: all in one word, or a number a word."""

    per: Literal["number", "all"] = "all"


class Result(Place, Lanes):
    """What an operation gives: sampled when all is done, or with every active cycle of `valid`."""

    value: Results
    valid: Signal | None = Field(
        None, description="active in a cycle with a word; none: read when the operation is done"
    )
    order: Literal["steps", "rounds"] = Field(
        "steps", description="a word a step, or a word a conversion round of a step"
    )
    per: Literal["number", "all"] = Field("all", description="on a bus: a number a word, or all in one")


class Start(Place):
    """How an operation begins: a port that is active for a cycle, or a write of `data`."""

    active: Literal["high", "low"] = "high"
    data: int = Field(1, ge=0)


class Done(Place):
    """How its end is seen: a port, a bit of a word that is polled, or after a number of cycles."""

    active: Literal["high", "low"] = "high"
    bit: int = Field(0, ge=0, le=63)


class BenchFile(Record):
    """The whole file. A module without a clock is read `settle_ns` after its inputs change."""

    module: Word = Field(description="the top module")
    sources: list[str] = Field(min_length=1, description="Verilog files, beside this one")
    parameters: dict[str, int] = Field(default_factory=dict)
    clock: Word | None = None
    period_ns: int = Field(10, ge=2, le=10**6)
    settle_ns: int = Field(10, ge=1, le=10**6, description="without a clock: from inputs to outputs")
    reset: Signal | None = None
    reset_cycles: int = Field(2, ge=1, le=10**4)
    bus: Bus | None = None
    constants: dict[Word, int] = Field(default_factory=dict, description="ports that keep a value")
    program: list[Programmed] = Field(default_factory=list)
    inputs: Given
    start: Start | None = None
    done: Done | None = Field(None, description="none: after `latency` cycles")
    latency: int = Field(0, ge=0, le=10**6, description="cycles from the start to the results")
    longest: int = Field(100_000, ge=1, le=10**8, description="cycles after which a missing `done` is a fault")
    results: list[Result] = Field(min_length=1)
    cycles: bool = Field(
        False, description="cycles of an operation, from the start's clock edge to done, are compared too"
    )

    @model_validator(mode="after")
    def _fits(self) -> "BenchFile":
        places: list[Any] = [*self.program, self.inputs, *self.results, self.start, self.done]
        if self.bus is None and any(p is not None and p.address is not None for p in places):
            raise ValueError("an address is given and no bus, say which ports the bus has")
        if self.clock is None and (self.bus is not None or self.start is not None or self.done is not None):
            raise ValueError("a bus, start or done is given and no clock, name the clock's port")
        names = [r.value for r in self.results]
        if len(set(names)) != len(names):
            raise ValueError("a result is given twice, leave one out")
        return self


def read_bench(path: Path) -> BenchFile:
    """The file, checked. CimemuError names the field, the value and the rule."""
    return validated(BenchFile, read_mapping(path, str(path), "a bench", CimemuError), str(path), CimemuError)
