"""Proof that a trained module is what the chip computes: codes, psums and outputs against the emulator, counted."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cimemu.adapt.adapted import AdaptedModule
from cimemu.adapt.chip import Inside
from cimemu.adapt.export import export
from cimemu.compute.forward import Emulator
from cimemu.engines.steps.run import step_psums
from cimemu.importer import load_network
from cimemu.layer.base import Array
from cimemu.lower import lower
from cimemu.macro.encode import checked_inputs
from cimemu.macro.sums import masked_inputs


@dataclass(frozen=True)
class Compared:
    """One macro layer: integers compared and how many of them differ."""

    layer: str
    psums: int
    psums_differ: int
    codes: int
    codes_differ: int
    outputs: int
    outputs_differ: int

    @property
    def differ(self) -> int:
        """All that differ."""
        return self.psums_differ + self.codes_differ + self.outputs_differ


def compare_with_emulator(module: AdaptedModule, images: Array, batch: int = 16) -> tuple[Compared, ...]:
    """`module` in evaluation mode beside the emulator of its exported file, on float `images` [images, ...].

    Both start from the images and keep their own tensors, so a first difference shows in all layers behind it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export(module, path)
        network = lower(load_network(path))
    emulator = Emulator(network, module.arch.macro)
    names = {name: (m.layer.inputs[0], m.layer.outputs[0]) for name, m in emulator.matrices.items()}
    keep = frozenset(name for pair in names.values() for name in pair if name in network.types)
    totals = {name: np.zeros(6, dtype=np.int64) for name in names}
    for first in range(0, len(images), batch):
        part = np.ascontiguousarray(images[first : first + batch], dtype=np.float32)
        tensors = {network.inputs[0]: part, **emulator.run([part], keep=keep).tensors}

        for name, inside in _insides(module, part):
            source, target = names[name]
            totals[name] += _layer(emulator, name, tensors[source], tensors[target], inside)
    return tuple(Compared(name, *(int(v) for v in total)) for name, total in totals.items())


def _insides(module: AdaptedModule, images: Array) -> list[tuple[str, Inside]]:
    """Integers of every macro layer, in order."""
    found: list[tuple[str, Inside]] = []
    module.chip().run(images, lambda name, inside: found.append((name, inside)))
    return found


def _layer(emulator: Emulator, name: str, source: Array, target: Array, inside: Inside) -> np.ndarray:
    """(psums, differing, codes, differing, outputs, differing)."""
    matrix = emulator.matrices[name]
    (programmed,) = matrix.programmed
    written = programmed.matrix
    (x,) = matrix.vectors(source)
    masked = masked_inputs(checked_inputs(x, matrix.macro, written.layout.rows), written)
    psums = np.empty_like(inside.psums)
    for g, i, values in step_psums(masked, written, packed=written.packed is not None):
        psums[:, g, i] = values
    found = programmed.run(x, codes=True, counted=False)
    codes = psums if found.codes is None else found.codes.astype(np.int64)
    mine = inside.codes if found.codes is None else np.where(codes == 65535, 65535, inside.codes)
    pairs = ((psums, inside.psums), (codes, mine), (target, inside.output))
    return np.array([n for a, b in pairs for n in (a.size, int((a != b.reshape(a.shape)).sum()))])
