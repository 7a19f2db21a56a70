"""Generated hardware on simulators: a macro's design and its vectors in one folder, the dump compared by `golden verify`."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import drawn_macros
import pytest

import cimemu
from cimemu.golden.files import write_vectors
from cimemu.golden.vectors import LayerVectors, layer_vectors
from cimemu.golden.verify import verify_dump
from cimemu.rtl.generate import write_rtl

MOST_CODES = 30_000
MOST_WORK = 2_000_000  # cycles x cells: seconds on Icarus


def needs(*programs):
    """Marks that skip a test with a reason where a program is not installed."""
    return [
        pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed") for program in programs
    ]


@dataclass
class Generated:
    """One arch: its macro, vectors, and the folder with `vectors` and `rtl` in it."""

    number: int
    macro: cimemu.Macro
    made: LayerVectors
    folder: Path
    groups: int

    @property
    def rtl(self) -> Path:
        return self.folder / "rtl"

    def run(self, *targets, **variables):
        """Run `make`; CompletedProcess."""
        words = [f"{name}={value}" for name, value in variables.items()]
        told = {"VECTORS": self.folder / "vectors"} | variables
        words = [f"{name}={value}" for name, value in told.items()]
        return subprocess.run(
            ["make", "-s", *targets, *words], cwd=self.rtl, capture_output=True, text=True, check=False, timeout=300
        )

    def simulate(self, sim="icarus"):
        """Dump what the macros' wires carry; the Verification."""
        ran = self.run("dump", SIM=sim)
        assert ran.returncode == 0, (self.macro, ran.stdout[-2000:], ran.stderr[-2000:])
        return verify_dump(self.folder / "vectors", self.rtl / "dump", ["macros"])


def groups_of(made):
    """Convolution groups that share a macro, the most of all macros."""
    return max([1, *(int(v.output_groups.max()) + 1 for v in made.macros if v.output_groups is not None)])


def arch_with(macro):
    return cimemu.load_arch("rram_128").model_copy(update={"macro": macro})


def generated(folder, number, macro, made, **options):
    arch, groups = arch_with(macro), groups_of(made)
    folder.mkdir(parents=True, exist_ok=True)
    write_vectors(folder / "vectors", arch, "test", made, force=False)
    write_rtl(folder / "rtl", arch, groups=groups, **options)
    return Generated(number, macro, made, folder, groups)


def drawn_designs(folder, count, seed=7, wanted=lambda macro: True):
    """Generated designs of the first `count` drawn architectures that a simulator is done with in seconds."""
    draws, found = drawn_macros.Draws(seed, drawn_macros.NOT_IN_VECTORS), 0
    for number in range(40 * count):
        drawn = draws.draw(number)
        drawn.tree["timing"]["pipeline_stages"] = 0  # refused by name
        macro = cimemu.Macro.model_validate(drawn.tree)
        if not macro.input.evenly_sliced:  # refused by name, too
            del drawn.tree["input"]["slices"]
            drawn.labels["input.slices"], macro = "()", cimemu.Macro.model_validate(drawn.tree)
        if macro.rows > 40 or getattr(macro.adc, "bits", 1) > 8 or not wanted(macro):
            continue
        try:
            made = layer_vectors(drawn.network, macro, drawn.x, None, min(3, 2 * drawn.layer.geometry.positions))
        except cimemu.CimemuError:
            continue
        cycles = sum(int(v.op_cycles.sum()) * v.cells.size for v in made.macros)
        if cycles > MOST_WORK or sum(v.codes.size for v in made.macros) > MOST_CODES:
            continue
        draws.accepted(drawn)
        found += 1
        yield generated(folder / str(number), number, macro, made)
        if found == count:
            return


def share_objects(one, other):
    """Verilator's own library, compiled for one design, serves another."""
    for path in (one.rtl / "build/obj").glob("verilated*.o"):
        target = other.rtl / "build/obj"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
        os.utime(target / path.name)
