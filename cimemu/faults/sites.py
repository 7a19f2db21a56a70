"""Every single-bit fault of a network's cells: where it is on the chip, and what it is in the network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.forward import Emulator
from cimemu.errors import CimemuError
from cimemu.macro.matrix import Matrix
from cimemu.macro.sites import Sites, planned_sites
from cimemu.mapping.plan import Plan

Place = tuple[int, int, int, int, int]  # (macro, earlier writes of it, row, column, bit)


@dataclass(frozen=True)
class Piece:
    """A unit of one layer in one replica: what a fault's row and column are counted in."""

    layer: str
    replica: int
    unit: int
    matrix: Matrix
    sites: Sites
    first_channel: int  # of the layer that is the unit's first output
    first: int  # number of its first fault among all of the network's


@dataclass(frozen=True, eq=False)
class FaultSites:
    """Faults, an entry each in every array; `piece` is an index into `pieces`, `output`, `slice` and `input` are of its matrix."""

    pieces: tuple[Piece, ...]
    piece: NDArray[np.int64]
    output: NDArray[np.int64]
    slice: NDArray[np.int64]
    input: NDArray[np.int64]
    bit: NDArray[np.int64]
    macro: NDArray[np.int64]
    write: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    level: NDArray[np.int64]
    total: int  # faults that the network has

    def __len__(self) -> int:
        return len(self.piece)

    @property
    def faulty_level(self) -> NDArray[np.int64]:
        """What the cell holds with its bit flipped."""
        return self.level ^ (1 << self.bit)

    @property
    def steps(self) -> NDArray[np.int64]:
        """By how many steps the weight moves, without its sign."""
        macro = self.pieces[0].matrix.macro
        place = np.array(macro.encoding.places(macro.weight.bits, macro.cell.bits), dtype=np.int64)
        return np.asarray(np.abs(place[self.slice % len(place)]) << self.bit)

    def by_column(self) -> Iterator[tuple[Piece, int, NDArray[np.int64]]]:
        """(piece, output, which faults) for every output column that has a fault."""
        key = self.piece * (1 + int(self.output.max(initial=0))) + self.output
        order = np.argsort(key, kind="stable")
        edges = np.flatnonzero(np.diff(key[order])) + 1
        for which in np.split(order, edges):
            yield self.pieces[self.piece[which[0]]], int(self.output[which[0]]), which


def pieces_of(emulator: Emulator, plan: Plan) -> tuple[tuple[Piece, ...], int]:
    """Every piece of the network and how many faults there are; a cell without a weight is no site."""
    found, first = [], 0
    bits = emulator.macro.cell.bits
    for name, replicas in planned_sites(plan).items():
        if name not in emulator.matrices:
            continue  # a product of two activations: its cells are written for every image
        for r, units in enumerate(replicas):
            layer = emulator.matrices[name]
            for u, (programmed, sites) in enumerate(zip(layer.programmed, units)):
                found.append(Piece(name, r, u, programmed.matrix, sites, layer.units[u].out_start, first))
                first += bits * emulator.macro.columns_per_output * _weights(programmed.matrix)
    return tuple(found), first


def draw_sites(emulator: Emulator, plan: Plan, count: int | None, seed: int) -> FaultSites:
    """All faults (`count` None), or as many drawn without replacement by `seed`. CimemuError where there are fewer."""
    pieces, total = pieces_of(emulator, plan)
    if not total:
        raise CimemuError("faults: no cell of the network holds a weight that is written once, take another network")
    if count is not None and not 1 <= count <= total:
        raise CimemuError(
            f"faults: cells = {count}, the network has {total} single-bit faults of cells; ask for 1 .. that, or all"
        )
    chosen = np.arange(total, dtype=np.int64)
    if count is not None:
        rng = np.random.Generator(np.random.Philox(seed))
        chosen = np.sort(rng.choice(total, count, replace=False, shuffle=False).astype(np.int64))
    return _decoded(pieces, chosen, total)


def named_sites(emulator: Emulator, plan: Plan, places: Sequence[Place]) -> FaultSites:
    """The faults at these places of the chip. CimemuError naming the first that is none of the network's."""
    every = draw_sites(emulator, plan, None, 0)
    table = {
        place: number
        for number, place in enumerate(
            zip(*(v.tolist() for v in (every.macro, every.write, every.row, every.column, every.bit)))
        )
    }
    missing = [place for place in places if tuple(place) not in table]
    if missing:
        text = ":".join(map(str, missing[0]))
        raise CimemuError(
            f"faults: site {text} (macro:write:row:column:bit) holds no bit of a weight, take one of a report"
        )
    return _decoded(every.pieces, np.array([table[tuple(place)] for place in places], dtype=np.int64), every.total)


def _weights(matrix: Matrix) -> int:
    inside = matrix.inside(slice(None))
    return matrix.layout.rows * matrix.layout.outputs if inside is None else int(inside.sum())


def _decoded(pieces: tuple[Piece, ...], chosen: NDArray[np.int64], total: int) -> FaultSites:
    """Faults by number: pieces outer, then output, slice, row and bit."""
    firsts = np.array([piece.first for piece in pieces])
    owner = np.searchsorted(firsts, chosen, side="right") - 1
    found = {name: np.zeros(len(chosen), dtype=np.int64) for name in ("output", "slice", "input", "bit")}
    chip = {name: np.zeros(len(chosen), dtype=np.int64) for name in ("macro", "write", "row", "column", "level")}
    for number in np.unique(owner):
        piece, mine = pieces[number], np.flatnonzero(owner == number)
        matrix = piece.matrix
        bits, wide = matrix.macro.cell.bits, matrix.macro.columns_per_output
        inside = matrix.inside(slice(None))
        weights = np.arange(matrix.layout.rows * matrix.layout.outputs) if inside is None else np.flatnonzero(inside.T)
        rest, bit = np.divmod(chosen[mine] - piece.first, bits)
        rest, cut = np.divmod(rest, wide)
        output, row = np.divmod(weights[rest], matrix.layout.rows)
        for name, values in (("output", output), ("slice", cut), ("input", row), ("bit", bit)):
            found[name][mine] = values
        block = np.searchsorted([stop for _, stop in matrix.layout.row_blocks], row, side="right")
        across = np.searchsorted([stop for _, stop in matrix.layout.col_blocks], output, side="right")
        for rb, cb in set(zip(block.tolist(), across.tolist())):
            here = (block == rb) & (across == cb)
            site, at = piece.sites[rb, cb], mine[here]
            chip["macro"][at], chip["write"][at] = site.macro, site.write
            chip["row"][at] = row[here] - matrix.layout.row_blocks[rb][0]
            chip["column"][at] = site.first_column + (output[here] - matrix.layout.col_blocks[cb][0]) * wide + cut[here]
        chip["level"][mine] = matrix.levels_of(slice(None))[row, output * wide + cut]
    return FaultSites(pieces=pieces, piece=np.asarray(owner, dtype=np.int64), total=total, **found, **chip)
