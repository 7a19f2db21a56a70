"""Stage 1, expand: widths that fill a number of macros, from those that pruning left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cimemu.adapt.morph.channels import Width, widths_of, without_branches
from cimemu.adapt.morph.norms import without_norms
from cimemu.arch.schema import Arch
from cimemu.fitting.channels import Channels, trace_channels
from cimemu.fitting.search import Mapped, Mapper, Walks, allocate, largest_scale
from cimemu.layer.norm import BatchNormalization
from cimemu.ptq.quantize import quantize
from cimemu.workload.network import Network

Widths = dict[int, int]
NEARLY = 0.02  # of the cells: worth a branch that stays
SEARCH_STEPS = 5000  # candidates of the search that begins at the rounded widths


@dataclass(frozen=True, eq=False)
class Filled:
    """Widths that fit, of a network that may have lost residual branches."""

    network: Network
    channels: Channels
    widths: Widths
    mapped: Mapped
    utilization: float  # cells that hold weights / cells of the macros asked for
    dropped: tuple[str, ...]  # first layers of the branches that went


def tight(arch: Arch) -> Arch:
    """`arch` with blocks of several layers packed tightly into its macros."""
    return arch.model_copy(update={"mapping": arch.mapping.model_copy(update={"packing": "tight"})})


def fill(
    network: Network,
    arch: Arch,
    macros: int,
    importance: Mapping[str, float],
    *,
    goal: float = 0.9,
    drop: bool = True,
    seed: int = 0,
) -> Filled:
    """Widths for `network` (with normalisations) that take at most `macros` macros, as the mapper places them.

    First the largest uniform multiple that fits; then input channels are rounded to whole row blocks (28 of a 3x3 kernel
    at 256 rows) and spare columns given away, both in the order of `importance` (mean scale by the layer that makes a
    width). Where that leaves less than `goal` of the cells in use and `drop`, the residual branch that adds least
    goes and all is tried again: a branch narrower than a row block leaves rows empty. Of what was met, that with the
    fewest branches gone counts which reaches `goal`, or comes within 0.02 of the fullest; where it misses `goal`, a
    short search of `cimemu fit` begins there, in which no width falls below half its uniform multiple. Raises
    MappingError where not even one channel everywhere fits. Reconstructed after arXiv 2510.14379 (stage 1, step 5);
    branches and search are our own.
    """
    packed = tight(arch)
    met: list[Filled] = []
    dropped: tuple[str, ...] = ()
    while True:
        met.append(_filled(network, packed, macros, importance, seed, dropped))
        branches = [width for width in widths_of(network, trace_channels(network)) if width.droppable]
        if met[-1].utilization >= goal or not drop or not branches:
            break
        network, least = min(
            ((_without(network, width), width.makers[0]) for width in branches),
            key=lambda smaller: (_loss(network, smaller[0]), smaller[1]),
        )
        dropped += (least,)
    fullest = max(found.utilization for found in met)
    least_full = goal if fullest >= goal else fullest - NEARLY
    chosen = next(found for found in met if found.utilization >= least_full)
    return chosen if chosen.utilization >= goal else _searched(chosen, packed, macros, goal, seed)


def _without(network: Network, branch: Width) -> Network:
    smaller = without_branches(network, branch.makers)
    assert smaller is not None  # that is what droppable means
    return smaller


def _loss(network: Network, smaller: Network) -> float:
    """What a branch adds: mean scale of the last normalisation that goes with it."""
    left = {layer.name for layer in smaller.layers}
    gone = [layer for layer in network.layers if isinstance(layer, BatchNormalization) and layer.name not in left]
    return float(np.abs(network.constants[gone[-1].inputs[1]]).mean())


def _searched(found: Filled, arch: Arch, macros: int, goal: float, seed: int) -> Filled:
    lowered = _lowered(found.network, arch, seed)
    mapper = Mapper(lowered, found.channels, arch, macros)
    floor = {
        root: min(found.widths[root], max(1, width // 2)) for root, width in _uniform(mapper, found.channels).items()
    }
    walks = Walks(seed, start=found.widths, floor=floor, tries=1, steps=SEARCH_STEPS)
    widths, mapped = allocate(lowered, found.channels, arch, macros, goal, walks)
    cells = macros * arch.macro.rows * arch.macro.columns
    if mapped.cells <= found.mapped.cells:
        return found
    return replace(found, widths=widths, mapped=mapped, utilization=mapped.cells / cells)


def _filled(
    network: Network, arch: Arch, macros: int, importance: Mapping[str, float], seed: int, dropped: tuple[str, ...]
) -> Filled:
    channels = trace_channels(network)
    mapper = Mapper(_lowered(network, arch, seed), channels, arch, macros)
    widths = _rounded(mapper, channels, importance)
    mapped = mapper(widths)
    assert mapped is not None  # every step was tried
    return Filled(network, channels, widths, mapped, mapped.cells / (macros * mapper.size), dropped)


def _lowered(network: Network, arch: Arch, seed: int) -> Network:
    """Quantised with one random image: only shapes matter."""
    plain = without_norms(network)
    draw = np.random.default_rng(seed)
    images = {name: draw.random((1, *plain.types[name].shape)).astype(np.float32) for name in plain.inputs}
    return quantize(plain, arch, calibration=images)


def _rounded(mapper: Mapper, channels: Channels, importance: Mapping[str, float]) -> Widths:
    """The uniform multiple, rounded to whole row blocks, and spare columns given away."""
    roots = channels.free()
    scale = largest_scale(mapper, {root: channels.sizes[root] for root in roots})
    widths = {root: max(1, round(scale * channels.sizes[root])) for root in roots}
    order = sorted(roots, key=lambda root: (-max(importance.get(name, 0.0) for name in channels.makers(root)), root))
    for root in order:
        whole = _whole_block(mapper, channels, root)
        for size in (max(1, round(widths[root] / whole)) * whole, widths[root] // whole * whole):
            if size and mapper({**widths, root: size}) is not None:
                widths[root] = size
                break
    return _spent(mapper, channels, order, widths)


def _uniform(mapper: Mapper, channels: Channels) -> Widths:
    present = {root: channels.sizes[root] for root in channels.free()}
    scale = largest_scale(mapper, present)
    return {root: max(1, round(scale * width)) for root, width in present.items()}


def _spent(mapper: Mapper, channels: Channels, order: Sequence[int], widths: Widths) -> Widths:
    """Whole row blocks, then single channels, to the most important width that has room for them."""
    for unit in ("block", "channel"):
        more = True
        while more:
            more = False
            for root in order:
                step = _whole_block(mapper, channels, root) if unit == "block" else 1
                if mapper({**widths, root: widths[root] + step}) is not None:
                    widths = {**widths, root: widths[root] + step}
                    more = True
    return widths


def _whole_block(mapper: Mapper, channels: Channels, root: int) -> int:
    """Channels of `root` whose kernels fill the rows of a macro, for the largest kernel that reads them."""
    areas = [
        layer.geometry.kernel_area * lane.repeat
        for layer in mapper.layers
        if (lane := channels.read.get(layer.name)) is not None
        and any(channels.root(part) == root for part in lane.parts)
    ]
    return max(1, mapper.arch.macro.rows // max(areas, default=1))
