"""Cells, converters and reads of a matrix as variation models make them: an ideal matrix in, another one out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import ArchError
from cimemu.events import Pulses
from cimemu.kernels.small import round_levels
from cimemu.macro.accumulator import check_accumulator
from cimemu.macro.checksums import Checks, checks_before
from cimemu.macro.encode import MAX_LEVEL, fixed_seen, narrowest
from cimemu.macro.gated import gated_reads
from cimemu.macro.matrix import Matrix, reference_cells_per_row
from cimemu.macro.program import check_whole, psum_range
from cimemu.macro.scaled import scaled_references
from cimemu.macro.sites import Site, Sites
from cimemu.macro.spares import Array, Lines, has_spares, repaired, stuck_levels
from cimemu.macro.surroundings import Surroundings
from cimemu.variation.base import BLOCK_STAGES, Block
from cimemu.variation.compose import Variations
from cimemu.variation.parse import name_of


@dataclass(eq=False)
class Draft:
    """A matrix while its cells are drawn: blocks are independent of each other, so they may be written by any thread."""

    ideal: Matrix
    sites: Sites
    variations: Variations
    macro: Macro  # with the fraction bits that the variations need
    cells: NDArray[np.integer]  # of the narrowest type that holds what has been written so far
    blocks: dict[tuple[int, int], Block]  # what the models left beside the cells
    writes: dict[tuple[int, int], Pulses]
    shared: Mapping[tuple[int, int], Array] = field(default_factory=dict)  # see `share_arrays`
    lock: Any = field(default_factory=Lock)  # of `cells`, which may become wider
    checks: NDArray[np.int64] | None = None  # of checksum columns, written so far

    def tasks(self) -> Iterator[Callable[[], None]]:
        """One function a block."""
        for place in self.sites:
            yield lambda place=place: self._write(place)  # type: ignore[misc]

    def _write(self, place: tuple[int, int]) -> None:
        """Write one block: ideal levels, then every model in order (cells, lines, reads), then rounded once."""
        first_row, _ = self.ideal.layout.row_blocks[place[0]]
        first = self.ideal.layout.col_blocks[place[1]][0] * self.macro.columns_per_output
        targets, programmed = told(self.ideal, place)
        site = self.sites[place]
        lines = self._lines(site, targets, programmed)
        block = Block(
            levels=targets.astype(np.float64),
            targets=targets,
            programmed=programmed,
            top=2**self.macro.cell.bits - 1,
            macro=site.macro,
            first_column=site.first_column,
            write=site.write,
            largest_input=2**self.macro.input.dac_bits - 1,
            active_rows=self.ideal.layout.active_rows,
            leakage=self.variations.leakage(2**self.macro.cell.bits - 1),
        )
        for stage in BLOCK_STAGES:
            models = self.variations.at(stage)
            if stage == "wires" and models:
                block.array = self._array(block)
            if stage == "cells" and lines is not None:
                self._repair(block, lines)
                continue
            for model, stream in models:
                model.write(block, stream)
        refuse_pulses(block, self.macro)
        scale = 2.0**self.macro.cell.fraction_bits
        made = np.empty(block.levels.shape, dtype=np.int64)
        round_levels(block.levels, scale, MAX_LEVEL * scale, 0, 0, made)
        further = self._checks_of(place[1])
        data = len(targets[0]) - further
        self._keep(made[:, :data], first_row, first)
        if self.checks is not None:
            at = checks_before(self.macro, self.ideal.layout, place[1])
            self.checks[first_row : first_row + len(made), at : at + further] = made[:, data:]
        block.finish()
        if block.pulses is not None:
            self.writes[place] = Pulses(block.pulses, block.row_pulses or 0)
        self.blocks[place] = block

    def _checks_of(self, col_block: int) -> int:
        """Checksum columns of a column block."""
        first, stop = self.ideal.layout.col_blocks[col_block]
        return self.macro.checks_of((stop - first) * self.macro.columns_per_output)

    def _lines(self, site: Site, targets: NDArray[np.uint8], programmed: NDArray[np.bool_]) -> Lines | None:
        """Where the lines of the block's macro are; None where none of the block's is replaced."""
        if not has_spares(self.macro):
            return None
        array = self._told(site, targets, programmed)
        lines = repaired(array, stuck_levels(self.variations, self.macro, site.macro, site.write), self.macro)
        own = Lines(
            lines.rows[: len(targets)], lines.columns[site.first_column :][: targets.shape[1]] - site.first_column
        )
        return lines if any(own.moved) else None

    def _repair(self, block: Block, lines: Lines) -> None:
        """Write the block's cells, those of replaced lines into their spares: all of the macro by the same draws."""
        rows, columns = lines.rows[: len(block.levels)], lines.columns[block.first_column :][: block.levels.shape[1]]
        targets, programmed = block.targets, ~block.erased
        stay = (rows < self.macro.rows)[:, None] & (columns < self.macro.columns)
        block.programmed = programmed & stay
        block.targets = np.where(stay, targets, 0).astype(np.uint8)
        block.levels[:] = block.targets
        for model, stream in self.variations.at("cells"):
            model.write(block, stream)
        array = self._told(Site(block.macro, block.first_column, block.write), targets, programmed)
        whole = written_array(self.variations, lines.told(array, self.macro), block)
        block.levels[:] = whole.levels[np.ix_(rows, columns)]
        block.targets, block.programmed = targets, programmed

    def _keep(self, made: NDArray[np.int64], row: int, column: int) -> None:
        kind = np.promote_types(narrowest(made), self.cells.dtype)
        with self.lock:
            if kind != self.cells.dtype:
                self.cells = self.cells.astype(np.promote_types(kind, self.cells.dtype))
            self.cells[row : row + made.shape[0], column : column + made.shape[1]] = made

    def _told(self, site: Site, targets: NDArray[np.uint8], programmed: NDArray[np.bool_]) -> Array:
        """What all cells of a block's macro were told: those of other blocks too, where these are known."""
        array = self.shared.get((site.macro, site.write))
        if array is None:
            array = Array.of(self.macro)
            array.add(site.first_column, self.macro, targets, programmed)
        return array

    def _array(self, block: Block) -> NDArray[np.float64]:
        """Conductances of all cells of the block's macro: other blocks' by the same draws, unused cells at level 0."""
        site = Site(block.macro, block.first_column, block.write)
        return written_array(self.variations, self._told(site, block.targets, ~block.erased), block).levels

    def finish(self) -> Matrix:
        """The matrix of these cells."""
        ideal, macro, layout = self.ideal, self.macro, self.ideal.layout
        surroundings = Surroundings(ideal, self.sites, self.variations, macro, self.blocks)
        references = surroundings.references()
        check_accumulator(macro, references, False, ideal.adc)
        matrix = replace(
            ideal,
            macro=macro,
            cells=self.cells,
            references=references,
            affine=tuple(None for _ in layout.row_blocks),
            row_levels=self._row_levels(),
            checks=self._checks(),
            psum_range=psum_range(
                lambda rows: fixed_seen(self.cells[rows], ideal.columns), layout, macro, 2**macro.cell.fraction_bits
            ),
            noise=surroundings.noise(),
            traps=surroundings.traps(self.cells),
            base=surroundings.base() if references is None else None,
            bow=surroundings.bow(self.cells),
            gated=gated_reads(macro, layout, self.blocks),
            kept_switches=ideal.switches if surroundings.moves_thresholds else None,
            values=None if ideal.scale is None or references is None else scaled_references(references, ideal.scale),
        )
        if self.checks is not None:
            check_whole(matrix, self.checks)
        if matrix.has_reference_column:
            matrix.row_levels[:] += matrix.unit * reference_cells_per_row(matrix)
        return matrix

    def _row_levels(self) -> NDArray[np.int64]:
        """Levels x 2^fraction_bits above level 0 of a row's cells: what level 0 conducts has its own price (`costs.cell`)."""
        columns, held = self.cells.shape[1], self.cells.sum(axis=1)
        if self.checks is not None:
            columns, held = columns + self.checks.shape[1], held + self.checks.sum(axis=1)
        leakage = self.variations.leakage(2**self.macro.cell.bits - 1) * columns
        off = round(leakage * 2**self.macro.cell.fraction_bits)
        return np.asarray(np.maximum(held - off, 0))

    def _checks(self) -> Checks | None:
        """The checksum columns with the cells that were written."""
        known = self.ideal.checks
        if known is None or self.checks is None:
            return None
        return replace(known, cells=self.checks, unit=2**self.macro.cell.fraction_bits)


def written_array(variations: Variations, array: Array, block: Block) -> Block:
    """All cells of a macro as its models write them; `block` is one of the macro's."""
    whole = Block(
        levels=array.targets.astype(np.float64),
        targets=array.targets,
        programmed=array.programmed,
        top=block.top,
        macro=block.macro,
        first_column=0,
        write=block.write,
        leakage=block.leakage,
    )
    for model, stream in variations.at("cells"):
        model.write(whole, stream)
    return whole


def told(ideal: Matrix, place: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Ideal levels of a block, and which of its cells are programmed: all but those off the diagonal of packed groups.

    Checksum columns are behind the others.
    """
    layout, per_output = ideal.layout, ideal.macro.columns_per_output
    rows = slice(*layout.row_blocks[place[0]])
    first, stop = layout.col_blocks[place[1]]
    targets = np.ascontiguousarray(ideal.levels_of(rows, slice(first, stop)))
    inside = ideal.inside(rows, slice(first, stop))
    programmed = np.ones(targets.shape, dtype=np.bool_) if inside is None else np.repeat(inside, per_output, axis=1)
    if ideal.checks is None:
        return targets, programmed
    at = checks_before(ideal.macro, layout, place[1])
    further = ideal.checks.cells[rows, at : at + ideal.macro.checks_of(targets.shape[1])]
    every = np.ones(further.shape, dtype=np.bool_)
    return np.concatenate([targets, further], axis=1), np.concatenate([programmed, every], axis=1)


def varied_macro(macro: Macro, variations: Variations) -> Macro:
    """`macro` with the fraction bits that the variations need. ArchError where they do not fit its cells."""
    top = 2**macro.cell.bits - 1
    variations.check(top)
    if variations and macro.weight.column_flipping:
        raise ArchError("weight.column_flipping with varied cells: not defined, turn one of them off")
    lines = [name_of(model) for model, _ in variations.at("lines")]
    if lines and macro.weight.correction == "reference_column":
        raise ArchError(f"--vary {lines[0]} with a reference column: not defined, use weight.correction digital")
    if variations and has_spares(macro):
        _check_repair(variations)
    if variations and macro.repair.checksum_columns:
        _check_checksums(variations)
    bits = variations.fraction_bits(macro.cell.fraction_bits, top)
    return macro.model_copy(update={"cell": macro.cell.model_copy(update={"fraction_bits": bits})})


def _check_repair(variations: Variations) -> None:
    """ArchError for what is not defined on cells that lie elsewhere."""
    for stage in ("wires", "lines"):
        for model, _ in variations.at(stage):
            raise ArchError(
                f"--vary {name_of(model)} with macro.repair: the wires of spare lines are not defined; set "
                "macro.repair.spare_rows and spare_columns to 0"
            )


def _check_checksums(variations: Variations) -> None:
    """ArchError for what is not drawn of checksum columns."""
    for stage in ("wires", "drivers", "lines", "read", "converter", "calibration"):
        for model, _ in variations.at(stage):
            raise ArchError(
                f"--vary {name_of(model)} with macro.repair.checksum_columns: only models of cells act on them; leave it out, "
                "or set macro.repair.checksum_columns to 0"
            )


def refuse_pulses(block: Block, macro: Macro) -> None:
    """ArchError where write pulses were counted of a macro with spares, whose are not."""
    if block.pulses is not None and has_spares(macro):
        raise ArchError(
            "macro.repair with write pulses that are counted (--vary write_verify): those of spare cells are not; set "
            "macro.repair.spare_rows and spare_columns to 0"
        )


def start_draft(ideal: Matrix, sites: Sites, variations: Variations) -> Draft:
    """Begin to write `ideal`'s levels into the cells at `sites`."""
    return Draft(
        ideal=ideal,
        sites=sites,
        variations=variations,
        macro=varied_macro(ideal.macro, variations),
        cells=np.empty((ideal.layout.rows, ideal.layout.outputs * ideal.macro.columns_per_output), dtype=np.int16),
        blocks={},
        writes={},
        checks=None if ideal.checks is None else np.zeros(ideal.checks.cells.shape, dtype=np.int64),
    )


def share_arrays(drafts: Iterable[Draft]) -> None:
    """Tell drafts what other blocks their macros hold, by (macro, earlier writes of it)."""
    given = list(drafts)
    arrays: dict[tuple[int, int], Array] = {}
    for draft in given:
        if not (draft.variations.at("wires") or has_spares(draft.macro)):
            continue
        for place, site in draft.sites.items():
            array = arrays.setdefault((site.macro, site.write), Array.of(draft.macro))
            array.add(site.first_column, draft.macro, *told(draft.ideal, place))
    for draft in given:
        draft.shared = arrays


def vary_matrix(ideal: Matrix, sites: Sites, variations: Variations) -> Matrix:
    """`ideal` as the variations make it; itself where none is active."""
    if not variations:
        return ideal
    draft = start_draft(ideal, sites, variations)
    for task in draft.tasks():
        task()
    return draft.finish()
