"""Levels and their sums by a table of all weights: what the encoding gives, weight by weight."""

import numpy as np
import pytest

import cimemu
from cimemu.engines.programmed import program
from cimemu.macro.levels import level_table

WIDTHS = [
    ("twos_complement", 8, 1),
    ("twos_complement", 9, 1),
    ("offset", 8, 2),
    ("offset", 5, 4),
    ("offset", 3, 3),
    ("differential", 8, 1),
    ("differential", 6, 4),
    ("binary", 1, 1),
]


def macro_of(encoding, weight_bits, cell_bits, **more):
    changes = {"encoding": encoding, "bits": weight_bits, **more}
    return cimemu.load_arch(
        "rram_128", {**{f"macro.weight.{key}": value for key, value in changes.items()}, "macro.cell.bits": cell_bits}
    ).macro


@pytest.mark.parametrize(("encoding", "weight_bits", "cell_bits"), WIDTHS)
@pytest.mark.parametrize("grouped", [False, True])
def test_levels_and_sums_are_those_of_the_encoding(encoding, weight_bits, cell_bits, grouped):
    macro, rng = macro_of(encoding, weight_bits, cell_bits), np.random.default_rng(weight_bits)
    stored = list(macro.encoding.values(weight_bits))
    rows, outputs = 300, 37
    weights = rng.choice(stored, (rows, outputs)).astype(np.int16)
    weights[:260, 0] = max(
        stored, key=lambda w: sum(macro.encoding.digits(w, weight_bits, cell_bits))
    )  # bytes at their top
    inside = None
    if grouped:
        inside = (np.arange(rows) // 100)[:, None] == (np.arange(outputs) // 13)[None, :]
        weights = weights * inside
    digits = [[list(macro.encoding.digits(int(w), weight_bits, cell_bits)) for w in row] for row in weights]
    expected = np.array(digits, dtype=np.int64)
    if inside is not None:
        expected *= inside[:, :, None]
    table = level_table(macro)
    for held in (weights, np.asfortranarray(weights)):
        assert np.array_equal(table.levels(held, inside), expected.reshape(rows, -1))
        spans = [(0, 260), (260, 261), (261, 300)]
        of_rows, most = table.sums(held, inside, spans)
        assert np.array_equal(of_rows, expected.sum(axis=(1, 2)))
        assert most == max(expected[a:b].sum(axis=0).max() for a, b in spans)


@pytest.mark.parametrize("more", [{}, {"combine": "analog"}, {"column_flipping": True}])
@pytest.mark.parametrize(("encoding", "cell_bits"), [("offset", 2), ("offset", 1)])
def test_a_matrix_makes_any_part_of_its_levels(encoding, cell_bits, more):
    macro = macro_of(encoding, 8, cell_bits, **more)
    if more.get("combine") == "analog":
        macro = cimemu.load_arch("rram_128", {"macro.weight.combine": "analog", "macro.adc.bits": 12}).macro
    weights = np.random.default_rng(1).integers(-128, 128, (200, 9))
    matrix = program(weights, macro).matrix
    wide, rows, outputs = macro.columns_per_output, slice(7, 150), slice(2, 6)
    assert np.array_equal(matrix.levels_of(rows, outputs), matrix.levels[rows, 2 * wide : 6 * wide])
    assert np.array_equal(matrix.seen_of(rows), matrix.seen[rows])
    assert matrix.seen.shape[1] == matrix.seen_columns
    assert np.array_equal(
        matrix.row_levels - (len(matrix.layout.col_blocks) if matrix.has_reference_column else 0),
        matrix.levels.sum(axis=1, dtype=np.int64),
    )
    lows, highs = zip(
        *(
            (np.minimum(part, 0).sum(axis=0).min(), np.maximum(part, 0).sum(axis=0).max())
            for part in (matrix.seen[a:b].astype(np.int64) for a, b in zip(matrix.starts, matrix.stops))
        )
    )
    assert matrix.psum_range == (min(lows), max(highs))  # one bit a slice
    kept = matrix.levels
    matrix.forget()
    assert "levels" not in vars(matrix)
    assert "seen" not in vars(matrix)
    assert np.array_equal(matrix.levels, kept)


def test_a_read_only_matrix_is_not_copied_and_another_one_is():
    macro = macro_of("twos_complement", 8, 1)
    weights = np.random.default_rng(2).integers(-128, 128, (30, 5)).astype(np.int16)
    copied = program(weights, macro).matrix.weights
    assert not np.shares_memory(copied, weights)
    weights.flags.writeable = False
    assert program(weights, macro).matrix.weights is weights
