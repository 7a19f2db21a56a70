"""`cimemu.run`: one network on one chip - values, then time, then energy, then the trace."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.compute.forward import BUDGET_BYTES, Emulator
from cimemu.errors import CimemuError, TraceError, WorkloadError
from cimemu.events import Counter
from cimemu.layer.base import Array
from cimemu.macro.sites import by_placed
from cimemu.macro.vary import varied_macro
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import Plan
from cimemu.tally import Tally, event_prices, tally_energy
from cimemu.timing.build import Written
from cimemu.timing.simulate import Simulation
from cimemu.timing.timeline import Timeline
from cimemu.variation.compose import Variations, compose
from cimemu.variation.parse import spelled
from cimemu.whole_file import refuse_output
from cimemu.workload.network import Network

Progress = Callable[[str, int, int], None]  # stage, done, of how many


@dataclass(frozen=True, eq=False)
class RunResult:
    """What `cimemu.run` returns. Cycles and what follows from them are None with `detail=None`."""

    images: int
    outputs: Any  # array [images, ...], or a dict of arrays where the network has several outputs
    predictions: NDArray[np.int64] | None
    accuracy: float | None
    conversions: int
    adc_conversions: int  # 0 on a digital macro, whose conversions are column reads
    macs: int
    paths: Mapping[str, frozenset[str]]
    counts: NDArray[np.int64] = field(repr=False)  # [images, layers, len(Counter)]
    cycles: int | None = None
    latency_us: float | None = None
    energy_uj: float | None = None
    tops_per_w: float | None = None
    macros: int | None = None
    utilization: float | None = None
    trace: Path | None = None
    plan: Plan | None = field(default=None, repr=False)
    timeline: Timeline | None = field(default=None, repr=False)
    tally: Tally | None = field(default=None, repr=False)

    def summary(self) -> dict[str, Any]:
        """The object that `cimemu run --json` prints."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "cycles": self.cycles,
            "latency_us": self.latency_us,
            "energy_uj": self.energy_uj,
            "tops_per_w": self.tops_per_w,
            "adc_conversions": self.adc_conversions,
            "macs": self.macs,
            "macros": self.macros,
            "utilization": self.utilization,
            "trace": None if self.trace is None else str(self.trace),
        }


def run(
    arch: Arch,
    network: Network,
    inputs: Any,
    labels: Sequence[int] | NDArray[np.integer] | None = None,
    trace: str | Path | None = None,
    detail: str | None = "ops",
    seed: int = 0,
    vary: Sequence[Any] = (),
    *,
    batch: int = 64,
    trial: int = 0,
    path: str = "auto",
    threads: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
    overwrite: bool = False,
    event_images: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    metric: Callable[[Array], float | None] | None = None,
) -> RunResult:
    """Emulate `network` (quantised: see `cimemu.quantize`) on `arch`.

    `inputs` is an array `[images, *shape]` in the network's own layout and type, a dict of such arrays by input
    name, or an iterator of batches of either. `labels` are class numbers, one an image. `trace` names an HDF5
    file to write. `detail` is "ops", "cycles" or None (no timing, no energy). `path` "serial" forbids the exact
    integer product that otherwise replaces bit-serial work where it is proven equal. `event_images` limits the
    trace's events to the first images. `vary` are variation models in order: texts as `--vary` takes them, mappings
    or models of `cimemu.variation`; `seed` and `trial` decide every draw. `metric` makes the accuracy of outputs that
    are no class scores (see `Workload.score`).
    Raises WorkloadError, MappingError, ArchError or TraceError.
    """
    if detail not in ("ops", "cycles", None):
        raise CimemuError(f"detail = {detail!r}, must be ops, cycles or None")
    if detail is None and trace is not None:
        raise CimemuError(f"trace = {trace} with detail = None: a trace needs timing, choose detail ops or cycles")
    bounds.whole("seed", seed, 0, bounds.MOST_SEED)
    bounds.whole("trial", trial, 0, bounds.MOST_TRIAL)
    if threads is not None:
        bounds.whole("threads", threads, 1, bounds.MOST_THREADS)
    if event_images is not None:
        bounds.whole("event_images", event_images, 0, bounds.MOST_IMAGES)
    if trace is not None:
        refuse_output(Path(trace), TraceError, overwrite=overwrite)
    variations = compose(vary, seed, trial)
    plan = None if detail is None else make_plan(network, arch)
    emulator = Emulator(network, arch.macro, path=path, threads=threads, budget_bytes=budget_bytes, plan=plan)
    if variations:
        emulator.program(plan or make_plan(network, arch), variations.models, seed, trial)

    outputs: dict[str, list[Array]] = {name: [] for name in network.outputs}
    counts: list[NDArray[np.int64]] = []
    driven: list[Mapping[int, Sequence[NDArray[np.bool_]]]] = []
    paths: dict[str, frozenset[str]] = {}
    done = 0
    total = _images_in(inputs)
    for arrays in _batches(inputs, network, batch):
        result = emulator.run(arrays, first_image=done)
        for name, parts in outputs.items():
            parts.append(result.tensors[name])
        counts.append(result.counts)
        if plan is not None and arch.macro.timing.skip_zero_slices:
            driven.append(result.nonzero)
        for name, ran in result.paths.items():
            paths[name] = paths.get(name, frozenset()) | ran
        done += len(result.counts)
        if progress is not None:
            progress("images", done, total)
    if done == 0:
        raise WorkloadError("inputs: no image given, give at least one")

    joined = {name: np.concatenate(parts) for name, parts in outputs.items()}
    activity = np.concatenate(counts)
    accuracy = None if metric is None else metric(joined[network.outputs[0]])
    predictions = None
    if accuracy is None:
        predictions, accuracy = score(joined, network, labels, done)
    conversions = int(activity[:, :, Counter.CONVERSIONS].sum())
    base = RunResult(
        images=done,
        outputs=joined[network.outputs[0]] if len(joined) == 1 else joined,
        predictions=predictions,
        accuracy=accuracy,
        conversions=conversions,
        adc_conversions=0 if arch.macro.cell.kind == "digital" else conversions,
        macs=done * sum(layer.geometry.macs for layer in emulator.macro_layers),
        paths=paths,
        counts=activity,
    )
    if plan is None:
        return base
    return _with_time(
        base,
        plan,
        activity,
        _joined(driven),
        written=by_placed(plan, emulator.writes),
        outputs=joined,
        trace=None if trace is None else Path(trace),
        detail=str(detail),
        labels=labels,
        provenance={
            "seed": seed,
            "workload": network.name,
            "detail": detail,
            **(provenance or {}),
            **_varied(variations, arch.macro),
        },
        overwrite=overwrite,
        event_images=event_images,
        progress=progress,
    )


def _with_time(
    base: RunResult,
    plan: Plan,
    activity: NDArray[np.int64],
    driven: Mapping[int, Sequence[NDArray[np.bool_]]] | None,
    *,
    written: Written,
    outputs: Mapping[str, Array],
    trace: Path | None,
    detail: str,
    labels: Any,
    provenance: Mapping[str, Any],
    overwrite: bool,
    event_images: int | None,
    progress: Progress | None,
) -> RunResult:
    """Time, energy and the trace of values that are there already."""
    arch = plan.arch
    simulation = Simulation(plan, written, base.images)
    activity = activity + simulation.traffic_counts()[None]
    programming = simulation.programming_counts()

    def timed(sink: Any) -> RunResult:
        timeline = simulation.run(
            base.images,
            detail=detail,
            nonzero=driven,
            sink=sink,
            progress=None if progress is None else lambda done, total: progress("timing", done, total),
        )
        tally = tally_energy(arch, plan, activity, timeline.cycles, programming)
        return replace(
            base,
            counts=activity,
            cycles=timeline.cycles,
            latency_us=timeline.cycles * arch.clock_ns / 1000,
            energy_uj=tally.total_pj / 1e6,
            tops_per_w=2 * base.macs / tally.total_pj if tally.total_pj > 0 else None,
            macros=plan.macros_used,
            utilization=plan.utilization,
            trace=trace,
            plan=plan,
            timeline=timeline,
            tally=tally,
        )

    if trace is None:
        return timed(None)
    from cimemu.trace.write import TraceWriter

    with TraceWriter(trace, overwrite=overwrite, event_images=event_images) as writer:
        result = timed(writer.events)
        assert result.timeline is not None
        assert result.tally is not None
        writer.finish(
            plan=plan,
            timeline=result.timeline,
            tally=result.tally,
            activity=activity,
            programming=programming,
            outputs=outputs,
            paths=base.paths,
            predictions=base.predictions,
            labels=None if labels is None else np.asarray(labels)[: base.images],
            attributes={
                "images": base.images,
                "accuracy": base.accuracy,
                "latency_us": result.latency_us,
                "tops_per_w": result.tops_per_w,
                "macs": base.macs,
                "conversions": base.conversions,
                "adc_conversions": base.adc_conversions,
                "workload": str(provenance["workload"]),
                "seed": int(provenance["seed"]),
                "trial": provenance.get("trial"),
                **_first_writing(plan, written),
                "vary": "; ".join(provenance["vary"]) if provenance.get("vary") else None,
                "fraction_bits": provenance.get("fraction_bits"),
                "detail": detail,
            },
            provenance=provenance,
        )
    return result


def _varied(variations: Variations, macro: Macro) -> dict[str, Any]:
    """What the trace says of the variation: the models in full, the trial, and the fixed point of the levels."""
    if not variations.models:
        return {}
    return {
        "vary": [spelled(model) for model in variations.models],
        "trial": variations.trial,
        "fraction_bits": varied_macro(macro, variations).cell.fraction_bits,
    }


def _first_writing(plan: Plan, written: Written) -> dict[str, Any]:
    """Pulses, cycles and energy of writing the whole network once, beside the run; macros are written in parallel."""
    if not written:
        return {}
    rows: dict[tuple[int, int], int] = {}
    for p in plan.placed:
        key = (p.phase, p.macro)
        rows[key] = rows.get(key, 0) + written[p.layer, p.block, p.replica].rows
    longest = [max(count for (phase, _), count in rows.items() if phase == number) for number in range(plan.phases)]
    pulses = sum(pulse.cells for pulse in written.values())
    return {
        "write_pulses": pulses,
        "write_cycles": sum(longest) * plan.arch.programming.row_write_cycles,
        "write_pj": pulses * event_prices(plan.arch)["programming"],
    }


def _images_in(inputs: Any) -> int:
    """How many images are coming, 0 where an iterator does not tell."""
    if isinstance(inputs, Mapping):
        first = next(iter(inputs.values()), ())
        return len(first) if hasattr(first, "__len__") else 0
    return len(inputs) if isinstance(inputs, np.ndarray) else 0


def _batches(inputs: Any, network: Network, batch: int) -> Iterator[list[Array]]:
    """Batches of at most `batch` images, each a list of arrays in the order of the network's inputs."""
    if batch < 1:
        raise CimemuError(f"batch = {batch}, must be >= 1")
    if isinstance(inputs, Mapping):
        inputs = {name: np.asarray(values) for name, values in inputs.items()}
    if isinstance(inputs, np.ndarray | Mapping):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise WorkloadError(
            f"inputs: {type(inputs).__name__} given, give an array, a dict of arrays or batches of them"
        )
    for given in inputs:
        if isinstance(given, Mapping):
            missing = [name for name in network.inputs if name not in given]
            if missing:
                raise WorkloadError(
                    f"inputs: no array for input {missing[0]}, the network takes {list(network.inputs)}"
                )
            arrays = [np.asarray(given[name]) for name in network.inputs]
        else:
            arrays = [np.asarray(given)]
        arrays = [_as_taken(name, array, network) for name, array in zip(network.inputs, arrays)] + arrays[
            len(network.inputs) :
        ]
        for first in range(0, len(arrays[0]) if arrays[0].ndim else 0, batch):
            yield [array[first : first + batch] for array in arrays]


def _as_taken(name: str, array: Array, network: Network) -> Array:
    """float64 becomes the float32 that a network takes; a value that is no number is refused."""
    if network.types[name].dtype == "float32" and array.dtype.kind == "f":
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise WorkloadError(f"inputs: {name}{list(where)} = {array[where]}, must be finite")
        return array.astype(np.float32, copy=False)
    return array


def _joined(
    parts: Sequence[Mapping[int, Sequence[NDArray[np.bool_]]]],
) -> Mapping[int, Sequence[NDArray[np.bool_]]] | None:
    """Driven steps of all batches by layer and unit."""
    if not parts:
        return None
    return {index: [np.concatenate(same) for same in zip(*(part[index] for part in parts))] for index in parts[0]}


def score(
    outputs: Mapping[str, Array], network: Network, labels: Any, images: int
) -> tuple[NDArray[np.int64] | None, float | None]:
    """Predicted classes where the network has one output of scores, and their accuracy where labels are given."""
    scores = outputs[network.outputs[0]]
    predictions = None
    if len(network.outputs) == 1 and int(np.prod(scores.shape[1:])) == scores.shape[-1] > 1:
        predictions = scores.reshape(images, -1).argmax(axis=1).astype(np.int64)
    if labels is None:
        return predictions, None
    if predictions is None:
        raise WorkloadError("labels given, but the network has no single output of class scores")
    truth = np.asarray(labels)
    if truth.ndim != 1 or truth.dtype.kind not in "iu":
        raise WorkloadError(f"labels: {truth.dtype} of shape {truth.shape}, must be integers [images]")
    if len(truth) < images:
        raise WorkloadError(f"labels: {len(truth)} given for {images} images, give one an image")
    truth = truth[:images]
    classes = scores.shape[-1]
    if bool(((truth < 0) | (truth >= classes)).any()):
        where = int(np.argmax((truth < 0) | (truth >= classes)))
        raise WorkloadError(f"labels[{where}] = {truth[where]}, must be 0 .. {classes - 1}")
    return predictions, float((predictions == truth).mean())
