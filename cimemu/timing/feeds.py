"""Rows of feature maps between the layers: written by one, fetched by the next."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.events import Cause, Counter, Kind
from cimemu.mapping.plan import LayerPlan
from cimemu.timing.graph import GraphBuilder, Ids
from cimemu.timing.spans import consumer_rows, needed_rows
from cimemu.timing.storage import Storage

Rows = NDArray[np.int64]
RowTasks = tuple[Rows, Ids]  # rows, and a task for each


@dataclass
class Feeds:
    """What has been written so far: tasks by producing layer and row, and the barrier of the layer before."""

    arch: Arch
    graph: GraphBuilder
    storage: Storage
    crossing_in: frozenset[int]  # producers of an earlier phase
    written: dict[int, Ids] = field(default_factory=dict)
    barrier: Ids | None = None  # layer_by_layer: the end of the layer before
    entering: dict[int, list[RowTasks]] = field(default_factory=dict)  # by producer: tasks that need room for their row
    leaving: dict[int, list[RowTasks | Ids]] = field(
        default_factory=dict
    )  # those that have done with a row, or with all

    def fetch(self, layer: LayerPlan, which: int, rows: Rows, *, whole: bool = False) -> Ids:
        """Read `rows` (of input `which` of `layer`) out of where they live; a task each, which waits for the same row of
        the producer's output, or for all rows (`whole`, or where it has another number of rows)."""
        producer, kind = layer.inputs[which], layer.input_types[which]
        total = consumer_rows(layer, which)
        bits = np.full(len(rows), -(-kind.bits // total))
        if producer < 0 and producer not in self.storage.offchip and producer not in self.written:
            self.written[producer] = self._bring_in(layer, producer, kind.bits, total)
        if producer in self.storage.offchip:
            tasks = self._offchip(layer.index, bits, Counter.OFFCHIP_READ_BITS)
        else:
            tasks = self._port(layer.index, bits, rows, read=True)
        if self.barrier is not None:
            self.graph.wait(tasks, self.barrier, Cause.DATA)
        if (producer >= 0 and producer not in self.crossing_in) or producer in self.written:
            made = self.written[producer]
            if len(made) == total and not whole:
                self.graph.wait(tasks, made[rows], Cause.DATA)
            elif len(made):
                every = self.graph.meet(layer.index)
                self.graph.wait_all(every, made, Cause.DATA)
                self.graph.wait(tasks, every, Cause.DATA)
        return tasks

    def has_left(self, layer: LayerPlan, which: int, rows: Rows, tasks: Ids) -> None:
        """`tasks` have taken `rows` of input `which` out of the global buffer, or are done with them."""
        producer = layer.inputs[which]
        whole = len(self.written.get(producer, ())) != consumer_rows(layer, which)
        self.leaving.setdefault(producer, []).append(np.unique(tasks) if whole else (rows, tasks))

    def used_up(self, layer: LayerPlan, which: int, fetched: Ids, work: Ids) -> None:
        """Rows of input `which` stay in the global buffer until the last of the `work` tasks, one an output row, that needs
        them is done; a row that none needs, until it is fetched."""
        last = np.array(fetched)
        for row, (first, stop) in enumerate(needed_rows(layer, which)):
            last[first:stop] = work[row]
        self.has_left(layer, which, np.arange(len(fetched)), last)

    def reserve(self) -> None:
        """Rows enter the global buffer when the rows that they replace have left it: the ring of their tensor is full."""
        for producer, held in self.storage.held.items():
            rows = len(self.written.get(producer, ()))
            for entering, tasks in self.entering.get(producer, ()):
                replaced = entering - held
                for left in self.leaving.get(producer, ()):
                    self._replace(tasks, replaced, rows, left)

    def _replace(self, tasks: Ids, replaced: Rows, rows: int, left: "RowTasks | Ids") -> None:
        """Have each of `tasks` wait until its `replaced` row has `left`; a negative one is of the image before."""
        graph = self.graph
        if not isinstance(left, tuple):  # all rows leave together
            every = graph.meet(0)
            graph.wait(np.repeat(every, len(left)), left, Cause.BUFFER)
            graph.wait(tasks[replaced < 0], every, Cause.BUFFER, lag=1)
            return
        order = np.argsort(left[0], kind="stable")
        gone, by = left[0][order], left[1][order]
        for lag, chosen in ((1, replaced < 0), (0, replaced >= 0)):
            wanted = replaced[chosen] + lag * rows
            first, stop = np.searchsorted(gone, wanted), np.searchsorted(gone, wanted, side="right")
            counts = stop - first
            which = np.repeat(np.arange(len(wanted)), counts)
            place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
            graph.wait(tasks[chosen][which], by[place], Cause.BUFFER, lag=lag)

    def look_up(self, layer: LayerPlan, rows: int) -> Ids:
        """Read the rows of an embedding's table from off-chip memory, once their indices are there; a task each."""
        tasks = self._offchip(layer.index, np.full(rows, -(-layer.table_bits // rows)), Counter.OFFCHIP_READ_BITS)
        if self.barrier is not None:
            self.graph.wait(tasks, self.barrier, Cause.DATA)
        return tasks

    def read_sums(self, layer: LayerPlan, rows: int, bits: int) -> Ids:
        """Read the sums of earlier phases, `bits` of every output row; a task each."""
        tasks = self._sums(layer, rows, bits, read=True)
        if self.barrier is not None:
            self.graph.wait(tasks, self.barrier, Cause.DATA)
        return tasks

    def keep_sums(self, layer: LayerPlan, rows: int, bits: int) -> Ids:
        """Write sums for a later phase, `bits` of every output row; a task each, not yet waiting on anything."""
        return self._sums(layer, rows, bits, read=False)

    def _sums(self, layer: LayerPlan, rows: int, bits: int, read: bool) -> Ids:
        if layer.index in self.storage.sums_offchip:
            counter = Counter.OFFCHIP_READ_BITS if read else Counter.OFFCHIP_WRITE_BITS
            return self._offchip(layer.index, np.full(rows, bits), counter)
        return self._port(layer.index, np.full(rows, bits), np.arange(rows), read=read)

    def store(self, layer: LayerPlan, rows: int, is_output: bool, total_bits: int | None = None) -> Ids:
        """Write the output rows of `layer` (or `total_bits` of them); a task each, not yet waiting on anything."""
        total = sum(t.bits for t in layer.output_types) if total_bits is None else total_bits
        bits = np.full(rows, -(-total // rows))
        if layer.index in self.storage.offchip:
            tasks = self._offchip(layer.index, bits, Counter.OFFCHIP_WRITE_BITS)
        else:
            tasks = self._port(layer.index, bits, np.arange(rows), read=False)
        self.written[layer.index] = tasks
        if is_output and layer.index not in self.storage.offchip:
            reads = self._port(layer.index, bits, np.arange(rows), read=True)
            out = self._offchip(layer.index, bits, Counter.OFFCHIP_WRITE_BITS)
            self.graph.wait(reads, tasks, Cause.DATA)
            self.graph.wait(out, reads, Cause.BUFFER)
            self.leaving.setdefault(layer.index, []).append((np.arange(rows), out))
        return tasks

    def _bring_in(self, layer: LayerPlan, producer: int, bits: int, rows: int) -> Ids:
        """An input of the network from off-chip into the global buffer, charged to its first reader."""
        each = np.full(rows, -(-bits // rows))
        loads = self._offchip(layer.index, each, Counter.OFFCHIP_READ_BITS)
        if self.barrier is not None:
            self.graph.wait(loads, self.barrier, Cause.DATA)
        writes = self._port(layer.index, each, np.arange(rows), read=False)
        self.graph.wait(writes, loads, Cause.MEMORY)
        self.entering.setdefault(producer, []).append((np.arange(rows), loads))
        return writes

    def _port(self, layer: int, bits: Rows, rows: Rows, read: bool) -> Ids:
        buffer = self.arch.chip.global_buffer
        width = buffer.read_bits_per_cycle if read else buffer.write_bits_per_cycle
        ports = np.array([self.graph.unit(f"global_buffer/port{i}") for i in range(buffer.ports)])
        counter = Counter.GLOBAL_READ_BITS if read else Counter.GLOBAL_WRITE_BITS
        self.graph.count(layer, counter, int(bits.sum()))
        return self.graph.add(Kind.BUFFER, ports[rows % buffer.ports], -(-bits // width), layer, len(bits))

    def _offchip(self, layer: int, bits: Rows, counter: Counter) -> Ids:
        memory = self.arch.chip.offchip
        cycles = memory.latency_cycles - (-bits // memory.bits_per_cycle)
        self.graph.count(layer, counter, int(bits.sum()))
        return self.graph.add(Kind.OFFCHIP, self.graph.unit("offchip"), cycles, layer, len(bits))


def fetch_cause(feeds: Feeds, layer: LayerPlan, which: int) -> Cause:
    """What a task that waits on a fetch waits for: off-chip memory or the global buffer."""
    return Cause.MEMORY if layer.inputs[which] in feeds.storage.offchip else Cause.BUFFER
