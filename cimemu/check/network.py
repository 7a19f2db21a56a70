"""`cimemu check`: a whole network against ONNX Runtime or a file of tensors, on the bit-serial path."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.check.compare import TensorDiff, compare_tensors, read_tensors
from cimemu.compute.forward import Emulator
from cimemu.errors import CimemuError, WorkloadError
from cimemu.events import Counter
from cimemu.layer.base import Array
from cimemu.layer.execute import in_order
from cimemu.layer.macro_layer import MacroLayer
from cimemu.workload.network import Network

SERIAL = ("packed", "fixed", "naive")  # paths that make every conversion


@dataclass(frozen=True)
class Movement:
    """How far the arch's own converter moves a tensor from the lossless one."""

    name: str
    elements: int
    moved: int
    largest: float
    mean: float  # of |difference| over all elements
    relative: float  # root mean square of the difference / of the lossless values around their mean


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    against: str
    images: int
    tensors: tuple[TensorDiff, ...]
    bit_serial_layers: int
    shortcut_layers: int
    conversions: int
    movement: tuple[Movement, ...]
    kernels: Mapping[str, int]  # operators that ONNX Runtime ran
    unfused: int  # products that it ran in float
    layers: Mapping[str, str] = field(default_factory=dict)  # tensor -> the layer that makes it
    inexact: tuple[str, ...] = ()  # outputs of products whose ONNX Runtime kernel can saturate on this processor
    float_operators: tuple[str, ...] = ()  # of a transformer: what runs in float between its products

    @property
    def differing(self) -> int:
        """Elements that differ."""
        return sum(diff.differing for diff in self.tensors)

    @property
    def failed(self) -> bool:
        """Whether anything differs."""
        return self.differing > 0

    @property
    def elements(self) -> int:
        """Elements compared."""
        return sum(diff.elements for diff in self.tensors)

    @property
    def first_layer(self) -> str | None:
        """The first layer, in the order of execution, whose result differs."""
        return next((self.layers.get(diff.name, diff.name) for diff in self.tensors if diff.differing), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "against": self.against,
            "images": self.images,
            "tensors": len(self.tensors),
            "elements": self.elements,
            "differing": self.differing,
            "bit_serial_layers": self.bit_serial_layers,
            "shortcut_layers": self.shortcut_layers,
            "conversions": self.conversions,
            "kernels": dict(self.kernels),
            "unfused": self.unfused,
            "inexact": list(self.inexact),
            "float_operators": list(self.float_operators),
            "failed": self.failed,
            "first_layer": self.first_layer,
            "differences": [diff.as_dict() for diff in self.tensors if diff.differing],
            "compared": [diff.as_dict() for diff in self.tensors],
            "movement": [vars(row) for row in self.movement],
        }


def lossless(macro: Macro) -> Macro:
    """The same macro with the ideal converter."""
    return macro.model_copy(update={"adc": IdealAdc(), "accumulator_bits": None})


def check_network(
    network: Network,
    macro: Macro,
    inputs: Any,
    *,
    against: str | None = None,
    path: str = "packed",
    batch: int = 64,
) -> CheckReport:
    """Compare every tensor that both have on `inputs` [images, ...] (a dict by input name for several); `path` as in `cimemu.run`.

    `against` is "onnxruntime", "litert" (its reference kernels), an `.npz` with a name per tensor, or None: LiteRT for a
    network that came as an integer `.tflite` file, ONNX Runtime for every other. Where `macro` has a converter of its
    own, the report also says how far it moves the tensors. Raises WorkloadError or CimemuError.
    """
    if against is None:
        shipped = network.origin is not None and network.origin.suffix.lower() == ".tflite"
        against = "litert" if shipped else "onnxruntime"
    scaled = [
        layer.name for layer in network.layers if isinstance(layer, MacroLayer) and layer.column_scale is not None
    ]
    if scaled and against in ("onnxruntime", "litert"):
        raise WorkloadError(
            f"layer {scaled[0]}: has weight scales by row block or column, which {against} cannot execute; "
            "check a network with scales by layer or channel, or give --against FILE.npz"
        )
    exact = Emulator(network, lossless(macro), path=path, adcs={})
    own = None if macro.adc.model == "ideal" and not network.converters else Emulator(network, macro, path=path)
    runner = _runner(network, against)
    arrays = in_order(network, inputs)
    if runner is not None:
        given: dict[str, Array] = {}
        names = set(runner.names)
    else:
        given = read_tensors(against)
        names = set(given) & set(network.types)
        arrays = _as_many(arrays, given, names | set(network.outputs))
    keep = frozenset(names)
    found: list[list[TensorDiff]] = []
    moves: dict[str, _Moves] = {}
    paths: dict[str, frozenset[str]] = {}
    conversions = 0
    for first in range(0, len(arrays[0]), batch):
        part = [array[first : first + batch] for array in arrays]
        ours = exact.run(part, keep=keep)
        conversions += int(ours.counts[:, :, Counter.CONVERSIONS].sum())
        for name, ran in ours.paths.items():
            paths[name] = paths.get(name, frozenset()) | ran
        if runner is not None:
            theirs = runner.tensors(part, network)
        else:
            theirs = {name: value[first : first + batch] for name, value in given.items()}
        found.append(compare_tensors(ours.tensors, theirs))
        if own is not None:
            changed = own.run(part, keep=_layer_outputs(network))
            straight = exact.run(part, keep=_layer_outputs(network)) if not _layer_outputs(network) <= keep else ours
            for name in changed.tensors:
                moves.setdefault(name, _Moves()).add(straight.tensors[name], changed.tensors[name])
    order = {name: number for number, layer in enumerate(network.layers) for name in layer.outputs}
    tensors = sorted((_joined(same, batch) for same in zip(*found)), key=lambda diff: order.get(diff.name, -1))
    return CheckReport(
        against=f"{runner.title} {runner.version}" if runner is not None else str(against),
        images=len(arrays[0]),
        tensors=tuple(tensors),
        layers={name: layer.name for layer in network.layers for name in layer.outputs},
        bit_serial_layers=sum(ran <= set(SERIAL) for ran in paths.values()),
        shortcut_layers=sum(not ran <= set(SERIAL) for ran in paths.values()),
        conversions=conversions,
        movement=tuple(row.result(name) for name, row in moves.items()),
        kernels={} if runner is None else runner.kernels,
        unfused=0 if runner is None else runner.unfused,
        inexact=() if runner is None else runner.inexact,
        float_operators=float_operators(network),
    )


def _runner(network: Network, against: str) -> Any:
    """The runtime to compare with, None for a file."""
    if against == "onnxruntime":
        from cimemu.check.onnxruntime_runner import OrtRun

        return OrtRun(network)
    if against == "litert":
        from cimemu.check.litert_runner import LiteRtRun

        return LiteRtRun(network)
    return None


def float_operators(network: Network) -> tuple[str, ...]:
    """Kinds of float operators whose results are quantised again: attention and layer normalisation of transformers."""
    return tuple(sorted({layer.op for layer in network.layers if layer.op in ("MatMul", "LayerNormalization")}))


def _layer_outputs(network: Network) -> frozenset[str]:
    return frozenset(layer.outputs[0] for layer in network.layers if layer.on_macros)


def _as_many(arrays: list[Array], given: Mapping[str, Array], names: set[str]) -> list[Array]:
    """As many images as the file has of every tensor."""
    counts = {len(given[name]) for name in names if name in given and given[name].ndim}
    if len(counts) > 1:
        raise CimemuError(f"tensors of the file are of {sorted(counts)} images, must all have as many")
    if counts and min(counts) > len(arrays[0]):
        raise CimemuError(f"the file has {min(counts)} images, {len(arrays[0])} inputs are given; ask for more images")
    return [array[: min(counts)] for array in arrays] if counts else arrays


def _joined(parts: tuple[TensorDiff, ...], batch: int) -> TensorDiff:
    """One row of the rows of all batches; the first coordinate counts images from the beginning."""
    worst = [part for part in parts if part.differing]
    if not worst:
        return TensorDiff(parts[0].name, sum(p.elements for p in parts), 0)
    first = worst[0]
    assert first.first is not None
    where = (first.first[0] + batch * parts.index(first), *first.first[1:])
    return TensorDiff(
        first.name,
        sum(p.elements for p in parts),
        sum(p.differing for p in parts),
        where,
        first.ours,
        first.theirs,
        max(p.largest for p in worst),
    )


class _Moves:
    """Sums of differences over batches."""

    def __init__(self) -> None:
        self.elements = self.moved = 0
        self.largest = self.absolute = self.squares = self.total = self.signal = 0.0

    def add(self, straight: Array, changed: Array) -> None:
        a, b = straight.astype(np.float64), changed.astype(np.float64)
        difference = b - a
        self.elements += a.size
        self.moved += int((difference != 0).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.absolute += float(np.abs(difference).sum())
        self.squares += float((difference**2).sum())
        self.total += float(a.sum())
        self.signal += float((a**2).sum())

    def result(self, name: str) -> Movement:
        spread = self.signal - self.total**2 / self.elements
        relative = (self.squares / spread) ** 0.5 if spread > 0 else 0.0
        return Movement(name, self.elements, self.moved, self.largest, self.absolute / self.elements, relative)
