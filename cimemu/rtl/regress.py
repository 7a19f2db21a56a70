"""Several architectures one after another: vectors, generated hardware, a simulation, and whether all is equal."""

import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cimemu.arch.schema import Arch
from cimemu.errors import CimemuError
from cimemu.golden.files import write_vectors
from cimemu.golden.vectors import LayerVectors, layer_vectors
from cimemu.golden.verify import Verification, verify_dump
from cimemu.prepare import quantized_network
from cimemu.rtl.bench import Simulator
from cimemu.rtl.generate import write_rtl
from cimemu.workload.manifest import Workload

LONGEST_S = 600  # of one simulation
PROGRAMS: dict[Simulator, tuple[str, ...]] = {"icarus": ("make", "iverilog", "vvp"), "verilator": ("make", "verilator")}


@dataclass(frozen=True)
class Regressed:
    """One architecture."""

    name: str
    found: Verification | None  # None: it could not be generated or simulated,
    error: str  # and why
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether every file that a macro gives is equal."""
        return self.found is not None and self.found.equal


def regress(
    archs: Iterable[Arch],
    work: Workload,
    folder: Path,
    *,
    layer: str | None = None,
    ops: int = 2,
    sim: Simulator = "icarus",
) -> Iterator[Regressed]:
    """Simulate the generated macro of each architecture on vectors of a layer, in a folder of its own; CimemuError where a
    program is missing."""
    for program in PROGRAMS[sim]:
        if shutil.which(program) is None:
            raise CimemuError(f"--sim {sim}: {program} is not installed, install it or name the other simulator")
    for number, arch in enumerate(archs):
        begin = time.monotonic()
        try:
            found, error = _one(arch, work, folder / f"{number}_{arch.name}", layer, ops, sim), ""
        except CimemuError as refused:
            found, error = None, str(refused)
        yield Regressed(arch.name, found, error, time.monotonic() - begin)


def _one(arch: Arch, work: Workload, folder: Path, layer: str | None, ops: int, sim: Simulator) -> Verification:
    folder.mkdir(parents=True)
    network = quantized_network(work, arch)
    made = layer_vectors(network, arch.macro, work.inputs(None)[0], layer, ops)
    write_vectors(folder / "vectors", arch, work.name, made, force=False)
    write_rtl(folder / "rtl", arch, groups=shared_groups(made))
    command = ["make", "-s", "-C", str(folder / "rtl"), "dump", "VECTORS=../vectors", f"SIM={sim}"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        raise CimemuError(f"the simulation takes more than {LONGEST_S} s, use fewer --ops or a smaller macro") from None
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip().splitlines()
        raise CimemuError(f"the simulator ended with status {ran.returncode}: {said[0] if said else 'it said nothing'}")
    return verify_dump(folder / "vectors", folder / "rtl" / "dump", ["macros"])


def shared_groups(made: LayerVectors) -> int:
    """Convolution groups that share a macro, the most of all."""
    return max([1, *(int(v.output_groups.max()) + 1 for v in made.macros if v.output_groups is not None)])
