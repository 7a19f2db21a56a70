"""The interconnect: which links a packet crosses between a tile and the hub (global buffer, digital unit)."""

import itertools
from math import ceil, sqrt

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.events import Cause, Counter, Kind
from cimemu.timing.graph import GraphBuilder, Ids


class Routes:
    """Paths and packet times of one chip. A mesh is square, XY-routed; the hub hangs on the router of tile 0."""

    def __init__(self, arch: Arch) -> None:
        """The interconnect of `arch`."""
        self.net, self.tile = arch.chip.interconnect, arch.tile
        self.side = ceil(sqrt(arch.tiles))
        self.cause = {"bus": Cause.BUS, "mesh": Cause.NOC}[self.net.kind]

    def path(self, tile: int, inward: bool) -> list[str]:
        """Unit names from the hub to `tile` (`inward` False) or from `tile` to the hub (True)."""
        if self.net.kind == "bus":
            return ["bus"]
        x, y = tile % self.side, tile // self.side
        if inward:
            nodes = [(i, y) for i in range(x, -1, -1)] + [(0, j) for j in range(y - 1, -1, -1)]
        else:
            nodes = [(i, 0) for i in range(x + 1)] + [(x, j) for j in range(1, y + 1)]
        names = [f"link/{a[0]}.{a[1]}>{b[0]}.{b[1]}" for a, b in itertools.pairwise(nodes)]
        return [*names, "link/0.0>hub"] if inward else ["link/hub>0.0", *names]

    def packet_cycles(self, bits: int | Ids) -> Ids:
        """Cycles a packet of `bits` holds one link (or the bus): router latency and transfer."""
        return np.asarray(self.net.hop_cycles + -(-np.asarray(bits) // self.net.bits_per_cycle))

    def send(self, graph: GraphBuilder, tile: int, inward: bool, layer: int, bits: Ids) -> tuple[Ids, Ids]:
        """A packet for every entry of `bits`, stored and forwarded link by link; first and last task of each.

        The link at the tile is held as long as the slower of link and tile buffer takes.
        """
        path, count = self.path(tile, inward), len(bits)
        width = self.tile.output_buffer.read_bits_per_cycle if inward else self.tile.input_buffer.write_bits_per_cycle
        cycles = np.tile(self.packet_cycles(bits), len(path))
        held = slice(0, count) if inward else slice(len(cycles) - count, len(cycles))
        cycles[held] = np.maximum(cycles[held], -(-bits // width))
        units = np.repeat([graph.unit(name) for name in path], count)
        tasks = graph.add(Kind.MOVE, units, cycles, layer, len(cycles), bits=np.tile(bits, len(path)))
        graph.wait(tasks[count:], tasks[: len(tasks) - count], self.cause)
        graph.count(layer, Counter.NOC_BIT_HOPS, int(np.sum(bits)) * len(path))
        return tasks[:count], tasks[len(tasks) - count :]
