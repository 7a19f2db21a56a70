"""The task graph of one image: who uses which unit, for how long, and who waits for whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import MappingError
from cimemu.events import Cause, Counter, Kind

Ids = NDArray[np.int64]
NO_UNIT = -1  # a task that takes no unit and no time: a meeting point of dependencies


@dataclass(frozen=True, eq=False)
class Template:
    """Tasks of one image of one phase, as arrays over tasks, and their successors in CSR form.

    A successor edge of lag 1 leads into the next image. `dynamic[t]` numbers the macro operations whose duration
    depends on data (skipped slices), in the order of the columns of a duration table; -1 elsewhere.
    `position[t]` and `block[t]` say which macro operation a MACRO task is, -1 elsewhere; of a PROGRAM task that writes an
    activation `position[t]` is the block.
    """

    unit: NDArray[np.int32]
    duration: NDArray[np.int64]
    kind: NDArray[np.int8]
    layer: NDArray[np.int32]
    position: NDArray[np.int32]
    block: NDArray[np.int32]
    bits: NDArray[np.int64]  # moved over the interconnect by a MOVE task, 0 elsewhere
    dynamic: NDArray[np.int32]
    waits_here: NDArray[np.int32]  # predecessors in the same image
    waits_before: NDArray[np.int32]  # predecessors in the image before
    first_edge: NDArray[np.int64]
    successor: NDArray[np.int32]
    lag: NDArray[np.int8]
    cause: NDArray[np.int8]
    units: tuple[str, ...]
    counts: NDArray[np.int64]  # [layers, len(Counter)] traffic of one image
    in_flight: int  # images that may be on the chip together

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.unit)


COLUMNS = ("unit", "duration", "kind", "layer", "position", "block", "bits")


@dataclass
class GraphBuilder:
    """Collects tasks and edges of one image; every call adds an array of them."""

    layers: int
    unit_ids: dict[str, int] = field(default_factory=dict)
    size: int = 0
    calls: list[tuple[int, tuple[int | Ids, ...]]] = field(default_factory=list)  # tasks added, their COLUMNS
    edges: list[tuple[Ids, Ids, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start with no traffic."""
        self.counts = np.zeros((self.layers, len(Counter)), dtype=np.int64)

    def unit(self, name: str) -> int:
        """The number of a unit, new where it has not been named yet."""
        return self.unit_ids.setdefault(name, len(self.unit_ids))

    def add(
        self,
        kind: Kind,
        unit: int | Ids,
        duration: int | Ids,
        layer: int,
        count: int,
        position: Ids | int = -1,
        block: int = -1,
        bits: int | Ids = 0,
    ) -> Ids:
        """`count` tasks of one kind, each of a cycle or more; their numbers."""
        return self._add(count, (unit, duration, int(kind), layer, position, block, bits))

    def meet(self, layer: int, count: int = 1) -> Ids:
        """`count` tasks without unit and time."""
        return self._add(count, (NO_UNIT, 0, int(Kind.DIGITAL), layer, -1, -1, 0))

    def _add(self, count: int, values: tuple[int | Ids, ...]) -> Ids:
        self.calls.append((count, values))
        first = self.size
        self.size += count
        return np.arange(first, self.size)

    def wait(self, tasks: Ids, on: Ids, cause: Cause, lag: int = 0) -> None:
        """tasks[i] waits on on[i] (either may be one for all); `lag` 1: of the image before."""
        if tasks.size and on.size:
            self.edges.append((tasks, on, int(cause), lag))

    def wait_all(self, tasks: Ids, on: Ids, cause: Cause) -> None:
        """Every one of `tasks` waits on every one of `on`."""
        if len(tasks) and len(on):
            self.wait(np.repeat(tasks, len(on)), np.tile(on, len(tasks)), cause)

    def count(self, layer: int, counter: Counter, amount: int) -> None:
        """Charge `amount` events to `layer`."""
        self.counts[layer, counter] += int(amount)

    def build(self, in_flight: int, dynamic: bool) -> Template:
        """The finished template; MappingError where the graph is larger than task numbers go."""
        if self.size >= 2**31 - 1:
            raise MappingError(f"the task graph of one image has {self.size} tasks, must be < 2^31; use fewer macros")
        counts = [count for count, _ in self.calls]
        column = {name: _joined([values[i] for _, values in self.calls], counts) for i, name in enumerate(COLUMNS)}
        column["duration"] = np.maximum(column["duration"], column["unit"] != NO_UNIT)  # a cycle at least
        sizes = [max(e[0].size, e[1].size) for e in self.edges]
        target, source = (_joined([e[i] for e in self.edges], sizes) for i in range(2))
        cause = np.repeat(np.array([e[2] for e in self.edges], dtype=np.int8), sizes)
        lag = np.repeat(np.array([e[3] for e in self.edges], dtype=np.int8), sizes)
        order = np.argsort(source, kind="stable")
        first = np.zeros(self.size + 1, dtype=np.int64)
        np.cumsum(np.bincount(source, minlength=self.size), out=first[1:])
        is_op = column["block"] >= 0
        numbers = np.where(is_op, np.cumsum(is_op) - 1, -1) if dynamic else np.full(self.size, -1)
        return Template(
            unit=column["unit"].astype(np.int32),
            duration=column["duration"],
            kind=column["kind"].astype(np.int8),
            layer=column["layer"].astype(np.int32),
            position=column["position"].astype(np.int32),
            block=column["block"].astype(np.int32),
            bits=column["bits"],
            dynamic=numbers.astype(np.int32),
            waits_here=np.bincount(target[lag == 0], minlength=self.size).astype(np.int32),
            waits_before=np.bincount(target[lag == 1], minlength=self.size).astype(np.int32),
            first_edge=first,
            successor=target[order].astype(np.int32),
            lag=lag[order],
            cause=cause[order],
            units=tuple(self.unit_ids),
            counts=self.counts,
            in_flight=in_flight,
        )


def _joined(parts: Sequence[int | Ids], sizes: Sequence[int]) -> Ids:
    """Parts one behind the other; part i is `sizes[i]` numbers, or one number for all of them."""
    one = [part if isinstance(part, int) else int(part.flat[0]) if part.size == 1 else 0 for part in parts]
    whole = np.repeat(np.array(one, dtype=np.int64), sizes)
    end = 0
    for part, size in zip(parts, sizes):
        end += size
        if not isinstance(part, int) and part.size > 1:
            whole[end - size : end] = part
    return whole
