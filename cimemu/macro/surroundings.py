"""What variation models change around the cells of a matrix: thresholds, read noise, stuck lines, bowed drivers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.macro.encode import fixed_seen
from cimemu.macro.matrix import Matrix
from cimemu.macro.read_noise import ReadNoise, quantised_sigma
from cimemu.macro.references import References, column_steps, make_references
from cimemu.macro.sites import Site, Sites
from cimemu.macro.traps import Traps
from cimemu.variation.base import Block, Stream
from cimemu.variation.compose import Variations

Place = tuple[int, int]  # (row block, column block)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The written blocks of one matrix, and what they give besides cells."""

    ideal: Matrix
    sites: Sites
    variations: Variations
    macro: Macro
    blocks: dict[Place, Block]

    @property
    def converters(self) -> list[tuple[Any, Stream]]:
        """Active converter models."""
        return self.variations.at("converter")

    @property
    def moves_thresholds(self) -> bool:
        """Whether columns get thresholds of their own."""
        return bool(self.converters or self.variations.at("lines"))

    @property
    def shape(self) -> tuple[int, int]:
        """[row blocks, converted columns]."""
        return len(self.ideal.layout.row_blocks), self.ideal.seen_columns

    def spans(self, row_block: int | None = None) -> Iterator[tuple[Place, Site, slice]]:
        """(place, site, its converted columns) of every block, or of those of a row block."""
        for place, site in self.sites.items():
            if row_block in (None, place[0]):
                first, stop = (v * self.macro.conversions_per_output for v in self.ideal.layout.col_blocks[place[1]])
                yield place, site, slice(first, stop)

    def references(self) -> tuple[References, ...] | None:
        """Thresholds of every column: its converter's own, below what stuck lines always add."""
        macro = self.macro
        made = make_references(
            self.ideal.adc,
            self.ideal.layout,
            macro.conversions_per_output,
            macro.cell.fraction_bits,
            self._distorted if self.moves_thresholds else None,
        )
        base = self.base()
        if made is None or base is None:
            return made
        return tuple(replace(r, thresholds=r.thresholds - base[b][:, None]) for b, r in enumerate(made))

    def _distorted(
        self, row_block: int, thresholds: NDArray[np.float64], lsb: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        for model, stream in self.converters:
            for _, site, columns in self.spans(row_block):
                numbers = self.numbers(site, columns)
                thresholds[columns] = model.distorted(thresholds[columns], lsb[columns], site.macro, numbers, stream)
        return thresholds

    def numbers(self, site: Site, columns: slice) -> NDArray[np.int64]:
        """The converter in its macro of each of a block's columns."""
        macro = self.macro
        first = site.first_column * macro.conversions_per_output // macro.columns_per_output
        return (first + np.arange(columns.stop - columns.start)) // macro.columns_per_adc

    def base(self) -> NDArray[np.int64] | None:
        """What every conversion sees besides its inputs [row blocks, converted columns]; None: nothing."""
        if not self.variations.at("lines"):
            return None
        scale = 2.0**self.macro.cell.fraction_bits
        made = np.zeros(self.shape, dtype=np.int64)
        for place, _, columns in self.spans():
            stored = np.rint(self.blocks[place].always * scale).astype(np.int64)
            made[place[0], columns] = (
                stored.reshape(-1, self.macro.columns_per_output) @ self.ideal.columns.mix.T
            ).ravel()
        return made

    def bow(self, cells: NDArray[np.integer]) -> tuple[NDArray[np.int64], ...]:
        """For every slice value, what a row driven with it adds to `value x cell` [K, converted columns]."""
        bow = next(iter(self.blocks.values())).bow
        if not bow.any():
            return ()
        extra = (np.rint(cells * more).astype(np.int64) for more in bow)
        return tuple(fixed_seen(more, self.ideal.columns).astype(np.int64) for more in extra)

    def noise(self) -> tuple[ReadNoise, ...]:
        """Sources of read noise: those of the cells, then those of the converters."""
        mix = self.ideal.columns.mix.astype(np.float64) ** 2
        made = []
        first = next(iter(self.blocks.values()))
        for number, (stream, _) in enumerate(first.reads):
            sigma = np.zeros(self.shape)
            for place, _, columns in self.spans():
                variance = self.blocks[place].reads[number][1].reshape(-1, self.macro.columns_per_output)
                sigma[place[0], columns] = np.sqrt(
                    sum(variance[:, s, None] * mix[:, s] for s in range(mix.shape[1]))
                ).ravel()
            made.append(self._source(stream, sigma))
        steps = self._steps() if self.converters else np.zeros(self.shape)
        made += [self._source(stream, model.noise * steps) for model, stream in self.converters if model.noise]
        return tuple(made)

    def traps(self, cells: NDArray[np.integer]) -> tuple[Traps, ...]:
        """Sources of trap noise; a filled trap takes its share of the cell as it was written, rounded once."""
        first = next(iter(self.blocks.values()))
        made = []
        for number, kind in enumerate(first.traps):
            keys = np.zeros((self.shape[0], cells.shape[1]), dtype=np.uint64)
            columns = np.zeros(cells.shape[1], dtype=np.int64)
            swing = np.zeros(cells.shape, dtype=np.int64)
            for place, site in self.sites.items():
                first_row, last_row = self.ideal.layout.row_blocks[place[0]]
                mine = slice(*(v * self.macro.columns_per_output for v in self.ideal.layout.col_blocks[place[1]]))
                loss = self.blocks[place].traps[number].loss
                swing[first_row:last_row, mine] = np.rint(cells[first_row:last_row, mine] * loss)
                keys[place[0], mine] = kind.stream.read_key(site.macro, site.first_column, site.write)
                columns[mine] = np.arange(mine.stop - mine.start)
            made.append(Traps(keys, columns, swing, kind.chance, kind.hold))
        return tuple(made)

    def _steps(self) -> NDArray[np.float64]:
        """LSBs of the converters without their errors [row blocks, converted columns]; 0 for ideal converters."""
        plain = make_references(self.ideal.adc, self.ideal.layout, self.macro.conversions_per_output, 0)
        if plain is None:
            return np.zeros(self.shape)
        exact = [column_steps(r.levels[:, 1:], r.lsb) for r in plain]
        return np.stack([np.broadcast_to(step, self.shape[1]) for step in exact])

    def _source(self, stream: Stream, sigma: NDArray[np.float64]) -> ReadNoise:
        keys = np.zeros(self.shape, dtype=np.uint64)
        numbers = np.zeros(self.shape[1], dtype=np.int64)
        for place, site, columns in self.spans():
            keys[place[0], columns] = stream.read_key(site.macro, site.first_column, site.write)
            numbers[columns] = np.arange(columns.stop - columns.start)
        return ReadNoise(keys, numbers, quantised_sigma(sigma, self.macro.cell.fraction_bits))
