"""One trial: a chip is drawn, the images run on it, and its layers are compared with an ideal chip's."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.compute.checksums import alarms_of
from cimemu.compute.forward import Emulator
from cimemu.emulate import score
from cimemu.faults.stuck_chips import StuckChips, why_not
from cimemu.layer.base import Array
from cimemu.macro.checksums import Alarms
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import Plan
from cimemu.stress.jobs import Record
from cimemu.trace.trials import Field
from cimemu.variation.base import VariationBase
from cimemu.variation.compose import Variations, compose
from cimemu.workload.network import Network

BATCH = 64
ALARMS = tuple(f"checksums_{name}" for name in Alarms._fields)  # of all images, where macros have checksum columns


@dataclass(frozen=True)
class Point:
    """What one point draws: a scheme's number, and variation models, also spelled out as `--vary` takes them."""

    scheme: int
    vary: tuple[str, ...]
    models: tuple[VariationBase, ...]


@dataclass(eq=False)
class _Bench:
    """What a worker keeps of a scheme: the emulator, its plan, and an ideal chip's tensors of the first images."""

    emulator: Emulator
    plan: Plan
    clean: dict[str, Array]
    stuck: StuckChips | None = None  # made where nothing but cells are stuck


@dataclass(eq=False)
class StressTask:
    """Jobs of a stress run: job = trial * points + point; a trial draws the same cells for every point."""

    arch: Arch
    networks: tuple[Network, ...]  # one a scheme, with the same layers on macros
    points: tuple[Point, ...]
    inputs: Array
    labels: NDArray[np.int64] | None
    seed: int
    error_images: int
    _benches: dict[tuple[int, int], _Bench] = field(default_factory=dict, init=False, repr=False)

    @property
    def layers(self) -> list[str]:
        """Names of the layers on macros."""
        return [layer.name for layer in self.networks[0].layers if layer.on_macros]

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a trial's record holds."""
        layers = (len(self.layers),)
        alarms = [Field(name, "int64") for name in ALARMS] if self.arch.macro.repair.checksum_columns else []
        return (
            *alarms,
            Field("correct", "int64"),
            Field("prediction", "int32", (len(self.inputs),)),
            Field("layer_error", "float64", layers),
            Field("own_error", "float64", layers),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Workers make their own emulators."""
        return {**self.__dict__, "_benches": {}}

    def run(self, job: int) -> Record:
        """The record of a job: images classified right (-1 without labels), predictions, and errors of layers.

        `layer_error` compares a layer's output in the whole drawn network with the ideal chip's, `own_error` the
        output of the drawn layer alone on the ideal chip's input: root mean square of the difference, relative to
        the standard deviation of the ideal output.
        """
        trial, number = divmod(job, len(self.points))
        point = self.points[number]
        bench = self._bench(point.scheme)
        drawn = compose(point.models, self.seed, trial)
        if why_not(bench.emulator, drawn, len(self.inputs)) is None:
            return self._by_faults(bench, drawn)
        emulator = bench.emulator
        emulator.program(bench.plan, point.models, self.seed, trial)
        fed = [self._fed(bench, name) for name, _ in self._outputs(point.scheme)]
        own = [
            np.nan
            if early
            else _relative(emulator.run_layer(name, self._clean_inputs(bench, name)), bench.clean[output])
            for early, (name, output) in zip(fed, self._outputs(point.scheme))
        ]
        outputs: list[Array] = []
        alone = alarms_of(emulator.matrices)  # of layers alone
        errors = np.full(len(own), np.nan)
        kept = frozenset(output for _, output in self._outputs(point.scheme))
        for first in range(0, len(self.inputs), BATCH):
            compared = first == 0
            batch = emulator.run(
                [self.inputs[first : first + BATCH]],
                keep=kept if compared else frozenset(),
                first_image=first,
                counted=False,
            )
            outputs.append(batch.tensors[emulator.network.outputs[0]])
            if compared:
                errors[:] = [
                    _relative(batch.tensors[output][: self.error_images], bench.clean[output])
                    for _, output in self._outputs(point.scheme)
                ]
        own = [float(whole) if early else alone for early, alone, whole in zip(fed, own, errors)]
        record = self._record(bench, {emulator.network.outputs[0]: np.concatenate(outputs)}, errors, own)
        if self.arch.macro.repair.checksum_columns:
            record |= zip(ALARMS, alarms_of(emulator.matrices).since(alone))
        return record

    def _by_faults(self, bench: _Bench, drawn: Variations) -> Record:
        """The record of a chip of which nothing but cells are stuck, by what these change alone."""
        if bench.stuck is None:
            network = bench.emulator.network
            bench.stuck = StuckChips(Emulator(network, self.arch.macro, plan=bench.plan), bench.plan, self.inputs)
        found = bench.stuck.watched(drawn, self.error_images)
        made = [
            [
                _relative(tensors[layer.name], bench.clean[layer.outputs[0]]) if layer.name in tensors else 0.0
                for layer in bench.emulator.network.layers
                if layer.on_macros
            ]
            for tensors in (found.moved, found.own)
        ]
        return self._record(bench, found.outputs, *made)

    def _record(self, bench: _Bench, outputs: dict[str, Array], errors: Any, own: Any) -> Record:
        predictions, accuracy = score(outputs, bench.emulator.network, self.labels, len(self.inputs))
        correct = -1 if accuracy is None else round(accuracy * len(self.inputs))
        return {
            "correct": correct,
            "prediction": np.full(len(self.inputs), -1) if predictions is None else predictions,
            "layer_error": errors,
            "own_error": own,
        }

    def _bench(self, scheme: int) -> _Bench:
        """The scheme's emulator; each thread has its own, since a trial changes its cells."""
        key = (threading.get_ident(), id(self.networks[scheme]))
        if key not in self._benches:
            network = self.networks[scheme]
            plan = make_plan(network, self.arch)
            emulator = Emulator(network, self.arch.macro, plan=plan)
            tensors = {output for _, output in self._outputs(scheme)}
            tensors |= {name for layer in network.layers if layer.on_macros for name in layer.inputs if name}
            ideal = emulator.run([self.inputs[: self.error_images]], keep=frozenset(tensors - set(network.inputs)))
            clean = {**ideal.tensors, network.inputs[0]: self.inputs[: self.error_images]}
            self._benches[key] = _Bench(emulator, plan, clean)
        return self._benches[key]

    def _outputs(self, scheme: int) -> Sequence[tuple[str, str]]:
        """(layer on macros, its output tensor)."""
        return [(layer.name, layer.outputs[0]) for layer in self.networks[scheme].layers if layer.on_macros]

    def _fed(self, bench: _Bench, name: str) -> bool:
        """Whether a layer reads the images alone: in the whole drawn network it is given what it is given by itself."""
        layer = next(layer for layer in bench.emulator.network.layers if layer.name == name)
        return {tensor for tensor in layer.inputs if tensor} <= set(bench.emulator.network.inputs)

    def _clean_inputs(self, bench: _Bench, name: str) -> list[Array]:
        layer = next(layer for layer in bench.emulator.network.layers if layer.name == name)
        return [bench.clean[tensor] for tensor in layer.inputs if tensor]


def _relative(got: Array, ideal: Array) -> float:
    """Root mean square of `got - ideal`, relative to the standard deviation of `ideal` (or 1 where that is 0)."""
    difference = got.astype(np.float64) - ideal.astype(np.float64)
    spread = float(ideal.astype(np.float64).std())
    return float(np.sqrt((difference**2).mean())) / (spread or 1.0)
