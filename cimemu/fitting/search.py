"""A channel allocation that fills a number of macros, found by mapping candidates with the mapper itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Any

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.errors import MappingError
from cimemu.fitting.channels import Channels
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.mapping.place import place_phase, plan_macro_layer
from cimemu.mapping.plan import LayerPlan
from cimemu.workload.network import Network

TRIES, STEPS = 3, 15000  # annealings until one reaches the goal, candidates of each
HOT, COLD = 0.2, 0.02  # temperature at the first and the last step, in units of the worth
STRETCH = 0.25  # standard deviation of a wide step, in natural logarithms
Widths = dict[int, int]


@dataclass(frozen=True)
class Mapped:
    """What the mapper says about widths that fit."""

    macros: int
    cells: int


@dataclass
class Mapper:
    """Widths by root to what their placement takes, by the mapper's own cut and placement."""

    lowered: Network
    channels: Channels
    arch: Arch
    macros: int
    known: dict[tuple[int, Geometry], LayerPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layers = [layer for layer in self.lowered.layers if isinstance(layer, MacroLayer)]
        self.size = self.arch.macro.rows * self.arch.macro.columns

    def __call__(self, widths: Mapping[int, int]) -> Mapped | None:
        """None where the network does not fit in the macros asked for, all at once."""
        channels = self.channels
        for source, number in channels.padded.values():
            if channels.size(number, dict(widths)) < channels.width(source, dict(widths)):
                return None
        plans = [self._plan(index, self._geometry(layer, dict(widths))) for index, layer in enumerate(self.layers)]
        cells = sum(block.cells for plan in plans for block in plan.blocks)
        if cells > self.macros * self.size:
            return None
        placed = place_phase(plans, self.arch, 0)
        if placed is None:
            return None
        macros = len({p.macro for p in placed})
        return Mapped(macros, cells) if macros <= self.macros else None

    def _geometry(self, layer: MacroLayer, widths: Widths) -> Geometry:
        geometry, lane = layer.geometry, self.channels.read.get(layer.name)
        outputs = geometry.channels_out
        if layer.name in self.channels.made:
            outputs = self.channels.size(self.channels.made[layer.name], widths)
        inputs = geometry.channels_in if lane is None else self.channels.width(lane, widths)
        groups = outputs if geometry.groups > 1 and lane is not None else geometry.groups
        return replace(geometry, channels_in=inputs, channels_out=outputs, groups=groups)

    def _plan(self, index: int, geometry: Geometry) -> LayerPlan:
        key = (index, geometry)
        if key not in self.known:
            common: dict[str, Any] = {
                "index": index,
                "name": self.layers[index].name,
                "op": "macro",
                "inputs": (),
                "phase": 0,
                "replicas": 1,
                "is_output": False,
                "input_types": (),
                "output_types": (),
                "digital_ops": 1,
                "table_bits": 0,
                "pool_rows": (),
            }
            self.known[key] = plan_macro_layer(geometry, self.layers[index].layout, self.arch.macro, common)
        return self.known[key]


@dataclass(frozen=True)
class Walks:
    """The walks of a search: at most `tries` of `steps` candidates each. The same seed gives the same widths.

    With `start` (widths that fit) they begin there and stay near it, and no width falls below `floor`.
    """

    seed: int = 0
    start: Widths | None = None
    floor: Widths | None = None
    tries: int = TRIES
    steps: int = STEPS


def allocate(
    lowered: Network,
    channels: Channels,
    arch: Arch,
    macros: int,
    goal: float,
    walks: Walks = Walks(),
) -> tuple[Widths, Mapped]:
    """(widths by root, their mapping) that fill at most `macros` macros.

    From the largest uniform multiple of the present widths that fits, simulated annealing over single groups of
    tied channels, over all groups of one kind, and over two in opposite directions: towards a share `goal` of cells
    that hold weights, and widths near the uniform multiple. Reconstructed after the morphing of CIM-aware adaption
    (arXiv 2510.14379), without its importance of channels. Raises MappingError where not even one channel everywhere fits.
    """
    start, floor = walks.start, walks.floor
    mapper = Mapper(lowered, channels, arch, macros)
    roots = channels.free()
    if not roots:
        raise MappingError(f"network {lowered.name}: has no channel width that may change")
    present = {root: channels.sizes[root] for root in roots}
    scale = largest_scale(mapper, present) if start is None else 1.0
    present = present if start is None else dict(start)
    uniform = {root: max(1, round(scale * width)) for root, width in present.items()}

    def worth(widths: Widths) -> float:
        if floor is not None and any(widths[root] < least for root, least in floor.items()):
            return -np.inf
        mapped = mapper(widths)
        if mapped is None:
            return -np.inf
        filled = mapped.cells / (macros * mapper.size)
        bent = sum(log(widths[root] / (scale * present[root])) ** 2 for root in roots) / len(roots)
        return 10 * min(filled, goal) + filled - 0.5 * bent

    kinds = _kinds(channels, roots)
    best, top, mapped = uniform, worth(uniform), mapper(uniform)
    assert mapped is not None  # that is how the multiple was chosen
    for attempt in range(walks.tries):
        draw = np.random.default_rng((walks.seed, attempt))
        found, value = _anneal(uniform, worth, roots, kinds, draw, walks.steps)
        fits = mapper(found)
        if value > top and fits is not None:
            best, top, mapped = found, value, fits
        if mapped.cells >= goal * macros * mapper.size:
            break
    return best, mapped


def _anneal(
    start: Widths,
    worth: Callable[[Widths], float],
    roots: list[int],
    kinds: list[list[int]],
    draw: np.random.Generator,
    steps: int,
) -> tuple[Widths, float]:
    """The best widths met on one walk from `start`, and their worth."""
    now = best = start
    value = top = worth(start)
    for step in range(steps):
        candidate = _moved(now, roots, kinds, draw)
        reached = worth(candidate)
        heat = HOT * (COLD / HOT) ** (step / steps)
        if reached >= value or (reached > -np.inf and draw.random() < exp((reached - value) / heat)):
            now, value = candidate, reached
            if value > top:
                best, top = now, value
    return best, top


def _moved(widths: Widths, roots: list[int], kinds: list[list[int]], draw: np.random.Generator) -> Widths:
    """One random step."""
    chosen = [int(draw.choice(roots))] if draw.random() < 0.5 else kinds[int(draw.integers(len(kinds)))]
    width = widths[chosen[0]]
    if draw.random() < 0.5:
        new = width + int(draw.integers(1, 5)) * (1 if draw.random() < 0.5 else -1)
    else:
        new = round(width * exp(STRETCH * draw.standard_normal()))
    made = {**widths, **dict.fromkeys(chosen, max(1, new))}
    if draw.random() < 0.3:
        other = int(draw.choice(roots))
        if other not in chosen:
            back = max(1, made[other] - (max(1, new) - width))
            made[other] = back
    return made


def largest_scale(mapper: Mapper, present: Widths) -> float:
    """The largest uniform multiple of the present widths that fits, to a part in 200."""

    def fits(scale: float) -> bool:
        return mapper({root: max(1, round(scale * width)) for root, width in present.items()}) is not None

    low = high = 1.0
    if fits(1.0):
        while fits(high * 2) and high < 256:
            high *= 2
        low, high = high, high * 2
    else:
        while not fits(low):
            low /= 2
            if low * max(present.values()) < 0.5:
                raise MappingError(
                    f"not even one channel everywhere fits {mapper.macros} macros of {mapper.arch.name}; give more macros"
                )
        high = low * 2
    while high / low > 1.005:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _kinds(channels: Channels, roots: list[int]) -> list[list[int]]:
    """Groups of the same present width and with as many layers tied (or not tied) to them."""
    kinds: dict[tuple[int, bool], list[int]] = {}
    for root in roots:
        kinds.setdefault((channels.sizes[root], len(channels.makers(root)) > 1), []).append(root)
    return list(kinds.values())
