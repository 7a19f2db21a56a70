"""What runs inside the simulator: the job of `cimemu.rtl.bench`, on the ports and addresses that bench.yaml names.

Signals are driven and read at falling edges. The rising edge that takes the start is cycle 0.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

Job = dict[str, Any]
UNKNOWN = "x"


def word_of(numbers: list[int], lanes: Job) -> int:
    """Numbers in one word."""
    bits, mask = lanes["bits"], (1 << lanes["bits"]) - 1
    word = 0
    for place, value in enumerate(reversed(numbers) if lanes["reverse"] else numbers):
        word |= (value & mask) << (place * bits)
    return word ^ ((1 << (bits * len(numbers))) - 1) if lanes["invert"] else word


def numbers_of(text: str, lanes: Job, count: int) -> list[int | str]:
    """The first `count` numbers of a word's digits, highest first; what is not 0 or 1 makes a number unknown."""
    bits, made = lanes["bits"], list[int | str]()
    digits = text.rjust(bits * count, "0")
    for place in range(count):
        end = len(digits) - (place * bits if not lanes["reverse"] else (count - 1 - place) * bits)
        part = digits[end - bits : end]
        if set(part) - {"0", "1"}:
            made.append(UNKNOWN)
            continue
        value = int(part, 2) ^ ((1 << bits) - 1 if lanes["invert"] else 0)
        made.append(value - (1 << bits) if lanes["signed"] and value >> (bits - 1) else value)
    return made


class Module:
    """The module under test, by ports or by its bus."""

    def __init__(self, dut: Any, bench: Job) -> None:
        """Nothing is driven yet."""
        self.dut, self.bench, self.bus = dut, bench, bench["bus"]

    def port(self, name: str) -> Any:
        """A port, or a signal inside (`core.codes`)."""
        found = self.dut
        for part in name.split("."):
            found = getattr(found, part)
        return found

    async def tick(self) -> None:
        """To the next falling edge; without a clock until everything has settled."""
        if self.bench["clock"]:
            await FallingEdge(self.port(self.bench["clock"]))
        else:
            await Timer(self.bench["settle_ns"], unit="ns")

    def set(self, signal: Job, on: bool) -> None:
        """Make a signal active or not."""
        self.port(signal["port"]).value = int(on == (signal["active"] == "high"))

    def is_on(self, signal: Job) -> bool:
        """Whether a signal is active; unknown is not."""
        return str(self.port(signal["port"]).value) == ("1" if signal["active"] == "high" else "0")

    async def store(self, address: int, word: int) -> None:
        """Write one word on the bus."""
        for name, value in (("address", address), ("write_data", word), ("write", 1)):
            self.port(self.bus[name]).value = value
        await self.tick()
        self.port(self.bus["write"]).value = 0

    async def load(self, address: int) -> str:
        """Read one word on the bus: its digits."""
        self.port(self.bus["address"]).value = address
        for _ in range(self.bus["read_cycles"]):
            await self.tick()
        if not self.bus["read_cycles"]:
            await Timer(1, unit="ns")
        return str(self.port(self.bus["read_data"]).value)

    async def put(self, place: Job, words: list[int]) -> None:
        """Words to a port (with its index and strobe) or to addresses."""
        for number, word in enumerate(words):
            if place["address"] is not None:
                await self.store(place["address"] + number * place["stride"], word)
                continue
            self.port(place["port"]).value = word
            if place.get("index"):
                self.port(place["index"]).value = number
            if place.get("strobe"):
                self.set(place["strobe"], True)
                await self.tick()
                self.set(place["strobe"], False)

    async def get(self, place: Job, count: int) -> list[int | str]:
        """Numbers of a port, or of addresses."""
        if place["address"] is None:
            return numbers_of(str(self.port(place["port"]).value), place, count)
        if place["per"] == "all":
            return numbers_of(await self.load(place["address"]), place, count)
        words = [await self.load(place["address"] + number * place["stride"]) for number in range(count)]
        return [numbers_of(word, place, 1)[0] for word in words]


def grouped(numbers: list[list[int]], place: Job) -> list[int]:
    """Rows of numbers as the words that `per` makes of them."""
    flat = [value for row in numbers for value in row]
    rows = {"row": numbers, "number": [[value] for value in flat], "all": [flat]}[place["per"]]
    return [word_of(row, place) for row in rows]


async def start_up(module: Module) -> None:
    """The clock runs, all inputs that a bench drives have a value, and the reset is over."""
    bench = module.bench
    for name, value in bench["constants"].items():
        module.port(name).value = value
    for name in ("address", "write", "write_data") if module.bus else ():
        module.port(module.bus[name]).value = 0
    for place in (*bench["program"], bench["inputs"]):
        if place["port"]:
            module.port(place["port"]).value = 0
        if place.get("strobe"):
            module.set(place["strobe"], False)
    if bench["start"] and bench["start"]["port"]:
        module.set(bench["start"], False)
    if bench["clock"]:
        Clock(module.port(bench["clock"]), bench["period_ns"], unit="ns").start()
    if bench["reset"]:
        module.set(bench["reset"], True)
        for _ in range(bench["reset_cycles"]):
            await module.tick()
        module.set(bench["reset"], False)
    await module.tick()


class Seen:
    """What one operation shows: the words of `valid` in their order, and the rest at its end."""

    def __init__(self, module: Module, macro: Job) -> None:
        """Nothing is seen yet."""
        self.module, self.macro = module, macro
        self.words: dict[str, list[list[int | str]]] = {r["value"]: [] for r in module.bench["results"]}

    def look(self) -> None:
        """One cycle."""
        for result in self.module.bench["results"]:
            if result["valid"] and self.module.is_on(result["valid"]):
                count = self.macro["counts"][result["value"]]
                each = self.macro["adcs"] if result["order"] == "rounds" else count[1]
                text = str(self.module.port(result["port"]).value)
                self.words[result["value"]].append(numbers_of(text, result, each))

    async def numbers(self, result: Job, steps: list[int]) -> list[int | str]:
        """All numbers of a result in the order of its file; what was not seen is unknown, as are skipped steps."""
        name = result["value"]
        count, each = self.macro["counts"][name]
        if not result["valid"]:
            return await self.module.get(result, count * each)
        made: list[int | str] = [UNKNOWN] * (count * each)
        rounds = self.macro["rounds"] if result["order"] == "rounds" else 1
        for number, word in enumerate(self.words[name][: len(steps) * rounds]):
            step, conversion = steps[number // rounds], number % rounds
            for lane, value in enumerate(word):
                column = lane * self.macro["per_adc"] + conversion if result["order"] == "rounds" else lane
                if column < each:
                    made[step * each + column] = value
        return made


async def operate(module: Module, macro: Job, inputs: list[int], steps: list[int]) -> tuple[Job, int]:
    """One operation: its results by name, and its cycles."""
    bench, seen = module.bench, Seen(module, macro)
    await module.put(bench["inputs"], grouped([inputs], bench["inputs"]))
    start, done, cycle = bench["start"], bench["done"], 0
    if start and start["port"]:
        module.set(start, True)
        await module.tick()
        module.set(start, False)
    elif start:
        await module.store(start["address"], start["data"])
    elif not bench["clock"]:
        await module.tick()
    seen.look()
    while cycle < bench["longest"] if done else cycle < bench["latency"]:
        if done and done["port"] and module.is_on(done):
            break
        if done and done["address"] is not None:
            bit = (await module.load(done["address"]))[::-1][done["bit"]]
            if bit == ("1" if done["active"] == "high" else "0"):
                break
        await module.tick()
        cycle += 1
        seen.look()
    assert not done or cycle < bench["longest"], f"done does not come within {bench['longest']} cycles"
    return {r["value"]: await seen.numbers(r, steps) for r in bench["results"]}, cycle


@cocotb.test()
async def run_vectors(dut: Any) -> None:
    """Every macro of the job: programme it, run its operations, write its dump."""
    job = json.loads(Path(os.environ["CIMEMU_BENCH"]).read_text())
    module = Module(dut, job["bench"])
    await start_up(module)
    for macro in job["macros"]:
        for place, numbers in zip(job["bench"]["program"], macro["program"], strict=True):
            await module.put(place, grouped(numbers, place))
        files: dict[str, list[str]] = {}
        for inputs, steps in zip(macro["inputs"], macro["driven"], strict=True):
            results, cycles = await operate(module, macro, inputs, steps)
            for name, numbers in results.items():
                files.setdefault(name, []).extend(n if isinstance(n, str) else f"{n % 2**64:x}" for n in numbers)
            if job["bench"]["cycles"]:
                files.setdefault("op_cycles", []).append(f"{cycles:x}")
        folder = Path(macro["dump"])
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in files.items():
            (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")
