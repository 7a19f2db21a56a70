"""Tables of six places in registers of 64 bytes against their naive twins, and against tables of four."""

import numpy as np
import pytest
from amounts import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lanes import drawn_noise
from twins import SEEDS, both, common

import cimemu
from cimemu.engines.lookup import convert_kernels, six_kernels
from cimemu.engines.lookup.draws import tables_of_draws
from cimemu.engines.lookup.engine import LOOKUP
from cimemu.engines.programmed import program
from cimemu.lanes import broad
from cimemu.macro.read_noise import ReadNoise

pytestmark = pytest.mark.skipif(not broad.HAS_BROAD, reason="the processor has no AVX-512 with VBMI, VNNI and GFNI")


def places(rng, count, wide):
    """(source, inputs): bits of rows, some of them none."""
    source = rng.integers(0, 9, (count, 6)) * 16 + rng.integers(0, 2, (count, 6))
    source[rng.random((count, 6)) < 0.1] = -1
    kind = np.uint16 if wide else np.uint8
    return source, rng.integers(0, np.iinfo(kind).max + 1, (70, 9)).astype(kind)


@given(SEEDS)
@common
def test_parts(seed):
    rng = np.random.default_rng(seed)
    source, x = places(rng, 5, bool(rng.integers(0, 2)))
    slices, per_unit, dac_bits = int(rng.integers(1, 9)), int(rng.integers(1, 5)), int(rng.integers(1, 3))
    units = -(-slices // per_unit)
    numbers, column = (slices, dac_bits, per_unit, x.itemsize), np.zeros((6, 32), np.uint16)
    turned = rng.integers(0, 256, (3, 32, 32)).astype(np.uint8)
    indices = np.ones((3, 5, units, 4, 32), np.uint16)
    both(
        lambda o: six_kernels.index_sixes(turned, source, numbers, column, o),
        lambda o: six_kernels.index_sixes_naive(turned, source, numbers, column, o),
        indices,
    )
    six_kernels.index_sixes_naive(turned, source, numbers, column, indices)
    values = rng.integers(-5000, 5000, (11, 5, 6)).astype(rng.choice([np.int16, np.int32]))
    tables = np.zeros((six_kernels.SIX_COLUMNS, 4, 64), np.uint16)
    both(
        lambda o: six_kernels.fill_sixes(values, (3, 11), (1, 5), o),
        lambda o: six_kernels.fill_sixes_naive(values, (3, 11), (1, 5), o),
        tables,
    )
    six_kernels.fill_sixes_naive(values, (3, 11), (1, 5), tables)
    psums = np.zeros((six_kernels.SIX_COLUMNS, 4, 32), np.uint16)
    both(
        lambda o: six_kernels.sum_sixes(indices, tables, (2, units - 1), (1, 5), 8, o),
        lambda o: six_kernels.sum_sixes_naive(indices, tables, (2, units - 1), (1, 5), 8, o),
        psums,
    )
    psums[:] = rng.integers(0, 65536, psums.shape)
    rules = rng.integers(0, 65536, (int(rng.choice([1, 11])), 4)).astype(np.uint16)
    rules[:, 2:] *= rng.integers(0, 2, 2).astype(np.uint16)
    weights, top = rng.integers(-8, 9, 4), int(rng.integers(0, 256))
    both(
        lambda o: six_kernels.affine_sixes(psums, (3, 10), rules, top, weights, 1, o),
        lambda o: six_kernels.affine_sixes_naive(psums, (3, 10), rules, top, weights, 1, o),
        np.zeros((11, 96), np.uint16),
    )


@pytest.mark.slow
@settings(common, max_examples=6)
@given(SEEDS)
def test_whole_passes(seed):
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 64, (2, 6, 2, 4, 32)).astype(np.uint16)
    values = rng.integers(-50, 500, (10, 6, 6)).astype(np.int32)
    spans, weights, bits = np.array([[0, 4], [4, 6]]), rng.integers(-8, 9, (2, 4)), int(rng.integers(1, 6))
    thresholds = np.sort(rng.integers(0, 9000, (2, 10, 2**bits - 1)), axis=2)
    tree = convert_kernels.search_tree(thresholds, 32768)
    halves = np.stack([tree & 255, tree >> 8], axis=2).astype(np.uint8)
    rules = rng.integers(0, 9, (2, 1, 4)).astype(np.uint16)
    table = rng.integers(0, 256, (1, int(rng.choice([0, 1, 10])), 256)).astype(np.uint8)
    count = six_kernels.SIX_COLUMNS
    scratch = (
        np.zeros((count, 4, 64), np.uint16),
        np.zeros((count, 4, 32), np.uint16),
        np.zeros((count, 4, 32), np.uint8),
        np.zeros((2, 2, 32), np.uint32),
        np.zeros((4, 32), np.uint32),
        np.zeros((4, 8, 32), np.uint16),
    )
    linear = (rules, 2**bits - 1, weights)
    for search in (None, (halves, bits, table)):
        noise = (None, drawn_noise(rng, 0, 2, 10), drawn_noise(rng, 1, 2, 10))[int(rng.integers(3))]
        tables = None if noise is None or len(noise[2]) == 0 else tables_of_draws(*noise[:3])
        both(
            lambda o, k=search, n=noise, t=tables: six_kernels.convert_by_sixes(
                indices, (values, spans), linear, k, n, t, scratch, o
            ),
            lambda o, k=search, n=noise: six_kernels.convert_by_sixes_naive(
                indices, (values, spans), linear, k, n, None, scratch, o
            ),
            np.zeros((2, 2, 10, 64), np.uint16),
        )


@given(SEEDS)
@common
def test_many_places_are_summed_in_parts(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(six_kernels.AT_ONCE + 1, 3 * six_kernels.AT_ONCE))
    indices = rng.integers(0, 64, (1, count, 1, 4, 32)).astype(np.uint16)
    tables = rng.integers(0, 900, (six_kernels.SIX_COLUMNS, count, 64)).astype(np.uint16)
    both(
        lambda o: six_kernels.sum_sixes(indices, tables, (0, 0), (0, count), 8, o),
        lambda o: six_kernels.sum_sixes_naive(indices, tables, (0, 0), (0, count), 8, o),
        np.zeros((six_kernels.SIX_COLUMNS, 4, 32), np.uint16),
    )


@drawn(st.integers(0, 2**32 - 1), few=12, many=30)
def test_tables_of_six_and_of_four_give_the_same_bytes(seed):
    rng = np.random.default_rng(seed)
    changes = {
        "macro.adc.bits": int(rng.integers(2, 8)),
        "macro.adc.lsb": float(rng.choice([1, 2.5])),
        "macro.input.bits": int(rng.choice([3, 8, 9])),
        "macro.input.dac_bits": int(rng.choice([1, 2])),
        "macro.active_rows": int(rng.choice([128, 50])),
        "macro.weight.encoding": str(rng.choice(["twos_complement", "differential"])),
        "macro.cell.fraction_bits": int(rng.integers(4, 8)),
    }
    macro = cimemu.load_arch("rram_128", changes).macro
    w = rng.integers(-127, 128, (int(rng.integers(1, 200)), 5))
    x = rng.integers(0, 2**macro.input.bits, (int(rng.integers(1, 80)), len(w)))
    ideal = program(w, macro).matrix
    cells = ideal.levels * np.exp(rng.normal(0, 0.2, ideal.levels.shape))
    noise = ()
    if rng.random() < 0.5:
        shape = (len(ideal.layout.row_blocks), ideal.seen.shape[1])
        noise = (ReadNoise(np.full(shape, 7, np.uint64), np.arange(shape[1]) % 128, rng.integers(0, 9999, shape)),)
    fast = program(w, macro, cells=cells, noise=noise)
    made = fast.run(x, path="serial")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broad, "HAS_BROAD", False)
        narrow = program(w, macro, cells=cells, noise=noise)
        assert narrow.run(x, path="serial").y.tobytes() == made.y.tobytes()
        assert getattr(narrow.prepared(LOOKUP), "sixes", None) is None
    assert program(w, macro, cells=cells, noise=noise).run(x, path="naive").y.tobytes() == made.y.tobytes()


def test_cells_that_vary_are_looked_up_six_at_a_time():
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 6}).macro
    w = np.random.default_rng(0).integers(-127, 128, (128, 4))
    cells = program(w, macro).matrix.levels * 1.01
    made = program(w, macro, cells=cells).prepared(LOOKUP)
    assert made.sixes.values.shape == (32, 22, 6)
    assert made.low.size == 0
