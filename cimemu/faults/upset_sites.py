"""Bits outside cells that can flip: where they are, how many there are, and which of them a campaign tries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.forward import Emulator
from cimemu.errors import CimemuError
from cimemu.mapping.layout import Layout, accumulator_width

Kind = Literal["codes", "registers", "accumulators", "wordlines", "buffers"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FIELDS = (
    "layer", "image", "position", "replica", "unit", "row_block", "column_block", "group", "slice", "place", "bit", "stuck",
)  # fmt: skip
NOWHERE = -1  # of a field that a site of its kind does not have
MEANINGS = {
    "layer": "layer whose macros hold the bit, or that makes the tensor",
    "image": "image in which it flips; -1: in every one",
    "position": "output position in which it flips; -1: in every one, or a buffer",
    "replica": "copy of the layer that holds it",
    "unit": "matrix of the layer, where a grouped convolution has several",
    "row_block": "row block of the matrix",
    "column_block": "column block of the matrix",
    "group": "group of rows of the row block, after which a transient fault happens",
    "slice": "input slice, likewise",
    "place": "converted column, converter, output, row, or element of a tensor",
    "bit": "bit that is wrong, 0 the lowest",
    "stuck": "-1: it flips; 0 or 1: what it always is",
}


@dataclass(frozen=True)
class Upset:
    """One faulty bit; a field that its kind does not have is -1 (`MEANINGS` says what they are)."""

    layer: str
    image: int = NOWHERE
    position: int = NOWHERE
    replica: int = NOWHERE
    unit: int = NOWHERE
    row_block: int = NOWHERE
    column_block: int = NOWHERE
    group: int = NOWHERE
    slice: int = NOWHERE
    place: int = NOWHERE
    bit: int = NOWHERE
    stuck: int = NOWHERE

    @property
    def permanent(self) -> bool:
        """Whether the bit is stuck, in every operation."""
        return self.stuck != NOWHERE


@dataclass(frozen=True)
class Piece:
    """Sites of one kind that differ in some fields only: `axes` are their names and how many values each has."""

    layer: str
    fixed: tuple[tuple[str, int], ...]
    axes: tuple[tuple[str, int], ...]

    @property
    def count(self) -> int:
        """Sites."""
        return prod(size for _, size in self.axes)

    def site(self, number: int) -> Upset:
        """Site `number`, the last field running fastest."""
        values = dict(self.fixed)
        for name, size in reversed(self.axes):
            number, values[name] = divmod(number, size)
        return Upset(self.layer, **values)

    def holds(self, site: Upset) -> bool:
        """Whether a site is one of these."""
        known = {name: value for name, value in vars(site).items() if name != "layer"}
        for name, value in self.fixed:
            if known.pop(name) != value:
                return False
        for name, size in self.axes:
            if not 0 <= known.pop(name) < size:
                return False
        return site.layer == self.layer and all(value == NOWHERE for value in known.values())


def pieces_of(emulator: Emulator, kind: Kind, images: int, permanent: bool) -> list[Piece]:
    """All sites of a kind. CimemuError where the macro has none."""
    if kind == "buffers":
        return list(_buffers(emulator, images, permanent))
    _refuse(emulator, kind, permanent)
    found = []
    for name, matrix in emulator.matrices.items():
        copies, positions = emulator.copies.get(name, 1), matrix.layer.geometry.positions
        when = (("replica", copies),) if permanent else (("image", images), ("position", positions))
        stuck = (("stuck", 2),) if permanent else ()
        for unit, programmed in enumerate(matrix.programmed):
            layout = programmed.matrix.layout
            for fixed, axes in _axes(emulator, kind, layout, permanent):
                found.append(Piece(name, (("unit", unit), *fixed), (*when, *axes, *stuck)))
    return found


Fields = tuple[tuple[str, int], ...]


def _axes(emulator: Emulator, kind: Kind, layout: Layout, permanent: bool) -> Iterator[tuple[Fields, Fields]]:
    """(fields of one value, fields of several) of the sites of one matrix, in one operation."""
    macro = emulator.macro
    per, bits = macro.conversions_per_output, getattr(macro.adc, "bits", 0)
    for rb, (first, last) in enumerate(layout.row_blocks):
        groups = -(-(last - first) // layout.active_rows)
        steps: Fields = () if permanent else (("group", groups), ("slice", macro.input_slices))
        if kind == "accumulators":
            width = accumulator_width(macro, layout, rb)
            yield (("row_block", rb),), (*steps, ("place", layout.outputs), ("bit", width))
            continue
        for cb, (start, stop) in enumerate(layout.col_blocks):
            fixed = (("row_block", rb), ("column_block", cb))
            columns = (stop - start) * per
            match kind:
                case "codes":
                    converters = -(-columns // macro.columns_per_adc)
                    yield fixed, (*steps, ("place", converters if permanent else columns), ("bit", bits))
                case "wordlines":
                    width = macro.input.dac_bits if permanent else macro.input.bits
                    yield fixed, (("place", last - first), ("bit", width))
                case "registers":
                    yield fixed, (("place", last - first), ("bit", macro.input.bits))
                case "buffers":
                    raise AssertionError("buffers are of tensors")


def _buffers(emulator: Emulator, images: int, permanent: bool) -> Iterator[Piece]:
    """Every tensor of an image that a layer or the network is given: of the layer that makes it, or the network's input."""
    network = emulator.network
    made = {name: layer.name for layer in network.layers for name in layer.outputs}
    for name, known in network.types.items():
        if name in network.constants or (name not in made and name not in network.inputs):
            continue
        dtype = np.dtype(known.dtype)
        bits = 1 if dtype == np.bool_ else 8 * dtype.itemsize
        axes: Fields = (("place", known.elements), ("bit", bits))
        axes = (*axes, ("stuck", 2)) if permanent else (("image", images), *axes)
        yield Piece(name, (), axes)


def _refuse(emulator: Emulator, kind: Kind, permanent: bool) -> None:
    """CimemuError for what has no such bits."""
    macro = emulator.macro
    if macro.repair.checksum_columns or macro.repair.reads > 1:
        raise CimemuError(
            f"faults --site {kind} with macro.repair.checksum_columns or reads, which put faults right: not defined; set them "
            "to 0 and 1"
        )
    if emulator.sharing and permanent:
        raise CimemuError(
            f"faults --site {kind} --permanent: layer {min(emulator.sharing)} shares its macros with others: not "
            "defined; leave out --permanent"
        )
    if kind == "codes" and not hasattr(macro.adc, "bits"):
        raise CimemuError(
            "faults --site codes: an ideal converter gives no codes; choose another macro.adc.model, or another site"
        )
    if kind == "wordlines" and macro.timing.skip_zero_slices:
        raise CimemuError(
            "faults --site wordlines with timing.skip_zero_slices: a skipped line is not driven: not defined; set it to false"
        )
    for name, matrix in emulator.matrices.items():
        if matrix.layer.column_scale is not None:
            raise CimemuError(
                f"faults: layer {name} has column scales behind its converters: not defined, take a network without"
            )
        if kind == "accumulators" and not all(p.matrix.integer_result for p in matrix.programmed):
            raise CimemuError(
                f"faults --site accumulators: layer {name}: levels of its converters are no integers; "
                "choose integer lsb, zero and levels, or another site"
            )
    if not emulator.matrices:
        raise CimemuError(f"faults --site {kind}: no layer has weights in macros, choose --site buffers")


def drawn_sites(pieces: Sequence[Piece], count: int, seed: int) -> tuple[list[Upset], int]:
    """`count` sites drawn without replacement by `seed`, every bit with the same chance, and how many there are in all."""
    total = sum(piece.count for piece in pieces)
    if not 1 <= count <= total:
        raise CimemuError(f"faults: {count} sites asked for, there are {total:,}; ask for 1 .. that")
    rng = np.random.Generator(np.random.Philox(seed))
    chosen = np.sort(rng.choice(total, count, replace=False, shuffle=False).astype(np.int64))
    firsts = np.cumsum([0, *(piece.count for piece in pieces)])
    owner = np.searchsorted(firsts, chosen, side="right") - 1
    return [pieces[p].site(int(n - firsts[p])) for p, n in zip(owner, chosen)], total


def checked_sites(pieces: Sequence[Piece], sites: Sequence[Upset]) -> list[Upset]:
    """`sites` if all of them are there. CimemuError naming the first that is not."""
    by_layer: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_layer.setdefault(piece.layer, []).append(piece)
    for number, site in enumerate(sites, 1):
        if not any(piece.holds(site) for piece in by_layer.get(site.layer, ())):
            text = ", ".join(f"{name} {value}" for name, value in vars(site).items())
            raise CimemuError(
                f"faults: site {number}: there is no such bit ({text}); take sites of a report of the same campaign"
            )
    return list(sites)


def site_of(row: Mapping[str, str], number: int) -> Upset:
    """A site from a row of a CSV file. CimemuError where a field lacks or is no number."""
    missing = [name for name in FIELDS if name not in row]
    if missing:
        raise CimemuError(f"faults: sites have no column {missing[0]}, take a file that faults --out has written")
    values: dict[str, int] = {}
    for name in FIELDS[1:]:
        try:
            values[name] = int(row[name])
        except (TypeError, ValueError):
            raise CimemuError(f"faults: site {number}: {name} = {row[name]!r:.40}, must be a whole number") from None
    return Upset(row["layer"], **values)


def columns_of(sites: Sequence[Upset]) -> dict[str, NDArray[np.generic]]:
    """Sites by column."""
    return {name: np.array([getattr(site, name) for site in sites]) for name in FIELDS}
