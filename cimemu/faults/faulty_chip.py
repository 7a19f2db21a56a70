"""A chip with one faulty cell as a file, for full runs: `--chip FILE`."""

from pathlib import Path

import h5py
import numpy as np

from cimemu.arch.schema import Arch
from cimemu.drawn_chip import write_chip
from cimemu.errors import CimemuError
from cimemu.faults.sites import Place
from cimemu.workload.network import Network

NO_FAULT = "stuck_at:sa0=1e-12"  # is asked for and draws none: a chip file of ideal cells


def write_faulty_chip(
    path: Path | str, arch: Arch, network: Network, site: Place, *, overwrite: bool = False
) -> tuple[int, int]:
    """Write a chip file of ideal cells in which one bit of one cell is flipped: the cell's level before and after.

    `site` is (macro, earlier writes of it, row, column, bit). Raises CimemuError where there is no such cell.
    """
    macro, write, row, column, bit = site
    text = ":".join(map(str, site))
    if not 0 <= bit < arch.macro.cell.bits:
        raise CimemuError(f"faults: site {text}: bit {bit}, must be 0 .. {arch.macro.cell.bits - 1}")
    write_chip(path, arch, network, vary=[NO_FAULT], overwrite=overwrite)
    with h5py.File(path, "r+") as file:
        name = f"macros/{macro:05d}/writing_{write}"
        group = file.get(name)
        if group is None or not (0 <= row < len(group["targets"]) and 0 <= column < group["targets"].shape[1]):
            raise CimemuError(
                f"faults: site {text} (macro:write:row:column:bit) is no cell of the network, take one of a report"
            )
        levels = np.array(group["targets"], dtype=np.float64)
        before = int(levels[row, column])
        levels[row, column] = before ^ (1 << bit)
        group["levels"][...] = levels
        return before, int(levels[row, column])
