"""Every single-bit fault of a network's cells, or many of them: exact, by what each of them changes alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.compute.matrix import LayerMatrix
from cimemu.emulate import score
from cimemu.errors import CimemuError, WorkloadError
from cimemu.faults.behind import Behind, unequal
from cimemu.faults.column import Column, LayerInputs
from cimemu.faults.sites import FaultSites, Piece, Place, draw_sites, named_sites
from cimemu.layer.base import Array
from cimemu.macro.matrix import limits, sum_range
from cimemu.mapping.place import make_plan
from cimemu.workload.network import Network

PSUM_BYTES = 1 << 27  # of the psums of one column, for as many images as are taken at once
PAIRS = 512  # (fault, image) that run through the layers behind together
COUNTED = ("changed", "reached", "harmful", "lost")


@dataclass(frozen=True, eq=False)
class FaultResult:
    """Faults and how many images each of them changed, an entry a fault in every array of `counts`.

    `changed`: the layer's own output differs; `reached`: an output of the network does; `harmful`: the predicted class
    does (an output does, where there are no classes); `lost`: images classified right without the fault less those
    classified right with it, 0 without labels.
    """

    sites: FaultSites
    counts: dict[str, NDArray[np.int64]]
    images: int
    labelled: bool
    correct: int  # images classified right without a fault
    seconds: float  # of the faults, without the run that they are compared with
    seed: int
    every: bool  # whether these are all faults of the network
    outputs: dict[str, Array]  # by name [faults, images, *shape], where they were asked for

    @property
    def rate(self) -> float:
        """Faults a second."""
        return len(self.sites) / max(self.seconds, 1e-9)

    def worst(self, count: int) -> NDArray[np.int64]:
        """The most harmful faults first: by images lost, classes changed, outputs changed, then by number."""
        counts = self.counts
        order = np.lexsort((-counts["reached"], -counts["harmful"], -counts["lost"]))
        return order[:count]


def every_fault(
    arch: Arch,
    network: Network,
    inputs: Any,
    labels: Any = None,
    *,
    cells: int | Sequence[Place] | None = None,
    seed: int = 0,
    outputs: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> FaultResult:
    """Flip one bit of one cell at a time and say what that changes, for every cell that holds a weight.

    `cells`: how many faults are drawn, without replacement, by `seed` (default: all are tried), or the faults themselves as
    (macro, earlier writes of it, row, column, bit). `outputs` keeps the network's outputs of every fault: those of a chip
    with that one cell written so, byte for byte. Only the faulty column is converted again and only layers behind it run,
    for images that changed. Cells are otherwise ideal. Raises CimemuError where the arch or the network has no such faults.

    >>> import cimemu
    >>> from cimemu.faults import every_fault
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    >>> found = every_fault(arch, network, *workload.inputs(4), cells=20, seed=1)
    >>> len(found.sites), found.images
    (20, 4)
    """
    bounds.whole("seed", seed, 0, bounds.MOST_SEED)
    images = np.asarray(inputs)
    if len(images) == 0:
        raise WorkloadError("inputs: no image given, give at least one")
    plan = make_plan(network, arch)
    emulator = Emulator(network, arch.macro, plan=plan)
    refuse_faults(emulator)
    drawn = cells is None or isinstance(cells, int)
    chosen = draw_sites(emulator, plan, cells, seed) if drawn else named_sites(emulator, plan, cells)  # type: ignore[arg-type]
    made = Counts({name: np.zeros(len(chosen), dtype=np.int64) for name in COUNTED})
    kept: list[dict[str, Array]] = []
    step, correct, seconds = _images_at_once(emulator), 0, 0.0
    for first in range(0, len(images), step):
        truth = None if labels is None else np.asarray(labels)[first : first + step]
        run = _Run(emulator, images[first : first + step], truth, made)
        if outputs:
            kept.append(run.keep(len(chosen)))
        correct += run.correct
        start = perf_counter()
        done = 0
        for piece, output, which in chosen.by_column():
            run.column(piece, output, which, chosen)
            done += len(which)
            if progress is not None:
                progress("faults", first * len(chosen) + done * run.images, len(images) * len(chosen))
        run.flush()
        seconds += perf_counter() - start
    names = network.outputs if outputs else ()
    return FaultResult(
        sites=chosen,
        counts=made.by_fault,
        images=len(images),
        labelled=labels is not None,
        correct=correct,
        seconds=seconds,
        seed=seed,
        every=len(chosen) == chosen.total,
        outputs={name: np.concatenate([part[name] for part in kept], axis=1) for name in names},
    )


@dataclass(frozen=True, eq=False)
class Counts:
    """What is counted of every fault, over all images."""

    by_fault: dict[str, NDArray[np.int64]]

    def add(self, name: str, fault: NDArray[np.int64], amount: Any = 1) -> None:
        """Add `amount` at every entry of `fault`, which may hold a fault several times."""
        np.add.at(self.by_fault[name], fault, amount)


@dataclass(eq=False)
class _Waiting:
    """Channels that differ, until there are enough of them to run."""

    layer: str = ""
    fault: list[NDArray[np.int64]] = field(default_factory=list)
    image: list[NDArray[np.int64]] = field(default_factory=list)
    channel: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[Any]] = field(default_factory=list)


class _Run:
    """Some images: their tensors without faults, and the counts that faults on them add to."""

    def __init__(self, emulator: Emulator, inputs: Array, labels: Any, counts: Counts) -> None:
        network = emulator.network
        batch = emulator.run([inputs], keep=frozenset(network.types) - frozenset(network.inputs))
        self.emulator, self.counts, self.images = emulator, counts, len(inputs)
        self.clean = {**batch.tensors, network.inputs[0]: inputs}
        self.behind = Behind(emulator, self.clean)
        outputs = {name: self.clean[name] for name in network.outputs}
        self.predictions, accuracy = score(outputs, network, labels, self.images)
        self.labels = None if labels is None else np.asarray(labels)
        self.correct = 0 if accuracy is None else round(accuracy * self.images)
        self.waiting = _Waiting()
        self.inputs_of: tuple[str, LayerInputs | None] = ("", None)
        self.kept: dict[str, Array] = {}

    def keep(self, faults: int) -> dict[str, Array]:
        """Room for the outputs of so many faults, which hold those without a fault until they are known to differ."""
        names = self.emulator.network.outputs
        self.kept = {name: np.repeat(self.clean[name][None], faults, axis=0) for name in names}
        return self.kept

    def column(self, piece: Piece, output: int, which: NDArray[np.int64], sites: FaultSites) -> None:
        """All faults `which` of one output column."""
        matrix = self.emulator.matrices[piece.layer]
        column = Column(matrix, piece.unit, output, self._inputs(matrix))
        deltas = sites.faulty_level[which] - sites.level[which]
        share = (piece.replica, self.emulator.copies.get(piece.layer, 1))
        if self.waiting.layer != piece.layer:
            self.flush()
            self.waiting.layer = piece.layer
        clean = self.channels(piece.layer)[:, :, column.channel]
        for made in column.changes(sites.input[which], sites.slice[which], deltas, share):
            differs = unequal(made.values, clean[made.image])
            fault, waiting = which[made.fault[differs]], self.waiting
            self.counts.add("changed", fault)
            waiting.fault.append(fault)
            waiting.image.append(made.image[differs])
            waiting.channel.append(np.full(len(fault), column.channel))
            waiting.values.append(made.values[differs])
        if sum(map(len, self.waiting.fault)) >= PAIRS:
            self.flush()

    def flush(self) -> None:
        """Run what waits through the layers behind."""
        waiting, self.waiting = self.waiting, _Waiting(self.waiting.layer)
        if not sum(map(len, waiting.fault)):
            return
        fault, image, channel, values = (
            np.concatenate(parts) for parts in (waiting.fault, waiting.image, waiting.channel, waiting.values)
        )
        for first in range(0, len(fault), PAIRS):
            part = slice(first, first + PAIRS)
            self._through(waiting.layer, fault[part], image[part], (channel[part], values[part]))

    def _through(
        self,
        name: str,
        fault: NDArray[np.int64],
        image: NDArray[np.int64],
        changed: tuple[NDArray[np.int64], NDArray[Any]],
    ) -> None:
        layer = self.emulator.matrices[name].layer
        tensor = self.clean[layer.outputs[0]]
        whole = self.channels(name)[image].copy()
        whole[np.arange(len(image)), :, changed[0]] = changed[1]
        made = whole if layer.channels_last else whole.transpose(0, 2, 1)
        reached = self.behind.run(name, np.ascontiguousarray(made).reshape(len(image), *tensor.shape[1:]), image)
        fault, image = fault[reached.pairs], image[reached.pairs]
        self.counts.add("reached", fault)
        for name, array in self.kept.items():
            array[fault, image] = reached.outputs[name]
        if self.predictions is None or not len(fault):
            self.counts.add("harmful", fault)
            return
        predicted, _ = score(reached.outputs, self.emulator.network, None, len(fault))
        assert predicted is not None
        before = self.predictions[image]
        self.counts.add("harmful", fault, predicted != before)
        if self.labels is not None:
            truth = self.labels[image]
            self.counts.add("lost", fault, (before == truth).astype(np.int64) - (predicted == truth))

    def channels(self, name: str) -> Array:
        """A layer's output without faults as [images, positions, channels]."""
        layer = self.emulator.matrices[name].layer
        tensor, geometry = self.clean[layer.outputs[0]], layer.geometry
        if layer.channels_last:
            return tensor.reshape(self.images, geometry.positions, geometry.channels_out)
        return tensor.reshape(self.images, geometry.channels_out, geometry.positions).transpose(0, 2, 1)

    def _inputs(self, matrix: LayerMatrix) -> LayerInputs:
        """What the macros of a layer are given; kept until another layer is asked for."""
        layer = matrix.layer
        if self.inputs_of[0] != layer.name or self.inputs_of[1] is None:
            arrays = [self.clean[name] for name in layer.inputs if name]
            zeros = arrays[1] if layer.dynamic_zero_point else None
            rows, constants = matrix.driven(arrays[0], zeros)
            self.inputs_of = (layer.name, LayerInputs(rows, constants, self.images))
        made = self.inputs_of[1]
        assert made is not None
        return made


def _images_at_once(emulator: Emulator) -> int:
    """Images whose psums of one column fit PSUM_BYTES, in the layer where they take most."""
    macro = emulator.macro
    each = [
        8 * m.layer.geometry.positions * macro.input_slices * macro.conversions_per_output * p.matrix.layout.groups
        for m in emulator.matrices.values()
        for p in m.programmed
    ]
    return max(1, PSUM_BYTES // max(each, default=1))


def refuse_faults(emulator: Emulator) -> None:
    """CimemuError for what a fault is not defined on."""
    macro, network = emulator.macro, emulator.network
    if emulator.sharing:
        name = min(emulator.sharing)
        raise CimemuError(
            f"faults: layer {name} shares its cells with others, a fault of one layer is not defined; give each its own"
        )
    if len(network.inputs) != 1:
        raise CimemuError(f"faults: network {network.name} takes {len(network.inputs)} inputs, must be one")
    if macro.weight.column_flipping:
        raise CimemuError("faults: weight.column_flipping with faulty cells: not defined, turn it off")
    if macro.weight.correction == "reference_column" and macro.needs_input_sums:
        raise CimemuError("faults: weight.correction = reference_column: not defined, use digital")
    if macro.repair.checksum_columns:
        raise CimemuError(
            f"faults: macro.repair.checksum_columns = {macro.repair.checksum_columns} puts faults right: not defined, set it to 0"
        )
    for name, matrix in emulator.matrices.items():
        if matrix.layer.column_scale is not None:
            raise CimemuError(
                f"faults: layer {name} has column scales behind its converters: not defined, take a network without"
            )
        for programmed in matrix.programmed:
            _refuse_overflow(name, programmed.matrix)


def _refuse_overflow(name: str, matrix: Any) -> None:
    """CimemuError where a fault could take a running sum out of its accumulator."""
    bits = matrix.macro.accumulator_bits
    if bits is None:
        return
    least, most = sum_range(matrix)
    largest = (
        (2**matrix.macro.cell.bits - 1) * (2**matrix.macro.input.dac_bits - 1) * int(np.abs(matrix.columns.mix).max())
    )
    if matrix.references is not None:
        largest = int(max(r.levels.max() - r.levels.min() for r in matrix.references))
    margin = largest * int(np.abs(matrix.columns.weight).max()) * int(np.abs(matrix.slice_weights).sum())
    low, high = limits(bits)
    if int(least.min()) - margin < low or int(most.max()) + margin > high:
        raise CimemuError(
            f"faults: layer {name}: macro.accumulator_bits = {bits}: a fault could take a running sum out of it; "
            "give more bits, or none"
        )
