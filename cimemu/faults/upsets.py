"""Faults outside cells: bits of codes, registers, accumulators, wordlines and buffers that flip once, or are stuck."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.emulate import score
from cimemu.errors import CimemuError, WorkloadError
from cimemu.faults.behind import Behind, unequal
from cimemu.faults.column import LayerInputs
from cimemu.faults.upset_layer import check_kind, faulty_channels, points_of, wrong_bit
from cimemu.faults.upset_sites import KINDS, Kind, Upset, checked_sites, drawn_sites, pieces_of
from cimemu.layer.base import Array
from cimemu.mapping.place import make_plan
from cimemu.workload.network import Network

PAIRS = 256  # (fault, image) that run through the layers behind together
COUNTED = ("changed", "reached", "harmful", "lost")


@dataclass(frozen=True, eq=False)
class UpsetResult:
    """Faults of one kind and how many images each of them changed, an entry a fault in every array of `counts`.

    `changed`: the layer's output or the tensor differs; `reached`, `harmful` and `lost` as in `FaultResult`. A fault that flips
    once has one image to change.
    """

    kind: Kind
    permanent: bool
    sites: tuple[Upset, ...]
    total: int  # sites of the kind
    counts: dict[str, NDArray[np.int64]]
    images: int
    labelled: bool
    correct: int  # images classified right without a fault
    seconds: float
    seed: int
    outputs: tuple[dict[int, dict[str, Array]], ...]  # of every fault, by image that differs, where they were asked for


@dataclass(frozen=True)
class Campaign:
    """Which bits are made wrong: of `site` (codes, registers, accumulators, wordlines or buffers), drawn by `seed`, or these.

    A fault flips a bit once: in one image, one output position and one step. A `permanent` one is stuck at 0 or 1 in all of them.
    """

    site: str
    faults: int | Sequence[Upset] = 200
    permanent: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind(self.site, KINDS)
        bounds.whole("seed", self.seed, 0, bounds.MOST_SEED)

    @property
    def kind(self) -> Kind:
        """The site, as one of the kinds."""
        return next(known for known in KINDS if known == self.site)


def upsets(
    arch: Arch,
    network: Network,
    inputs: Any,
    labels: Any,
    campaign: Campaign,
    *,
    outputs: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> UpsetResult:
    """Make one bit outside cells wrong at a time, and say what that changes; cells are ideal, `labels` may be None.

    `outputs` keeps the network's outputs of images that a fault changes. Raises CimemuError where the chip or the network has no
    such bits.

    >>> import cimemu
    >>> from cimemu.faults import Campaign, upsets
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    >>> found = upsets(arch, network, *workload.inputs(4), Campaign("codes", faults=20, seed=1))
    >>> len(found.sites), int((found.counts["changed"] > 0).sum()) <= 20
    (20, True)
    """
    kind, faults, permanent, seed = campaign.kind, campaign.faults, campaign.permanent, campaign.seed
    images = np.asarray(inputs)
    if len(images) == 0:
        raise WorkloadError("inputs: no image given, give at least one")
    if len(network.inputs) != 1:
        raise CimemuError(f"faults: network {network.name} takes {len(network.inputs)} inputs, must be one")
    plan = make_plan(network, arch)
    emulator = Emulator(network, arch.macro, plan=plan)
    pieces = pieces_of(emulator, kind, len(images), permanent)
    total = sum(piece.count for piece in pieces)
    chosen = drawn_sites(pieces, faults, seed)[0] if isinstance(faults, int) else checked_sites(pieces, faults)
    run = _Run(emulator, images, labels, kind, len(chosen), outputs)
    start = perf_counter()
    order = sorted(range(len(chosen)), key=lambda n: run.start_of(chosen[n]))
    done = 0
    for _, same in groupby(order, key=lambda n: chosen[n].layer):
        for n in same:
            run.fault(n, chosen[n])
            done += 1
            if progress is not None:
                progress("faults", done, len(chosen))
        run.flush()
    return UpsetResult(
        kind=kind,
        permanent=permanent,
        sites=tuple(chosen),
        total=total,
        counts=run.counts,
        images=len(images),
        labelled=labels is not None,
        correct=run.correct,
        seconds=perf_counter() - start,
        seed=seed,
        outputs=tuple(run.kept) if outputs else (),
    )


class _Run:
    """The images' tensors without a fault, and what faults on them do."""

    def __init__(self, emulator: Emulator, inputs: Array, labels: Any, kind: Kind, faults: int, keep: bool) -> None:
        network = emulator.network
        batch = emulator.run([inputs], keep=frozenset(network.types) - frozenset(network.inputs))
        self.emulator, self.kind, self.images = emulator, kind, len(inputs)
        self.clean = {**batch.tensors, network.inputs[0]: inputs}
        self.behind = Behind(emulator, self.clean)
        outputs = {name: self.clean[name] for name in network.outputs}
        self.predictions, accuracy = score(outputs, network, labels, self.images)
        self.labels = None if labels is None else np.asarray(labels)
        self.correct = 0 if accuracy is None else round(accuracy * self.images)
        self.counts = {name: np.zeros(faults, dtype=np.int64) for name in COUNTED}
        self.kept: list[dict[int, dict[str, Array]]] = [{} for _ in range(faults if keep else 0)]
        self.inputs_of: tuple[str, LayerInputs | None] = ("", None)
        self.waiting: list[tuple[int, NDArray[np.int64], Array]] = []  # fault, images, the tensor there
        self.tensor = ("", 0)  # that waits, and the layer behind it
        self.maker = {name: index for index, layer in enumerate(network.layers) for name in layer.outputs}

    def start_of(self, site: Upset) -> tuple[int, str]:
        """What faults are ordered by: the first layer behind."""
        return self._tensor(site)[1], site.layer

    def _tensor(self, site: Upset) -> tuple[str, int]:
        """(tensor that a fault changes, number of the first layer behind it)."""
        name = site.layer
        if self.kind != "buffers":
            name = self.emulator.matrices[site.layer].layer.outputs[0]
        return name, self.maker.get(name, -1) + 1

    def fault(self, number: int, site: Upset) -> None:
        """Make the tensor that a fault changes, for images where it does."""
        tensor = self._tensor(site)
        if tensor != self.tensor:
            self.flush()
            self.tensor = tensor
        clean = self.clean[tensor[0]]
        images, made = self._buffer(site, clean) if self.kind == "buffers" else self._layer(site, clean)
        differs = unequal(made, clean[images])
        if differs.any():
            self.counts["changed"][number] += int(differs.sum())
            self.waiting.append((number, images[differs], made[differs]))
        if sum(len(images) for _, images, _ in self.waiting) >= PAIRS:
            self.flush()

    def _buffer(self, site: Upset, clean: Array) -> tuple[NDArray[np.int64], Array]:
        images = np.arange(self.images) if site.permanent else np.array([site.image])
        made = np.ascontiguousarray(clean[images]).copy()
        words = made.view(np.dtype(f"u{made.dtype.itemsize}")).reshape(len(images), -1)
        words[:, site.place] = wrong_bit(words[:, site.place], site.bit, site.stuck)
        return images, made

    def _layer(self, site: Upset, clean: Array) -> tuple[NDArray[np.int64], Array]:
        matrix = self.emulator.matrices[site.layer]
        layer, g = matrix.layer, matrix.layer.geometry
        points = points_of(site, matrix, self.images, self.emulator.copies.get(site.layer, 1))
        channels, values = faulty_channels(self.kind, site, matrix, self._inputs(site.layer), points)
        images = np.unique(points // g.positions)
        part = clean[images]
        shape = (len(images), g.positions, g.channels_out)
        if layer.channels_last:
            whole = part.reshape(shape).copy()
        else:
            whole = part.reshape(shape[0], shape[2], shape[1]).transpose(0, 2, 1).copy()
        whole[np.searchsorted(images, points // g.positions), points % g.positions, channels] = values
        made = whole if layer.channels_last else whole.transpose(0, 2, 1)
        return images, np.ascontiguousarray(made).reshape(part.shape)

    def _inputs(self, name: str) -> LayerInputs:
        """What the macros of a layer are given; kept until another layer is asked for."""
        if self.inputs_of[0] != name or self.inputs_of[1] is None:
            matrix = self.emulator.matrices[name]
            known = {**self.emulator.network.constants, **self.clean}
            arrays = [known[tensor] for tensor in matrix.layer.inputs if tensor]
            rows, constants = matrix.driven(arrays[0], arrays[1] if matrix.layer.dynamic_zero_point else None)
            self.inputs_of = (name, LayerInputs(rows, constants, self.images))
        made = self.inputs_of[1]
        assert made is not None
        return made

    def flush(self) -> None:
        """Run what waits through the layers behind."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        fault = np.concatenate([np.full(len(images), number) for number, images, _ in waiting])
        image = np.concatenate([images for _, images, _ in waiting])
        reached = self.behind.run_tensor(
            self.tensor[0], np.concatenate([made for *_, made in waiting]), image, self.tensor[1]
        )
        fault, image = fault[reached.pairs], image[reached.pairs]
        np.add.at(self.counts["reached"], fault, 1)
        if self.kept:
            for at, (f, n) in enumerate(zip(fault.tolist(), image.tolist())):
                self.kept[f][n] = {name: array[at] for name, array in reached.outputs.items()}
        if self.predictions is None or not len(fault):
            np.add.at(self.counts["harmful"], fault, 1)
            return
        predicted, _ = score(reached.outputs, self.emulator.network, None, len(fault))
        assert predicted is not None
        before = self.predictions[image]
        np.add.at(self.counts["harmful"], fault, predicted != before)
        if self.labels is not None:
            truth = self.labels[image]
            np.add.at(self.counts["lost"], fault, (before == truth).astype(np.int64) - (predicted == truth))
