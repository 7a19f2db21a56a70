"""Full runs of chips with one faulty cell, to hold what `every_fault` says against."""

import shutil

import h5py
import numpy as np

from cimemu.compute.forward import Emulator
from cimemu.drawn_chip import write_chip
from cimemu.faults.faulty_chip import NO_FAULT
from cimemu.mapping.place import make_plan
from cimemu.variation.parse import make_variation


class FullRuns:
    """Every cell of a network, written from a chip file in which one is wrong."""

    def __init__(self, arch, network, images, folder):
        self.plan, self.images, self.folder = make_plan(network, arch), images, folder
        self.emulator = Emulator(network, arch.macro, plan=self.plan)
        self.number = 0
        folder.mkdir(exist_ok=True)
        write_chip(folder / "ideal.h5", arch, network, vary=[NO_FAULT], overwrite=True)

    def outputs(self, place):
        """The network's outputs by name where the bit at `place` is flipped."""
        macro, write, row, column, bit = place
        self.number += 1
        path = self.folder / f"faulty_{self.number}.h5"
        shutil.copy(self.folder / "ideal.h5", path)
        with h5py.File(path, "r+") as file:
            group = file[f"macros/{macro:05d}/writing_{write}"]
            levels = group["targets"][...].astype(np.float64)
            levels[row, column] = int(levels[row, column]) ^ (1 << bit)
            group["levels"][...] = levels
        self.emulator.program(self.plan, [make_variation({"model": "chip", "file": str(path)})])
        return self.emulator.run([self.images]).tensors


def places(sites, which):
    """The places of faults `which`, as `every_fault(cells=...)` takes them."""
    arrays = (sites.macro, sites.write, sites.row, sites.column, sites.bit)
    return [tuple(int(values[f]) for values in arrays) for f in which]


def compare(arch, network, images, result, which, folder):
    """Outputs and counts of faults `which` of a campaign that kept outputs, against full runs. How many differ from none."""
    full = FullRuns(arch, network, images, folder)
    ideal = full.emulator.run([images]).tensors
    seen = 0
    for f, place in zip(which, places(result.sites, which)):
        outputs = full.outputs(place)
        reached = np.zeros(len(images), dtype=bool)
        for name, array in outputs.items():
            assert result.outputs[name][f].dtype == array.dtype
            assert result.outputs[name][f].tobytes() == array.tobytes(), (place, name)
            reached |= (array != ideal[name]).reshape(len(images), -1).any(axis=1)
        assert result.counts["reached"][f] == reached.sum()
        seen += bool(reached.any())
    return seen
