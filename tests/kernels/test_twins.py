"""Every kernel equals its naive twin on random arrays."""

import importlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import SEEDS, both, common

from cimemu.engines.packed import kernels as mvm_packed
from cimemu.engines.packed import pack_kernels as pack
from cimemu.engines.packed import tile_kernels as tile
from cimemu.kernels import cells, noise, read_noise
from cimemu.lanes import popcount
from cimemu.lanes.jit import JIT_DISABLED, PACKAGE, kernel, kernel_files
from cimemu.macro import combine_kernels
from cimemu.macro import convert_kernels as convert
from cimemu.macro import trap_kernels as traps
from cimemu.macro import words as word_cells
from cimemu.mapping import step_kernels as steps
from cimemu.variation import line_kernels as wires

# The event engine's slow twin is the SimPy model: tests/timing/test_engines.py compares them.
ENGINE = {
    "push",
    "pop",
    "enqueue",
    "dequeue",
    "touch",
    "keep_last",
    "arrive",
    "admit",
    "charge",
    "begin",
    "finish",
    "advance",
}


def kernels():
    """(module, kernel name) of every kernel in the package."""
    for path in kernel_files():
        module = ".".join(("cimemu", *path.relative_to(PACKAGE).with_suffix("").parts))
        for line, after in pairwise(path.read_text().splitlines()):
            if line.strip() in ("@kernel", "@inlined"):
                yield module, after.split("(")[0].removeprefix("def ")


MODULES = sorted({module for module, _ in kernels()})


@pytest.mark.parametrize(("module", "name"), list(kernels()))
def test_a_kernel_has_a_twin_and_a_test_that_names_both(module, name):
    if name in ENGINE and module == "cimemu.timing.kernels.engine":
        return
    assert hasattr(importlib.import_module(module), f"{name}_naive")
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert f".{name}_naive" in tests
    assert f".{name}(" in tests


def test_no_two_kernels_have_one_name():
    names = [name for _, name in kernels()]
    assert sorted(names) == sorted(set(names))
    assert len(names) > 90


def dispatchers():
    """(module, name) of everything in the package's files that numba compiles."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "numba" not in (text := path.read_text()) and "lanes.jit import" not in text:
            continue
        module = importlib.import_module(".".join(("cimemu", *path.relative_to(PACKAGE).with_suffix("").parts)))
        for name, value in vars(module).items():
            plain = getattr(value, "py_func", None)
            if plain is not None and plain.__module__ == module.__name__:
                yield module.__name__, name


@pytest.mark.skipif(JIT_DISABLED, reason="without the compiler kernels are plain functions: the list above is all")
def test_every_compiled_function_is_in_the_list_of_kernels():
    assert set(dispatchers()) == set(kernels())


def test_a_kernel_outside_the_files_that_the_stamp_covers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cimemu.lanes.jit.PACKAGE", tmp_path)
    names = {}
    exec(compile("def twice(x):\n    return 2 * x", str(tmp_path / "room.py"), "exec"), names)
    with pytest.raises(RuntimeError, match=r"room.py: a kernel outside the files .* name the file \*_kernels.py"):
        kernel(names["twice"])


def test_no_twin_is_left_without_its_kernel():
    names = {name for _, name in kernels()} | {"popcount"}
    for module in MODULES:
        for name in vars(importlib.import_module(module)):
            assert not name.endswith("_naive") or name.removesuffix("_naive") in names


@kernel
def popcount_of(word):
    return popcount.popcount(word)


@given(st.integers(0, 2**64 - 1))
@common
def test_popcount(word):
    assert popcount_of(np.uint64(word)) == popcount.popcount_naive(word)


def spans(rng, rows):
    cuts = np.unique(rng.integers(0, rows, rng.integers(0, 4)))
    edges = [0, *[c for c in cuts if c > 0], rows]
    return np.array(edges[:-1], dtype=np.int64), np.array(edges[1:], dtype=np.int64)


@given(SEEDS)
@common
def test_pack_inputs(seed):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 150))
    x = rng.integers(0, 256, (3, rows)).astype(np.uint8)
    starts, stops = spans(rng, rows)
    words = np.ones((3, len(starts), int(rng.integers(1, 9)), -(-int((stops - starts).max()) // 64)), dtype=np.uint64)
    both(
        lambda o: pack.pack_inputs(x, starts, stops, o),
        lambda o: pack.pack_inputs_naive(x, starts, stops, o),
        words,
    )


@given(SEEDS)
@common
def test_pack_cells_sets_one_bit_a_row(seed):
    rng = np.random.default_rng(seed)
    rows, columns, planes = int(rng.integers(1, 150)), int(rng.integers(1, 6)), int(rng.integers(1, 5))
    levels = rng.integers(0, 2**planes, (rows, columns)).astype(np.uint8)
    starts, stops = spans(rng, rows)
    packed = word_cells.pack_cells(levels, starts, stops, planes, -(-int((stops - starts).max()) // 64))
    for g, a, w, c in np.ndindex(*packed.shape):
        inside = [starts[g] + 64 * w + j for j in range(64)]
        expected = sum(((int(levels[r, c]) >> a) & 1) << j for j, r in enumerate(inside) if r < stops[g])
        assert int(packed[g, a, w, c]) == expected


@given(SEEDS)
@common
def test_converters(seed):
    rng = np.random.default_rng(seed)
    points, columns = 4, int(rng.integers(1, 9))
    psums = rng.integers(-40, 300, (points, columns))
    rows = int(rng.choice([1, columns]))
    thresholds = np.sort(rng.integers(-50, 310, (rows, int(rng.integers(1, 63)))), axis=1)
    codes = np.zeros((points, columns), dtype=np.int32)
    both(
        lambda o: convert.search_codes(psums, thresholds, o),
        lambda o: convert.search_codes_naive(psums, thresholds, o),
        codes,
    )
    gain, bias = rng.integers(1, 2**20, columns), rng.integers(-(2**24), 2**24, columns)
    both(
        lambda o: convert.affine_codes(psums, gain, bias, 16, 63, o),
        lambda o: convert.affine_codes_naive(psums, gain, bias, 16, 63, o),
        codes,
    )
    codes = rng.integers(0, 8, (points, columns)).astype(np.int32)
    active = rng.integers(0, 2, points).astype(bool)
    sums = rng.integers(-100, 100, (points, columns))
    both(
        lambda o: convert.add_weighted(codes, -128, active, o),
        lambda o: convert.add_weighted_naive(codes, -128, active, o),
        sums,
    )
    by_code = rng.integers(-100, 100, (points, columns, 8))
    both(
        lambda o: convert.add_by_code(codes, 64, active, o),
        lambda o: convert.add_by_code_naive(codes, 64, active, o),
        by_code,
    )


@given(SEEDS)
@common
def test_combine(seed):
    rng = np.random.default_rng(seed)
    outputs, conversions, blocks = int(rng.integers(1, 6)), int(rng.integers(1, 9)), int(rng.integers(1, 4))
    padding = int(rng.integers(0, 16))
    dtype = rng.choice([np.int32, np.int64])
    sums = rng.integers(-(2**20), 2**20, (3, blocks, outputs * conversions + padding)).astype(dtype)
    weight, slice_sums = rng.integers(-128, 129, conversions), rng.integers(0, 256, blocks)
    both(
        lambda o: combine_kernels.combine_integer(sums, weight, 3, -2, slice_sums, o),
        lambda o: combine_kernels.combine_integer_naive(sums, weight, 3, -2, slice_sums, o),
        np.zeros((3, outputs), dtype=np.int64),
    )


@given(SEEDS)
@common
def test_level_sums(seed):
    rng = np.random.default_rng(seed)
    columns, codes = int(rng.integers(1, 5)), int(rng.integers(2, 17))
    counts = rng.integers(-(2**40), 2**40, (3, columns, codes))
    levels = rng.choice([0.1, 0.7, 1.3, 2.9, 1e6, 1 / 3], (int(rng.choice([1, columns])), codes))
    order = np.argsort(levels, axis=1, kind="stable")
    ordered = np.take_along_axis(levels, order, axis=1)
    both(
        lambda o: combine_kernels.level_sums(counts, order, ordered, o),
        lambda o: combine_kernels.level_sums_naive(counts, order, ordered, o),
        np.zeros((3, columns)),
    )


@given(SEEDS)
@common
def test_read_noise(seed):
    rng = np.random.default_rng(seed)
    columns = int(rng.integers(1, 30))
    keys = np.repeat(rng.integers(0, 2**63, columns).astype(np.uint64), 9)[:columns]
    numbers = int(rng.integers(0, 9)) + np.arange(columns)
    sigma = rng.integers(0, 2**20, columns)
    reads = np.array([rng.integers(0, 2**40), rng.integers(1, 9), rng.integers(1, 4), rng.integers(0, 4)])
    group, step = int(rng.integers(0, 9)), int(rng.integers(0, 9))
    both(
        lambda o: read_noise.add_read_noise(o, keys, numbers, sigma, reads, group, step, noise.normal_quantiles()),
        lambda o: read_noise.add_read_noise_naive(
            o, keys, numbers, sigma, reads, group, step, noise.normal_quantiles()
        ),
        rng.integers(-100, 100, (4, columns)),
    )


@given(SEEDS)
@common
def test_traps(seed):
    rng = np.random.default_rng(seed)
    rows, octets = int(rng.integers(1, 20)), int(rng.integers(1, 4))
    pieces = rng.integers(0, 4, (5, rows)).astype(np.uint16)
    swing = rng.integers(0, 2**10, (rows, octets, 8)) * rng.integers(0, 2, (rows, octets, 1))
    keys, numbers = rng.integers(0, 2**63, octets).astype(np.uint64), rng.integers(0, 99, octets)
    reads = np.array([rng.integers(0, 2**40), rng.integers(1, 9), rng.integers(1, 4), rng.integers(0, 4)])
    chance, first_row, step = int(rng.integers(0, 2**16 + 1)), int(rng.integers(0, 999)), int(rng.integers(0, 9))
    given = pieces, (swing, swing.any(axis=2), keys, numbers, chance), (first_row, step, bool(seed % 2)), reads
    both(
        lambda o: traps.take_losses(*given, o),
        lambda o: traps.take_losses_naive(*given, o),
        rng.integers(-100, 100, (5, octets, 8)),
    )


@given(SEEDS)
@common
def test_skipped_steps(seed):
    rng = np.random.default_rng(seed)
    nonzero = rng.integers(0, 2, (5, int(rng.integers(1, 12)))).astype(bool)
    drive, convert_, skip, shift_add = (int(v) for v in rng.integers(0, 9, 4))
    for overlap in (False, True):
        both(
            lambda o, v=overlap: steps.step_cycles(nonzero, drive, convert_, skip, v, shift_add, o),
            lambda o, v=overlap: steps.step_cycles_naive(nonzero, drive, convert_, skip, v, shift_add, o),
            np.zeros(5, dtype=np.int64),
        )


@given(SEEDS)
@common
def test_packed_sums(seed):
    rng = np.random.default_rng(seed)
    points, groups, slices, words, columns = (
        2,
        int(rng.integers(1, 4)),
        int(rng.integers(1, 5)),
        int(rng.integers(1, 6)),
        5,
    )
    dac, planes = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    high = np.uint64(2**64 - 1)
    inputs = rng.integers(0, high, (points, groups, slices, words), dtype=np.uint64, endpoint=True)
    inputs[rng.random(inputs.shape) < 0.4] = 0
    cells = rng.integers(0, high, (groups, 1, words, columns), dtype=np.uint64, endpoint=True)
    block_of = np.sort(rng.integers(0, 2, groups))
    weight = rng.integers(-8, 9, slices)
    sums = np.zeros((points, 2, columns), dtype=np.int64)
    offset, top = int(rng.integers(-10, 10)), int(rng.integers(1, 200))
    for skip in (False, True):
        both(
            lambda o, s=skip: mvm_packed.sum_codes_clip(inputs, cells, block_of, weight, s, offset, top, o),
            lambda o, s=skip: mvm_packed.sum_codes_clip_naive(inputs, cells, block_of, weight, s, offset, top, o),
            sums,
        )
    wide = rng.integers(0, high, (points, groups, slices * dac, words), dtype=np.uint64, endpoint=True)
    deep = rng.integers(0, high, (groups, planes, words, columns), dtype=np.uint64, endpoint=True)
    both(
        lambda o: mvm_packed.packed_psums(wide, deep, dac, groups - 1, (slices - 1) * dac, o),
        lambda o: mvm_packed.packed_psums_naive(wide, deep, dac, groups - 1, (slices - 1) * dac, o),
        np.zeros((points, columns), dtype=np.int64),
    )


@pytest.mark.parametrize("words", tile.TILE_WORDS)
@given(SEEDS)
@common
def test_tiles(words, seed):
    rng = np.random.default_rng(seed)
    points, groups, slices = 2, int(rng.integers(1, 3)), int(rng.integers(1, 9))
    high = 2**32 - 1
    inputs = rng.integers(0, high, (points, groups, slices, words), dtype=np.uint32, endpoint=True)
    cells = rng.integers(0, high, (groups, words, 32), dtype=np.uint32, endpoint=True)
    block_of = np.sort(rng.integers(0, 2, groups))
    sums = rng.integers(-100, 100, (points, 2, 32)).astype(np.int32)
    top = np.int32(rng.integers(1, 300))
    none, some = np.int32(0), np.int32(rng.integers(-20, 20))
    both(
        lambda o: mvm_packed.sum_codes_tiled(inputs, cells, block_of, none, top, o),
        lambda o: mvm_packed.sum_codes_tiled_naive(inputs, cells, block_of, none, top, o),
        sums,
    )
    both(
        lambda o: mvm_packed.sum_codes_tiled_offset(inputs, cells, block_of, some, top, o),
        lambda o: mvm_packed.sum_codes_tiled_offset_naive(inputs, cells, block_of, some, top, o),
        sums,
    )


WORD = st.integers(0, 2**32 - 1).map(np.uint64)
KEY = st.integers(0, 2**64 - 1).map(np.uint64)


@given(WORD, WORD, WORD, WORD, WORD, WORD)
@common
def test_philox_round(a, b, c, d, k0, k1):
    made = noise.philox_round(a, b, c, d, k0, k1)
    assert tuple(int(w) for w in made) == noise.philox_round_naive(a, b, c, d, k0, k1)


@kernel
def philox_of(a, b, c, d, key):
    return noise.philox(a, b, c, d, key)


@given(WORD, WORD, WORD, WORD, KEY)
@common
def test_philox(a, b, c, d, key):
    assert tuple(int(w) for w in philox_of(a, b, c, d, key)) == noise.philox_naive(a, b, c, d, key)


@given(SEEDS)
@common
def test_random_words_of_cells_and_reads(seed):
    rng = np.random.default_rng(seed)
    key, macro, row, column, write, draw = np.uint64(rng.integers(2**63)), *(int(v) for v in rng.integers(0, 60000, 5))
    both(
        lambda o: noise.cell_words(key, macro, row, column, write, draw, o),
        lambda o: noise.cell_words_naive(key, macro, row, column, write, draw, o),
        np.zeros((2, 9), dtype=np.uint64),
    )
    both(
        lambda o: noise.cell_lanes(key, macro, row, column, write, draw, o),
        lambda o: noise.cell_lanes_naive(key, macro, row, column, write, draw, o),
        np.zeros((2, int(rng.integers(1, 30))), dtype=np.uint16),
    )
    columns = np.concatenate([np.arange(n) + rng.integers(0, 20) for n in rng.integers(1, 12, 3)])
    keys = rng.integers(0, 2**63, len(columns) // 4 + 1).astype(np.uint64).repeat(4)[: len(columns)]
    table = noise.normal_quantiles()
    both(
        lambda o: noise.read_normals(keys, columns, 3, 77, 1, write % 9, table, o),
        lambda o: noise.read_normals_naive(keys, columns, 3, 77, 1, write % 9, table, o),
        np.zeros(len(columns), dtype=np.int32),
    )


@given(SEEDS)
@common
def test_levels_of_cells(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), int(rng.integers(1, 12)))
    levels, targets = rng.integers(0, 64, shape) / 4.0, rng.integers(0, 4, shape).astype(np.uint8)
    lanes = rng.integers(0, 2**16, shape).astype(np.uint16)
    table, sigma, quantiles = rng.normal(1, 1, 2**16), rng.random(4), noise.normal_quantiles()
    both(
        lambda o: cells.scale_by_lanes(o, lanes, table),
        lambda o: cells.scale_by_lanes_naive(o, lanes, table),
        levels,
    )
    both(
        lambda o: cells.add_by_lanes(o, targets, lanes, sigma, quantiles),
        lambda o: cells.add_by_lanes_naive(o, targets, lanes, sigma, quantiles),
        levels,
    )
    words = rng.integers(0, 2**64 - 1, shape, dtype=np.uint64, endpoint=True)
    low, high = (np.uint64(v) for v in np.sort(rng.integers(0, 2**32 + 1, 2)))
    both(
        lambda o: cells.stick(o, words, low, high, 0.0, 3.0),
        lambda o: cells.stick_naive(o, words, low, high, 0.0, 3.0),
        levels,
    )
    place = np.array([rng.integers(0, 99), rng.integers(0, 99), rng.integers(0, 3), rng.integers(1, 6)])
    key, tolerance = np.uint64(rng.integers(2**63)), float(rng.random())
    both(
        lambda o, p: cells.write_and_verify(o, place, key, 0.5, tolerance, quantiles, p),
        lambda o, p: cells.write_and_verify_naive(o, place, key, 0.5, tolerance, quantiles, p),
        levels,
        np.zeros(shape, dtype=np.int64),
    )
    stored = np.zeros((shape[0] + 2, shape[1] + 3), dtype=np.int64)
    signed = levels - 2 + rng.integers(0, 2, shape) / 256.0
    both(
        lambda o: cells.round_levels(signed, 128.0, 12.0 * 128, 1, 2, o),
        lambda o: cells.round_levels_naive(signed, 128.0, 12.0 * 128, 1, 2, o),
        stored,
    )


@pytest.mark.parametrize("write", [cells.write_and_verify, cells.write_and_verify_naive])
def test_a_write_that_lands_on_the_tolerance_is_accepted(write):
    quantiles, place, key = noise.normal_quantiles(), np.array([1, 2, 0, 5]), np.uint64(7)

    def pulses_of(sigma, tolerance):
        levels, pulses = np.full((4, 3), 8.0), np.zeros((4, 3), dtype=np.int64)
        write(levels, place, key, sigma, tolerance, quantiles, pulses)
        return levels, pulses

    levels, pulses = pulses_of(0.0, 0.0)  # a perfect pulse needs no second one
    assert (levels == 8).all()
    assert (pulses == 1).all()
    first = np.full((4, 3), 8.0)
    write(first, np.array([1, 2, 0, 1]), key, 0.5, 0.0, quantiles, np.zeros((4, 3), dtype=np.int64))
    for r, c in np.ndindex(4, 3):  # the distance of the first pulse of a cell as the tolerance: that cell takes one
        assert pulses_of(0.5, abs(first[r, c] - 8.0))[1][r, c] == 1


@given(SEEDS)
@common
def test_voltages_along_wires(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 7)), int(rng.integers(1, 9)))
    loads, inject, drive = rng.random(shape), rng.random(shape), rng.random(shape[1])
    both(
        lambda f, v: wires.solve_lines(loads, inject, drive, 0.5, f, v),
        lambda f, v: wires.solve_lines_naive(loads, inject, drive, 0.5, f, v),
        np.zeros(shape),
        np.zeros(shape),
    )
    wanted, levels = rng.random(shape[1]), rng.random(shape) * rng.integers(0, 2, shape[1])
    both(
        lambda o: wires.fit_columns(o, 0, shape[0] - 1, wanted),
        lambda o: wires.fit_columns_naive(o, 0, shape[0] - 1, wanted),
        levels,
    )


@given(SEEDS)
@common
def test_arrays_between_wires_are_eliminated(seed):
    rng = np.random.default_rng(seed)
    rows, more = int(rng.integers(1, 14)), int(rng.integers(0, 5))
    system = -rng.random((rows, rows + more))
    system[np.diag_indices(rows)] = rows + rng.random(rows)
    first = int(rng.integers(0, rows))
    stop = int(rng.integers(first, rows)) + 1
    both(lambda s: wires.eliminate(s, first, stop), lambda s: wires.eliminate_naive(s, first, stop), system)
    fast, slow = system.copy(), system.copy()
    solved = np.zeros((4, rows + more))
    wires.invert(fast, solved)
    wires.invert_naive(slow, solved)
    assert np.allclose(fast, slow, rtol=1e-11, atol=1e-13)


def test_the_suite_says_whether_kernels_are_compiled():
    assert hasattr(pack.pack_inputs, "py_func") is not JIT_DISABLED
