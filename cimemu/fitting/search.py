"""A channel allocation that fills a number of macros, found by mapping candidates with the mapper itself."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.errors import ArchError, MappingError
from cimemu.fitting.channels import Channels
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.mapping.fill_kernels import macros_by_columns
from cimemu.mapping.layout import cut_layer, make_layout
from cimemu.mapping.place import column_step, place_phase, plan_macro_layer
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


@dataclass(frozen=True, eq=False)
class Demand:
    """What a layer of one geometry takes."""

    cells: int
    blocks: tuple[tuple[int, int], ...]  # (physical columns, blocks that occupy as many)


class Mapper:
    """Widths by root to what their placement takes, by the mapper's own cut and placement.

    Only layers whose widths are not those of the call before are looked at again.
    """

    def __init__(self, lowered: Network, channels: Channels, arch: Arch, macros: int) -> None:
        if arch.macro.repair.checksum_columns:
            raise ArchError(
                f"macro.repair.checksum_columns = {arch.macro.repair.checksum_columns}: widths are not searched "
                "with checksum columns; set it to 0"
            )
        self.channels, self.arch, self.macros = channels, arch, macros
        self.layers = [layer for layer in lowered.layers if isinstance(layer, MacroLayer)]
        self.size = arch.macro.rows * arch.macro.columns
        self.by_columns = not arch.mapping.share_macros or arch.mapping.packing == "tight"
        self.wide, self.step = arch.macro.output_width, column_step(arch.macro)
        self.ends = [self._ends(layer) for layer in self.layers]
        self.known: list[dict[tuple[int, int], Demand]] = [{} for _ in self.layers]
        self.now: list[tuple[int, int] | None] = [None for _ in self.layers]  # inputs and outputs, of the call before
        self.cuts: dict[tuple[int, int, int], tuple[int, tuple[tuple[int, int], ...]]] = {}
        self.cells = 0
        self.blocks = np.zeros(arch.macro.columns + 1, dtype=np.int64)  # by the physical columns that they occupy
        self.widths: Widths = {}  # of the call before
        self.users: dict[int, list[int]] = {}  # layers by the roots that their channels follow
        for index, (inputs, outputs) in enumerate(self.ends):
            for root in dict.fromkeys(root for end in (inputs, outputs) for root, _ in end.roots):
                self.users.setdefault(root, []).append(index)
        self.filled = np.empty(max(1, min(macros, arch.macros)), dtype=np.int64)

    def __call__(self, widths: Mapping[int, int]) -> Mapped | None:
        """None where the network does not fit in the macros asked for, all at once."""
        channels = self.channels
        for source, number in channels.padded.values():
            if channels.size(number, dict(widths)) < channels.width(source, dict(widths)):
                return None
        for index in self._touched(widths):
            inputs, outputs = self.ends[index]
            asked = (inputs.of(widths), outputs.of(widths))
            if asked != self.now[index]:
                self._change(index, asked)
        self.widths = dict(widths)
        if self.cells > self.macros * self.size:
            return None
        macros = self._macros() if self.by_columns else self._placed()
        return Mapped(macros, self.cells) if 0 <= macros <= self.macros else None

    def _touched(self, widths: Mapping[int, int]) -> Iterable[int]:
        """Layers that may have other channels than before."""
        before = self.widths
        if before.keys() != widths.keys():
            return range(len(self.layers))
        changed = [root for root, width in widths.items() if width != before[root]]
        return {index for root in changed for index in self.users.get(root, ())}

    def _ends(self, layer: MacroLayer) -> tuple["_End", "_End"]:
        """How the layer's inputs and outputs follow from widths."""
        channels, geometry, lane = self.channels, layer.geometry, self.channels.read.get(layer.name)

        def end(numbers: Sequence[int], repeat: int) -> _End:
            roots = [channels.root(number) for number in numbers]
            return _End(tuple((root, channels.sizes[root]) for root in roots), repeat)

        inputs = _End((), 0, geometry.channels_in) if lane is None else end(lane.parts, lane.repeat)
        made = channels.made.get(layer.name)
        return inputs, _End((), 0, geometry.channels_out) if made is None else end([made], 1)

    def _change(self, index: int, asked: tuple[int, int]) -> None:
        known, before = self.known[index], self.now[index]
        if asked not in known:
            known[asked] = self._demand(index, asked)
        if before is not None:
            self.cells -= known[before].cells
            for columns, count in known[before].blocks:
                self.blocks[columns] -= count
        self.cells += known[asked].cells
        for columns, count in known[asked].blocks:
            self.blocks[columns] += count
        self.now[index] = asked

    def _geometry(self, index: int, asked: tuple[int, int]) -> Geometry:
        layer = self.layers[index]
        inputs, outputs = asked
        depthwise = layer.geometry.groups > 1 and layer.name in self.channels.read
        groups = outputs if depthwise else layer.geometry.groups
        return replace(layer.geometry, channels_in=inputs, channels_out=outputs, groups=groups)

    def _demand(self, index: int, asked: tuple[int, int]) -> Demand:
        """The layer's blocks, of which those of the same columns are counted together."""
        macro, area = self.arch.macro, self.layers[index].geometry.kernel_area
        if self.layers[index].geometry.groups == 1:
            rows = asked[0] * area
            high, columns = self._cut(rows, 1, area)[0], self._cut(1, asked[1], 1)[1]
            return Demand(
                rows * asked[1] * self.wide, tuple((wide * self.wide, high * count) for wide, count in columns)
            )
        g = self._geometry(index, asked)
        found: Counter[int] = Counter()
        cells = 0
        cut = cut_layer(g.groups, g.rows_per_group, g.outputs_per_group, macro, g.kernel_area)
        for unit, layout in zip(cut.units, cut.layouts):
            heights = [stop - start for start, stop in layout.row_blocks]
            for width, count in Counter(stop - start for start, stop in layout.col_blocks).items():
                found[width * self.wide] += len(heights) * count
                cells += count * sum(row * width * self.wide // unit.groups for row in heights)
        return Demand(cells, tuple(found.items()))

    def _cut(self, rows: int, outputs: int, kernel_area: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """(row blocks, (outputs, column blocks of as many)) of a matrix: rows and outputs are cut for themselves."""
        key = (rows, outputs, kernel_area)
        if key not in self.cuts:
            layout = make_layout(rows, outputs, self.arch.macro, kernel_area)
            columns = Counter(stop - start for start, stop in layout.col_blocks)
            self.cuts[key] = (len(layout.row_blocks), tuple(columns.items()))
        return self.cuts[key]

    def _macros(self) -> int:
        """Macros that all blocks take, -1 where they are too many: with tight packing their widths alone decide it."""
        if not self.arch.mapping.share_macros:
            return int(self.blocks.sum()) if self.blocks.sum() <= len(self.filled) else -1
        return int(macros_by_columns(self.blocks, len(self.blocks) - 1, self.step, len(self.filled), self.filled))

    def _placed(self) -> int:
        """The same where blocks are placed layer by layer."""
        plans = []
        for index, asked in enumerate(self.now):
            assert asked is not None
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
            geometry = self._geometry(index, asked)
            plans.append(plan_macro_layer(geometry, self.layers[index].layout, self.arch.macro, common))
        placed = place_phase(plans, self.arch, 0)
        return -1 if placed is None else len({p.macro for p in placed})


@dataclass(frozen=True)
class _End:
    """Channels of one side of a layer: a fixed number, or as many times the widths of some roots."""

    roots: tuple[tuple[int, int], ...]  # with their present widths
    repeat: int
    fixed: int = 0

    def of(self, widths: Mapping[int, int]) -> int:
        """For widths by root."""
        if not self.roots:
            return self.fixed
        return self.repeat * sum([widths.get(root, present) for root, present in self.roots])


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
    full = goal * macros * mapper.size
    for attempt in range(walks.tries if mapped.cells < full else 0):
        draw = np.random.default_rng((walks.seed, attempt))
        found, value = _anneal(uniform, worth, roots, kinds, draw, walks.steps)
        fits = mapper(found)
        if value > top and fits is not None:
            best, top, mapped = found, value, fits
        if mapped.cells >= full:
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
    chosen = [_one_of(roots, draw)] if draw.random() < 0.5 else kinds[int(draw.integers(len(kinds)))]
    width = widths[chosen[0]]
    if draw.random() < 0.5:
        new = width + int(draw.integers(1, 5)) * (1 if draw.random() < 0.5 else -1)
    else:
        new = round(width * exp(STRETCH * draw.standard_normal()))
    made = {**widths, **dict.fromkeys(chosen, max(1, new))}
    if draw.random() < 0.3:
        other = _one_of(roots, draw)
        if other not in chosen:
            back = max(1, made[other] - (max(1, new) - width))
            made[other] = back
    return made


def _one_of(roots: list[int], draw: np.random.Generator) -> int:
    """What `draw.choice(roots)` draws, without an array of them."""
    return roots[int(draw.integers(0, len(roots)))]


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
