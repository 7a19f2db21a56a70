"""Two-stage macro-aware adaptation, stage 1: shrink, prune, expand to fill the macros, retrain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cimemu.adapt.accuracy import accuracy_of
from cimemu.adapt.held_back import Held, Judge, Trained, hold_back
from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import repeatable, torch_of
from cimemu.adapt.morph.channels import carried, products, widths_of, without_branches
from cimemu.adapt.morph.fill import Filled, fill, tight
from cimemu.adapt.morph.norms import with_norms, without_norms
from cimemu.adapt.morph.rebuild import rebuilt
from cimemu.adapt.morph.settings import MorphSettings
from cimemu.adapt.morph.shrink import Goal, Shrink
from cimemu.adapt.settings import TrainSettings
from cimemu.adapt.train import Hooks, Keep, MetricsRow, Progress, train, train_and_keep
from cimemu.arch.schema import Arch
from cimemu.errors import MappingError, WorkloadError
from cimemu.fitting.channels import trace_channels
from cimemu.workload.network import Network

Report = Callable[[str, MetricsRow], None]


@dataclass(frozen=True, eq=False)
class Morphed:
    """A float network that fills the macros, and how it came to it."""

    network: Network  # normalisations in its weights, as a file's
    arch: Arch  # with blocks packed tightly
    filled: Filled
    kept_channels: Mapping[str, tuple[int, int]]  # by first layer of a width: after pruning, at last
    rows: tuple[MetricsRow, ...]  # of retraining
    accuracy: Mapping[str, MetricsRow]  # "seed", "pruned", "expanded", "retrained"
    parameters: int
    parameters_seed: int
    below_start: str | None  # how retraining ended below its start

    @property
    def compression(self) -> float:
        """1 - weights / weights of the seed network."""
        return 1 - self.parameters / self.parameters_seed


@dataclass(frozen=True)
class Watch:
    """Who is told of what."""

    report: Report | None = None
    progress: Progress | None = None

    def hooks(self, stage: str, before_step: Any = None) -> Hooks:
        """The trainer's hooks of a stage."""
        report = self.report
        return Hooks(before_step=before_step, after_epoch=None if report is None else lambda row: report(stage, row))


def morph(
    arch: Arch,
    network: Network,
    settings: MorphSettings,
    data: ImageSet,
    *,
    macros: int | None = None,
    tests: Mapping[str, ImageSet] | None = None,
    keep: Keep | None = None,
    watch: Watch | None = None,
) -> Morphed:
    """Stage 1 on a float `network`: a network of other widths that fills `macros` (default: the settings') of `arch`.

    Below `keep.folder` lie the checkpoints of `shrink` and `retrain`; a run that is resumed ends with the bytes of one
    that was not interrupted. Raises WorkloadError or MappingError in one line.
    """
    tests, keep, watch = tests or {}, keep or Keep(), watch or Watch()
    data, held = hold_back(data, settings.retrain.hold_back)
    wanted = _wanted(arch, settings, macros)
    with repeatable(settings.shrink.threads):
        torch_of().manual_seed(settings.shrink.seed)
        seed_network = with_norms(network, data.inputs(slice(0, min(settings.calibration, len(data)))))
        accuracy = {"seed": _accuracy(seed_network, tests)}
        shrunk, kept, importance = _shrink(arch, seed_network, settings, wanted, data, keep, watch)
        accuracy["pruned"] = _accuracy(shrunk, tests)
    filled = fill(
        shrunk, arch, wanted, importance, goal=settings.goal, drop=settings.drop_branches, seed=settings.shrink.seed
    )
    with repeatable(settings.retrain.threads):
        grown = _grown(filled, settings.retrain.seed)
        accuracy["expanded"] = _accuracy(grown, tests)
        from cimemu.adapt.module import from_network

        module = from_network(grown)
        trained = train_and_keep(
            module,
            data,
            settings.retrain,
            held=None if held is None else Held(held, Judge()),
            tests=tests,
            keep=_below(keep, "retrain", _identity(settings, wanted)),
            hooks=watch.hooks("retrain"),
            progress=watch.progress,
        )
        made = module.cpu().network()
    accuracy["retrained"] = {key: value for key, value in trained.kept.items() if key.startswith(("acc", "standard"))}
    return Morphed(
        network=without_norms(made),
        arch=tight(arch),
        filled=filled,
        kept_channels=kept,
        rows=tuple(trained.rows),
        accuracy=accuracy,
        parameters=weights_of(made),
        parameters_seed=weights_of(network),
        below_start=trained.below_start,
    )


def train_plainly(
    network: Network,
    settings: TrainSettings,
    data: ImageSet,
    *,
    calibration: int = 256,
    tests: Mapping[str, ImageSet] | None = None,
    keep: Keep | None = None,
    watch: Watch | None = None,
) -> tuple[Network, Trained]:
    """The network itself trained further, for comparison; normalisations are put back as `morph` does."""
    with repeatable(settings.threads):
        torch_of().manual_seed(settings.seed)
        from cimemu.adapt.module import from_network

        data, held = hold_back(data, settings.hold_back)
        module = from_network(with_norms(network, data.inputs(slice(0, min(calibration, len(data))))))
        hooks, progress = (watch or Watch()).hooks("seed"), (watch or Watch()).progress
        trained = train_and_keep(
            module,
            data,
            settings,
            held=None if held is None else Held(held, Judge()),
            tests=tests,
            keep=keep,
            hooks=hooks,
            progress=progress,
        )
        return without_norms(module.cpu().network()), trained


def weights_of(network: Network) -> int:
    """Weights of all products (biases and normalisations left out)."""
    return sum(network.constants[layer.inputs[1]].size for layer in products(network))


def _wanted(arch: Arch, settings: MorphSettings, macros: int | None) -> int:
    wanted = macros if macros is not None else settings.macros
    if isinstance(wanted, tuple):
        raise WorkloadError(f"morph.macros = {list(wanted)}: one number is wanted here, a list makes a curve")
    if not 1 <= wanted <= arch.macros:
        raise MappingError(
            f"morph.macros = {wanted}, the chip {arch.name} has {arch.macros}; give 1 .. {arch.macros}, or more chip.tiles"
        )
    return wanted


def _shrink(
    arch: Arch, network: Network, settings: MorphSettings, macros: int, data: ImageSet, keep: Keep, watch: Watch
) -> tuple[Network, dict[str, tuple[int, int]], dict[str, float]]:
    """The pruned network, (channels before, after) and mean scale by each layer that makes a width."""
    own = settings.shrink
    goal = Goal(
        int(settings.columns_left * macros * arch.macro.columns),
        penalty=settings.penalty,
        live_factor=settings.live_factor,
    )
    run = Shrink(network, arch.macro, goal)
    train(
        run.module,
        data,
        own,
        keep=_below(keep, "shrink", _identity(settings, macros)),
        hooks=watch.hooks("shrink", run.before_step),
        progress=watch.progress,
    )
    run.module.cpu()
    alive = run.finish(run.module, settings.threshold)
    masked = run.module.inner.network()
    sizes = run.importance(run.module)
    scores = {
        name: float(sizes[w.root][alive[w.root]].mean()) if alive[w.root].any() else 0.0
        for w in run.widths
        for name in w.makers
    }
    kept = carried(masked, run.channels, alive)
    counts = {w.makers[0]: (w.size, int(kept[w.root].sum())) for w in run.widths}
    for width in run.widths:
        if not kept[width.root].any():
            smaller = without_branches(masked, width.makers)
            if smaller is None:  # others went before, and something must be left
                kept[width.root][0] = True
            else:
                masked = smaller
    by_maker = {name: kept[w.root] for w in run.widths for name in w.makers}
    channels = trace_channels(masked)
    masks = {channels.root(channels.made[name]): mask for name, mask in by_maker.items() if name in channels.made}
    return rebuilt(masked, channels, masks), counts, scores


def _grown(filled: Filled, seed: int) -> Network:
    """The pruned network at the filled widths: the channels with the largest scales, and new ones."""
    network, channels, sizes = filled.network, filled.channels, filled.widths
    constants = {layer.name: network.constants[layer.inputs[1]] for layer in network.layers if "Norm" in layer.op}
    scales = {
        width.root: np.sqrt(np.mean([np.square(constants[name].astype(np.float64)) for name in width.norms], axis=0))
        for width in widths_of(network, channels)
    }
    kept = {root: _best(each, sizes[root], None) for root, each in scales.items()}
    for _, number in channels.padded.values():  # what a shortcut brings in stays before anything else
        target = channels.root(number)
        if target in kept:
            brought = carried(network, channels, kept | {target: np.zeros_like(kept[target])})[target]
            kept[target] = _best(scales[target], sizes[target], brought)
    widths = {root: size for root, size in filled.widths.items() if root in kept}
    return rebuilt(network, channels, kept, widths, seed)


def _best(scales: Any, width: int, first: Any) -> Any:
    """A mask of at most `width` channels: those of `first`, then those of the largest scales."""
    order = np.lexsort((np.arange(len(scales)), -scales, np.zeros(len(scales)) if first is None else ~first))
    mask = np.zeros(len(scales), np.bool_)
    mask[order[:width]] = True
    return mask


def _accuracy(network: Network, tests: Mapping[str, ImageSet]) -> MetricsRow:
    from cimemu.adapt.module import from_network

    module = from_network(network).eval()
    row: MetricsRow = {}
    for name, test in tests.items():
        found = accuracy_of(module, test)
        row |= {f"accuracy_{name}": found.share, f"standard_error_{name}": found.standard_error}
    return row


def _identity(settings: MorphSettings, macros: int) -> dict[str, Any]:
    """What a checkpoint of stage 1 belongs to: a point of a curve is also the first stage of both."""
    return {"macros": macros, "morph": settings.model_dump(mode="json", exclude={"macros", "stage2"})}


def _below(keep: Keep, name: str, identity: Mapping[str, Any]) -> Keep:
    """What is kept of a stage."""
    below = keep.below(name)
    resume = keep.resume and below.folder is not None and (below.folder / "checkpoint.pt").is_file()
    return replace(below, resume=resume, identity={**keep.identity, **identity})
