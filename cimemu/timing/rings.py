"""Rows in flight: how many rows of each tensor a pipelined chip must hold, and how many the global buffer has room for.

A tensor has a ring of rows in the global buffer: a row is written over when nobody needs the one that it replaces any more. The
fewest rows that never bring the chip to a halt are those that live together when one image is computed row by row, each as late as
it can be (`fewest_rows`): that order is one in which the chip can always go on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cimemu.mapping.plan import LayerPlan
from cimemu.timing.spans import Spans, consumer_rows, needed_rows, output_rows

STEPS = 16  # a ring grows by sixteenths of its fewest rows


@dataclass(frozen=True)
class Ring:
    """One tensor: the rows that it needs at least, all of its rows, and the bits of one."""

    fewest: int
    rows: int
    row_bits: int


@dataclass
class _Reader:
    """One input of a layer: where its rows come from, which an output row needs, and how many are done with by then."""

    producer: int
    same_rows: bool  # rows are fetched as they are produced; else all of them for each
    spans: Spans
    freed: list[int] = field(default_factory=list)  # by output rows done: leading rows that nobody needs any more


class _Walk:
    """Computes one image row by row, from its last layers back, and notes how many rows of every tensor live together."""

    def __init__(self, members: Sequence[LayerPlan], sizes: Mapping[int, int]) -> None:
        self.members = {layer.index: layer for layer in members}
        self.sizes, self.live = sizes, dict.fromkeys(sizes, 1)
        self.done: dict[int, int] = dict.fromkeys(sizes, 0)
        self.rows = {layer.index: output_rows(layer) for layer in members}
        made = {**self.rows, **sizes}
        self.readers = {
            layer.index: [_reader(layer, which, made) for which in range(len(layer.inputs))] for layer in members
        }
        self.users: dict[int, list[tuple[int, _Reader]]] = {producer: [] for producer in sizes}
        for index, readers in self.readers.items():
            for reader in readers:
                if reader.producer in self.users:
                    self.users[reader.producer].append((index, reader))
        self.before = _takes_turns_after(members)

    def whole(self) -> dict[int, int]:
        """Rows that live together, by producer, after the whole image; layers that nobody reads go on side by side."""
        read = {reader.producer for readers in self.readers.values() for reader in readers}
        last = [layer for layer in self.members if layer not in read]
        steps = max((self.rows[layer] for layer in last), default=0)
        for step in range(1, steps + 1):
            for layer in last:
                self.reach(layer, -(-self.rows[layer] * step // steps))
        return self.live

    def reach(self, layer: int, rows: int) -> None:
        """Have `rows` rows of `layer`, and before each what it needs."""
        waiting = [(layer, rows)]
        while waiting:
            index, wanted = waiting[-1]
            have = self.done.get(index, 0)
            if have >= wanted:
                waiting.pop()
                continue
            missing = next(self._missing(index, have), None)
            if missing is None:
                self._make(index)
            else:
                waiting.append(missing)

    def _missing(self, index: int, row: int) -> Iterator[tuple[int, int]]:
        """What row `row` of `index` still waits for."""
        if index < 0:
            return
        before = self.before.get(index)
        if before is not None and self.done.get(before, 0) < self.rows[before]:
            yield before, self.rows[before]
        for reader in self.readers[index]:
            made = self.sizes.get(reader.producer, self.rows.get(reader.producer, 0))
            wanted = reader.spans[row][1] if reader.same_rows else made
            if self.done.get(reader.producer, 0) < min(wanted, made):
                yield reader.producer, min(wanted, made)

    def _make(self, index: int) -> None:
        """One row more of `index`."""
        self.done[index] = made = self.done.get(index, 0) + 1
        if index not in self.sizes:
            return
        freed = min((reader.freed[self.done.get(user, 0)] for user, reader in self.users[index]), default=made - 1)
        self.live[index] = max(self.live[index], made - freed)


def _reader(layer: LayerPlan, which: int, rows: Mapping[int, int]) -> _Reader:
    producer, height, spans = layer.inputs[which], consumer_rows(layer, which), needed_rows(layer, which)
    made = rows.get(producer, height)
    reader = _Reader(producer, made == height, spans)
    freed = made
    reader.freed = [freed]
    for first, _ in reversed(spans):
        freed = min(freed, first if reader.same_rows else 0)
        reader.freed.append(freed)
    reader.freed.reverse()
    return reader


def _takes_turns_after(members: Sequence[LayerPlan]) -> dict[int, int]:
    """Of layers that share cells, the one before each: it has ended before this one begins."""
    last: dict[int, int] = {}
    before: dict[int, int] = {}
    for layer in members:
        if layer.on_macros:
            if layer.cells_of in last:
                before[layer.index] = last[layer.cells_of]
            last[layer.cells_of] = layer.index
    return before


def rings_of(members: Sequence[LayerPlan], bits: Mapping[int, int], kept: set[int]) -> dict[int, Ring]:
    """The rings of the tensors `kept`, by producing layer (below 0: the network's inputs); `bits` are whole tensors'."""
    sizes: dict[int, int] = {}
    for layer in members:
        for which, producer in enumerate(layer.inputs):
            if producer < 0 and producer in kept:
                sizes.setdefault(producer, consumer_rows(layer, which))
        if layer.index in kept:
            sizes[layer.index] = output_rows(layer)
    live = _Walk(members, sizes).whole()
    return {producer: Ring(live[producer], rows, -(-bits[producer] // rows)) for producer, rows in sizes.items()}


def shared_out(rings: Mapping[int, Ring], capacity: int, together: int) -> dict[int, int]:
    """Rows of each ring in a buffer of `capacity` bits that has room for the fewest of all. A tensor that is not named is not
    bounded: there is room for `together` images of it, which are all that are on the chip.

    All rings grow by the same factor, up to whole tensors; then the smallest tensors get room for every image.
    """

    def grown(steps: int) -> dict[int, int]:
        return {p: min(ring.rows, ring.fewest * steps // STEPS) for p, ring in rings.items()}

    def taken(held: Mapping[int, int]) -> int:
        return sum(rings[p].row_bits * rows for p, rows in held.items())

    low, high = STEPS, STEPS * max((-(-ring.rows // ring.fewest) for ring in rings.values()), default=1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if taken(grown(middle)) <= capacity else (low, middle - 1)
    held = grown(low)
    left = capacity - taken(held)
    if all(held[p] == ring.rows for p, ring in rings.items()):
        for p, ring in sorted(rings.items(), key=lambda item: (item[1].rows * item[1].row_bits, item[0])):
            more = (together - 1) * ring.rows * ring.row_bits
            if more <= left:
                left -= more
                del held[p]
    return held
