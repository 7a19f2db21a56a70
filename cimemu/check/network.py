"""`cimemu check`: a whole network against a runtime or a file of tensors, on the bit-serial path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.check.compare import TensorDiff, compare_tensor, join_diffs
from cimemu.check.float_bound import FloatBounds
from cimemu.check.report import CheckReport, Movement, Moves
from cimemu.compute.forward import Emulator
from cimemu.engines.choose import SERIAL
from cimemu.errors import WorkloadError
from cimemu.events import Counter
from cimemu.layer.execute import in_order
from cimemu.layer.macro_layer import MacroLayer
from cimemu.mapping.plan import Plan
from cimemu.workload.network import Network

__all__ = ["CheckReport", "Movement", "check_network", "lossless"]


def lossless(macro: Macro) -> Macro:
    """The same macro with the ideal converter."""
    return macro.model_copy(update={"adc": IdealAdc(), "accumulator_bits": None})


def check_network(
    network: Network,
    macro: Macro,
    inputs: Any,
    *,
    against: str | None = None,
    path: str = "serial",
    batch: int = 64,
    plan: Plan | None = None,
    vary: Sequence[Any] = (),
) -> CheckReport:
    """Compare every tensor that both have on `inputs` [images, ...] (a dict by input name for several); `path` as in `cimemu.run`.

    `against` is "onnxruntime", "litert" (its reference kernels), "torch" (the program of a quantised `.pt2` file, node by
    node), an `.npz` with a name per tensor, or None: LiteRT for a network that came as an integer `.tflite` file, PyTorch for
    a quantised `.pt2` file, ONNX Runtime for every other. Where `macro` has a converter of its
    own, the report also says how far it moves the tensors; with models `vary`, which draw cells at the
    places of `plan` or read a chip file, how far that chip does. It compares something or raises WorkloadError: no images, a
    name of the file that is no tensor of the network, a type that cannot be compared.
    """
    against = _chosen(network, against)
    exact = Emulator(network, lossless(macro), path=path, adcs={})
    own = _own(network, macro, path, plan, vary)
    arrays = in_order(network, inputs)
    if batch < 1:
        raise WorkloadError(f"batch = {batch}, must be >= 1")
    if not all(array.ndim and len(array) for array in arrays):
        raise WorkloadError(f"network {network.name}: no images, there is nothing to compare; give at least one")
    reference = _reference(network, against, len(arrays[0]))
    images = min(len(arrays[0]), getattr(reference, "images", len(arrays[0])))
    computed = [name for layer in network.layers for name in layer.outputs if name in network.types]
    given = [name for name in network.inputs if name in reference.names]
    compared = [name for name in computed if name in reference.names]
    if not compared:
        raise WorkloadError(
            f"network {network.name}: {reference.title} gives none of its tensors, there is nothing to compare; "
            "compare with a file: --against FILE.npz"
        )
    bounds = FloatBounds(network, compared, reference.forms, float_runtime=bool(reference.kernels))
    keep = frozenset([*given, *compared, *bounds.needed])
    rows: dict[str, list[TensorDiff]] = {name: [] for name in [*given, *compared]}
    firsts = list(range(0, images, batch))
    moves: dict[str, Moves] = {}
    paths: dict[str, frozenset[str]] = {}
    conversions = 0
    for first in firsts:
        part = [array[first : min(first + batch, images)] for array in arrays]
        theirs = reference.tensors(part, network, first)
        feed = bounds.feed(theirs)
        ours = exact.run(part, keep=keep, feed=feed)
        conversions += int(ours.counts[:, :, Counter.CONVERSIONS].sum())
        for name, ran in ours.paths.items():
            paths[name] = paths.get(name, frozenset()) | ran
        limits = bounds.of(ours.tensors, theirs, feed)
        for name in given:
            rows[name].append(compare_tensor(name, ours.tensors[name], theirs[name], kind="input"))
        for name in compared:
            bound, slack = bounds.split(name, limits.get(name, 0.0))
            kind = "code" if name in bounds.codes else ""
            rows[name].append(compare_tensor(name, ours.tensors[name], theirs[name], bound, kind, slack=slack))
        if own is not None:
            wanted = _layer_outputs(network)
            changed = own.run(part, keep=wanted, first_image=first)
            straight = ours if wanted <= keep and not feed else exact.run(part, keep=wanted)
            for name in changed.tensors:
                moves.setdefault(name, Moves()).add(straight.tensors[name], changed.tensors[name])
    return CheckReport(
        against=f"{reference.title} {reference.version}".strip(),
        images=images,
        tensors=tuple(join_diffs(parts, firsts) for parts in rows.values()),
        layers={name: layer.name for layer in network.layers for name in layer.outputs},
        bit_serial_layers=sum(ran <= SERIAL for ran in paths.values()),
        shortcut_layers=sum(not ran <= SERIAL for ran in paths.values()),
        conversions=conversions,
        drawn=bool(vary),
        movement=tuple(row.result(name) for name, row in moves.items()),
        kernels=reference.kernels,
        unfused=reference.unfused,
        inexact=reference.inexact,
        float_operators=float_operators(network),
        forms={name: form for name, form in reference.forms.items() if name in rows},
        settings=reference.settings,
        uncompared=tuple(name for name in computed if name not in rows),
        outputs=network.outputs,
    )


def _own(network: Network, macro: Macro, path: str, plan: Plan | None, vary: Sequence[Any]) -> Emulator | None:
    """The chip as it is, by its own converters and in its drawn cells; None where it is the lossless one."""
    if not vary:
        plain = isinstance(macro.adc, IdealAdc) and not network.converters
        return None if plain else Emulator(network, macro, path=path)
    if plan is None:
        raise WorkloadError(f"network {network.name}: vary draws cells at the places of a plan, give plan")
    own = Emulator(network, macro, path=path, plan=plan)
    own.program(plan, vary)
    return own


def _chosen(network: Network, against: str | None) -> str:
    """The reference that was asked for, or the one that suits the network's source."""
    if against is None:
        suffix = "" if network.origin is None else network.origin.suffix.lower()
        against = {".tflite": "litert", ".pt2": "torch"}.get(suffix, "onnxruntime")
    scaled = [
        layer.name for layer in network.layers if isinstance(layer, MacroLayer) and layer.column_scale is not None
    ]
    if scaled and against in ("onnxruntime", "litert", "torch"):
        raise WorkloadError(
            f"layer {scaled[0]}: has weight scales by row block or column, which {against} cannot execute; "
            "check a network with scales by layer or channel, or give --against FILE.npz"
        )
    return against


def _reference(network: Network, against: str, images: int) -> Any:
    """The runtime or file to compare with."""
    if against == "onnxruntime":
        from cimemu.check.onnxruntime_runner import OrtRun

        return OrtRun(network)
    if against == "litert":
        from cimemu.check.litert_runner import LiteRtRun

        return LiteRtRun(network)
    if against == "torch":
        from cimemu.check.torch_runner import TorchRun

        return TorchRun(network)
    from cimemu.check.reference_file import FileReference

    return FileReference(Path(against), network, images)


def float_operators(network: Network) -> tuple[str, ...]:
    """Kinds of float operators whose results are quantised again: attention and layer normalisation of transformers."""
    return tuple(sorted({layer.op for layer in network.layers if layer.op in ("MatMul", "LayerNormalization")}))


def _layer_outputs(network: Network) -> frozenset[str]:
    return frozenset(layer.outputs[0] for layer in network.layers if layer.on_macros)
