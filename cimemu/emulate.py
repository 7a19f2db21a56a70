"""`cimemu.run`: one network on one chip - values, then time, then energy, then the trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu import plugins
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.compute.checksums import checksums_of
from cimemu.compute.forward import Emulator
from cimemu.encoding import find as find_encoding
from cimemu.errors import CimemuError, TraceError, WorkloadError
from cimemu.events import Counter
from cimemu.given_images import batches, images_in
from cimemu.kept import Prepared, give, take
from cimemu.keywords import by_place, filled
from cimemu.layer.base import Array
from cimemu.macro.sites import by_placed
from cimemu.macro.vary import varied_macro
from cimemu.mapping.plan import Plan
from cimemu.options import Draws, Options, Output, RunKeywords
from cimemu.prepare import ready
from cimemu.result import RunResult as RunResult
from cimemu.tally import event_prices, tally_energy
from cimemu.threads import on_threads
from cimemu.timing.build import Written
from cimemu.timing.timeline import with_wake_ups
from cimemu.variation.compose import Variations, compose
from cimemu.variation.parse import spelled
from cimemu.whole_file import refuse_output
from cimemu.workload.network import Network

PLACES = ("trace", "detail", "seed", "vary")  # of `run`, behind the labels


def run(
    arch: Arch | str | Path,
    network: Network | str | Path,
    inputs: Any = None,
    labels: Sequence[int] | NDArray[np.integer] | None = None,
    *places: Any,
    options: Options = Options(),
    draws: Draws = Draws(),
    output: Output = Output(),
    **given: Unpack[RunKeywords],
) -> RunResult:
    """Emulate `network` (quantised: see `cimemu.quantize`) on `arch`.

    `inputs` is an array `[images, *shape]` in the network's own layout and type, a dict of such arrays by input
    name, or an iterator of batches of either. `labels` are class numbers, one an image.
    `arch` may be a preset's name or a YAML file, and `network` a workload's name or a network file: a float one is quantised
    as `cimemu run` does it, a file's ranges calibrated on `inputs` (an array or a dict). Without `inputs` a workload has its
    own, and a file random ones.

    What else a run is asked for stands in three records, or in keywords of their fields' names, which replace a field:
    `options` (detail="ops", batch=64, path="auto", threads, budget_bytes, progress, metric): how it works;
    `draws` (seed=0, trial=0, vary=()): the chip that is drawn;
    `output` (trace, overwrite=False, event_images, provenance): the HDF5 file that is written.
    `trace`, `detail`, `seed` and `vary` may also follow `labels` by their places, in this order.

    Returns a RunResult; with detail=None it has no cycles and no energy. Raises WorkloadError, MappingError, ArchError,
    TraceError, or CimemuError for a keyword that there is not.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> images, labels = workload.inputs(2)
    >>> result = cimemu.run(arch, quantized, images, labels, trace="digits.h5")
    >>> result.outputs.shape, result.cycles, result.conversions
    ((2, 10), 210566, 853248)
    >>> cimemu.run("rram_128", workload.network, images).cycles
    210566
    """
    keywords = by_place("run", PLACES, places, given)
    options, draws, output = filled("run", keywords, options, draws, output)
    return _run(*ready(arch, network, inputs, labels), options, draws, output)


def _run(
    arch: Arch, network: Network, inputs: Any, labels: Any, options: Options, draws: Draws, output: Output
) -> RunResult:
    """Values first, then time, energy and trace, where they are wanted."""
    if options.detail is None and output.trace is not None:
        raise CimemuError(
            f"trace = {output.trace} with detail = None: a trace needs timing, choose detail ops or cycles"
        )
    if output.trace is not None:
        refuse_output(Path(output.trace), TraceError, overwrite=output.overwrite)
    variations = compose(draws.vary, draws.seed, draws.trial)
    prepared = take(network, arch)
    try:
        return _prepared(prepared, variations, (inputs, labels), options, draws, output)
    finally:
        give(prepared)


def _prepared(
    prepared: Prepared, variations: Variations, given: tuple[Any, Any], options: Options, draws: Draws, output: Output
) -> RunResult:
    """The same for what is kept of the network and the chip; `given` are inputs and labels."""
    (inputs, labels), network, arch = given, prepared.network, prepared.arch
    plan = None if options.detail is None else prepared.plan
    how: dict[str, Any] = {"path": options.path, "threads": options.threads, "budget_bytes": options.budget_bytes}
    if variations:
        emulator = Emulator(network, arch.macro, plan=plan, **how)
        emulator.fit_cells(variations)
        emulator.program(plan or prepared.plan, variations.models, draws.seed, draws.trial)
    else:
        emulator = prepared.emulator(plan is not None, **how)
    written = {} if plan is None or not emulator.writes else by_placed(plan, emulator.writes)
    keep_driven = plan is not None and arch.macro.timing.skip_zero_slices

    def early() -> None:
        """Graphs, and times where nobody waits for their events, beside the values."""
        simulation = prepared.simulation(written, images_in(inputs))
        if not (keep_driven or emulator.products or output.trace or options.progress):
            prepared.timeline(simulation, images_in(inputs), str(options.detail), progress=None)

    parts: list[Callable[[], Any]] = [lambda: _values(emulator, inputs, options, keep_driven=keep_driven)]
    if plan is not None and not written and images_in(inputs) and (options.threads or 1) > 1:
        parts.append(early)
    values = on_threads(len(parts), lambda part: part(), parts)[0]
    done, scores = len(values.activity), values.outputs[network.outputs[0]]
    accuracy = None if options.metric is None else options.metric(scores)
    predictions = None
    if accuracy is None:
        predictions, accuracy = score(values.outputs, network, labels, done)
    conversions = int(values.activity[:, :, Counter.CONVERSIONS].sum())
    base = RunResult(
        images=done,
        outputs=scores if len(values.outputs) == 1 else values.outputs,
        predictions=predictions,
        accuracy=accuracy,
        conversions=conversions,
        adc_conversions=0 if arch.macro.cell.kind == "digital" else conversions,
        macs=done * emulator.macs,
        paths=values.paths,
        counts=values.activity,
        checksums=checksums_of(emulator.matrices),
    )
    if plan is None:
        return base
    timed = _Timed(base, prepared, values, written, options)
    if output.trace is None:
        return timed.run(None)
    provenance = {
        "seed": draws.seed,
        "workload": network.name,
        "detail": options.detail,
        **(output.provenance or {}),
        **_varied(variations, arch.macro),
        **_from_outside(arch, network, variations),
    }
    return timed.traced(output, provenance, labels)


@dataclass(frozen=True, eq=False)
class _Values:
    """What the macros and the digital unit gave: outputs by name, event counts, and the steps that were driven."""

    outputs: Mapping[str, Array]
    activity: NDArray[np.int64]  # [images, layers, len(Counter)]
    driven: Mapping[int, Sequence[NDArray[np.bool_]]] | None
    paths: Mapping[str, frozenset[str]]
    pulses: Mapping[int, NDArray[np.int64]]  # [images, blocks] of activations in cells


def _values(emulator: Emulator, inputs: Any, options: Options, *, keep_driven: bool) -> _Values:
    """All images, batch by batch."""
    network, progress = emulator.network, options.progress
    outputs: dict[str, list[Array]] = {name: [] for name in network.outputs}
    counts: list[NDArray[np.int64]] = []
    driven: list[Mapping[int, Sequence[NDArray[np.bool_]]]] = []
    paths: dict[str, frozenset[str]] = {}
    pulses: dict[int, list[NDArray[np.int64]]] = {}
    done = 0
    total = images_in(inputs)
    for arrays in batches(inputs, network, options.batch):
        result = emulator.run(arrays, first_image=done)
        for name, parts in outputs.items():
            parts.append(result.tensors[name])
        counts.append(result.counts)
        if keep_driven:
            driven.append(result.nonzero)
        for index, rows in result.pulses.items():
            pulses.setdefault(index, []).append(rows)
        for name, ran in result.paths.items():
            paths[name] = paths.get(name, frozenset()) | ran
        done += len(result.counts)
        if progress is not None:
            progress("images", done, total)
    if done == 0:
        raise WorkloadError("inputs: no image given, give at least one")
    joined = {name: np.concatenate(parts) for name, parts in outputs.items()}
    written = {index: np.concatenate(parts) for index, parts in pulses.items()}
    return _Values(joined, np.concatenate(counts), _joined(driven), paths, written)


class _Timed:
    """Time, energy and the trace of values that are there already."""

    def __init__(
        self, base: RunResult, prepared: Prepared, values: _Values, written: Written, options: Options
    ) -> None:
        self.base, self.prepared, self.plan, self.values = base, prepared, prepared.plan, values
        self.written, self.options = written, options
        self.simulation = prepared.simulation(written, base.images)
        self.activity = values.activity + self.simulation.traffic_counts()[None]
        self.programming = self.simulation.programming_counts()

    def run(self, sink: Any, trace: Path | None = None) -> RunResult:
        """The whole result; every image's events go to `sink`."""
        plan, base, values, shown = self.plan, self.base, self.values, self.options.progress
        detail = str(self.options.detail)
        progress = None if shown is None else lambda done, total: shown("timing", done, total)
        if sink is None and values.driven is None and not values.pulses:
            timeline = self.prepared.timeline(self.simulation, base.images, detail, progress=progress)
        else:
            timeline = self.simulation.run(
                base.images,
                detail=detail,
                nonzero=values.driven,
                pulses=values.pulses,
                sink=sink,
                progress=progress,
            )
        self.activity, self.programming = with_wake_ups(self.activity, self.programming, timeline)
        tally = tally_energy(
            plan.arch,
            plan,
            self.activity,
            timeline.cycles,
            self.programming,
            self.prepared.costs,
            gated_cycles=timeline.gated_cycles,
        )
        return replace(
            base,
            counts=self.activity,
            cycles=timeline.cycles,
            latency_us=timeline.cycles * plan.arch.clock_ns / 1000,
            energy_uj=tally.total_pj / 1e6,
            tops_per_w=2 * base.macs / tally.total_pj if tally.total_pj > 0 else None,
            macros=plan.macros_used,
            utilization=plan.utilization,
            trace=trace,
            plan=plan,
            timeline=timeline,
            tally=tally,
        )

    def traced(self, output: Output, provenance: Mapping[str, Any], labels: Any) -> RunResult:
        """The whole result, which is also written to `output.trace`."""
        from cimemu.trace.write import TraceContent, TraceWriter

        base, path = self.base, Path(str(output.trace))
        with TraceWriter(path, overwrite=output.overwrite, event_images=output.event_images) as writer:
            result = self.run(None if output.event_images == 0 else writer.events, path)
            assert result.timeline is not None
            assert result.tally is not None
            attributes = {
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
                **_first_writing(self.plan, self.written),
                "vary": "; ".join(provenance["vary"]) if provenance.get("vary") else None,
                "plugins": "; ".join(provenance["plugins"]) if provenance.get("plugins") else None,
                "fraction_bits": provenance.get("fraction_bits"),
                "detail": self.options.detail,
                **({} if base.checksums is None else base.checksums.attributes()),
            }
            writer.finish(
                TraceContent(
                    plan=self.plan,
                    timeline=result.timeline,
                    tally=result.tally,
                    activity=self.activity,
                    programming=self.programming,
                    outputs=self.values.outputs,
                    paths=base.paths,
                    predictions=base.predictions,
                    labels=None if labels is None else np.asarray(labels)[: base.images],
                    attributes=attributes,
                    provenance=provenance,
                )
            )
        return result


def _from_outside(arch: Arch, network: Network, variations: Variations) -> dict[str, Any]:
    """What the trace says of plug-ins: those that had a part in the run, with package and version, or file."""
    found = plugins.used([*parts_of(arch), *network.converters.values(), *variations.models, *network.layers])
    return {"plugins": found} if found else {}


def plugins_attribute(arch: Arch, network: Network, models: Sequence[Any]) -> dict[str, str]:
    """The root attribute `plugins` of files of many runs; none where everything is cimemu's own."""
    found = plugins.used([*parts_of(arch), *network.converters.values(), *models, *network.layers])
    return {"plugins": "; ".join(found)} if found else {}


def parts_of(arch: Arch) -> list[Any]:
    """The models of an architecture that may be of plug-ins: converter, encoding, estimators."""
    costs = [arch.costs.adc.comparator, *(getattr(arch.costs, name) for name in type(arch.costs).model_fields)]
    estimators = [cost.estimator for cost in costs if getattr(cost, "estimator", None) is not None]
    return [arch.macro.adc, find_encoding(arch.macro.weight.encoding), *estimators]


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
    for p in (p for p in plan.placed if not plan.layers[p.layer].written):
        key = (p.phase, p.macro)
        rows[key] = rows.get(key, 0) + written[p.layer, p.block, p.replica].rows
    longest = [
        max((count for (phase, _), count in rows.items() if phase == number), default=0)
        for number in range(plan.phases)
    ]
    pulses = sum(pulse.cells for pulse in written.values())
    return {
        "write_pulses": pulses,
        "write_cycles": sum(longest) * plan.arch.programming.row_write_cycles,
        "write_pj": pulses * event_prices(plan.arch)["programming"],
    }


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
