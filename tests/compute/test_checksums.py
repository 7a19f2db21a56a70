"""Checksum columns: what the definition says on all paths, every fault of one column put right where nothing is lost, counts."""

import h5py
import macros
import nets
import numpy as np
import pytest
from amounts import drawn
from hypothesis import strategies as st

import cimemu
from cimemu.arch.checks import check_columns, outputs_within
from cimemu.engines.programmed import Programmed, program
from cimemu.events import Counter
from cimemu.macro.naive import Given, mvm_naive
from cimemu.macro.read_noise import Reads
from cimemu.macro.sites import own_macros
from cimemu.macro.vary import vary_matrix
from cimemu.stress import Chips, stress, yield_of
from cimemu.variation.compose import compose

SEEDS = st.integers(0, 2**32 - 1)


def guarded(seed, columns, **changes):
    """(x, w, macro) of a random macro with checksum columns."""
    x, w, macro = macros.draw(seed)
    tree = macro.model_dump()
    tree["weight"] |= {"combine": "digital", "subtract": "digital", "correction": "digital", "column_flipping": False}
    adc = tree["adc"]
    grids = [v for v in adc.values() if isinstance(v, list) and isinstance(v[0], list)]
    if grids:
        tree["adc"] = {"model": "linear", "bits": adc["bits"], "lsb": 1, "zero": 0}
    tree |= {"columns": 256, "repair": {"checksum_columns": columns}, **changes}
    return x, w, cimemu.Macro.model_validate(tree)


def stuck(programmed, share, seed):
    """The same matrix with stuck cells."""
    matrix = programmed.matrix
    variations = compose([f"stuck_at:sa0={share / 2},sa1={share / 2}"], seed)
    return Programmed(vary_matrix(matrix, own_macros(matrix.layout), variations))


def same(fast, slow):
    return fast.y.tobytes() == slow.y.tobytes() and (fast.codes is None or np.array_equal(fast.codes, slow.codes))


@drawn(SEEDS, st.sampled_from([1, 3, 8, 64]), few=10, many=150)
def test_all_paths_are_the_naive_twin_with_stuck_cells(seed, columns):
    x, w, macro = guarded(seed, columns)
    chip = stuck(program(w, macro), (0.002, 0.02, 0.2)[seed % 3], seed)
    slow = chip.run(x, codes=True, path="naive")
    for path in ("auto", "serial", "steps"):
        assert same(chip.run(x, codes=True, path=path), slow), path


@drawn(SEEDS, st.sampled_from([1, 5, 32]), few=10, many=150)
def test_ideal_cells_add_up_on_all_paths(seed, columns):
    x, w, macro = guarded(seed, columns)
    chip = program(w, macro)
    slow = chip.run(x, codes=True, path="naive")
    without = macro.model_copy(update={"repair": macro.repair.model_copy(update={"checksum_columns": 0})})
    assert slow.y.tobytes() == cimemu.mvm(x, w, without).y.tobytes()
    for path in ("auto", "serial", "steps"):
        assert same(chip.run(x, codes=True, path=path), slow)


@drawn(SEEDS, st.sampled_from([2, 16]), st.sampled_from(["current", "digital"]), few=10, many=80)
def test_counts_are_those_of_the_naive_twin(seed, columns, kind):
    x, w, macro = guarded(seed, columns)
    macro = macro.model_copy(update={"cell": macro.cell.model_copy(update={"kind": kind})})
    chip = program(w, macro)
    counts = chip.run(x).counts.sum(axis=0)
    slow = mvm_naive(x, Given(w, macro, chip.matrix.layout), Reads(positions=len(x)))
    assert counts[Counter.CONVERSIONS] == slow.conversions
    assert counts[Counter.SHIFT_ADDS] == slow.shift_adds
    level = slow.product_changes if kind == "digital" else slow.level_drawn
    assert counts[Counter.CELL_LEVEL_PULSES] == level
    assert counts[Counter.CELL_PULSES] == (slow.input_changes if kind == "digital" else counts[Counter.CELL_PULSES])


LOSSLESS = [
    {"adc": {"model": "ideal"}},
    {"adc": {"model": "linear", "bits": 6}},
    {"adc": {"model": "linear", "bits": 7, "zero": -5}},
    {"adc": {"model": "nonlinear", "bits": 5, "thresholds": [i + 0.5 for i in range(31)], "levels": list(range(32))}},
    {"adc": {"model": "linear", "bits": 6}, "accumulator_bits": 20},
    {"adc": {"model": "linear", "bits": 6}, "input": {"bits": 4, "dac_bits": 1, "signed": True}},
    {"adc": {"model": "linear", "bits": 6}, "weight": {"bits": 4, "encoding": "differential"}, "cell": {"bits": 2}},
]


@pytest.mark.parametrize(
    "keys", [pytest.param(k, marks=[] if k in LOSSLESS[:2] else pytest.mark.slow, id=str(k)) for k in LOSSLESS]
)
def test_any_one_faulty_column_of_a_group_is_put_right(keys):
    tree = {
        "rows": 16, "active_rows": 10, "columns": 64, "cell": {"bits": 1}, "weight": {"bits": 4}, "input": {"bits": 4},
        "repair": {"checksum_columns": 8},
    } | keys  # fmt: skip
    macro = cimemu.Macro.model_validate(tree)
    rng = np.random.default_rng(0)
    x, w = macros.inputs_in_range(rng, macro, (12, 20)), macros.weights_in_range(rng, macro, (20, 7))
    ideal = program(w, macro)
    levels, top = ideal.matrix.levels, 2**macro.cell.bits - 1
    exact = x.astype(np.int64) @ w
    for column in range(levels.shape[1]):
        cells = levels.astype(np.float64).copy()
        rows = rng.random(20) < 0.5
        cells[rows, column] = top - cells[rows, column]  # a whole column of faults is one faulty column
        chip = program(w, macro, cells=cells)
        assert np.array_equal(chip.run(x).y, exact)
        assert chip.alarms.seen == chip.alarms.corrected > 0
        assert np.array_equal(chip.run(x, path="naive").y, exact)


def test_two_faulty_columns_of_a_group_are_seen_and_of_two_groups_are_put_right():
    macro = cimemu.Macro.model_validate(
        {"rows": 8, "columns": 64, "weight": {"bits": 4}, "input": {"bits": 1}, "repair": {"checksum_columns": 8}}
    )
    w = np.ones((8, 4), dtype=np.int64)
    x, levels = np.ones((1, 8), dtype=np.int64), program(w, macro).matrix.levels.astype(np.float64)
    for columns, right in (((0, 9), True), ((0, 1), False), ((0, 3), False)):
        cells = levels.copy()
        for column in columns:
            cells[0, column] = 1 - cells[0, column]
        chip = program(w, macro, cells=cells)
        assert np.array_equal(chip.run(x).y, x @ w) is right
        assert chip.alarms.seen == (2 if right else 1)


def test_a_faulty_checksum_column_changes_nothing():
    arch = cimemu.load_arch("rram_128", {"macro.repair.checksum_columns": 8}).macro
    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 256, (9, 60)), rng.integers(-128, 128, (60, 4))
    chip = stuck(program(w, arch), 1e-12, 0)
    checks = chip.matrix.checks
    for column in range(checks.cells.shape[1]):
        held = checks.cells[:, column].copy()
        checks.cells[:, column] = chip.matrix.unit - held
        assert np.array_equal(chip.run(x).y, x @ w)
        checks.cells[:, column] = held
    assert chip.alarms.corrected == 0 < chip.alarms.seen


def test_converters_that_lose_something_only_see_what_is_more_than_that():
    tree = {"rows": 16, "columns": 64, "weight": {"bits": 4}, "input": {"bits": 4}, "repair": {"checksum_columns": 8}}
    rng = np.random.default_rng(2)
    x, w = rng.integers(0, 16, (40, 16)), rng.integers(-8, 8, (16, 4))
    for adc in ({"model": "linear", "bits": 3, "lsb": 2}, {"model": "linear", "bits": 2}):
        macro = cimemu.Macro.model_validate({**tree, "adc": adc})
        ideal = program(w, macro)
        cells = ideal.matrix.levels.astype(np.float64).copy()
        same_cells = program(w, macro, cells=cells)
        assert np.array_equal(same_cells.run(x, path="steps").y, ideal.run(x).y)
        assert same_cells.alarms.seen == 0 < same_cells.alarms.doubtful
        cells[:, 3] = 1 - cells[:, 3]
        chip = program(w, macro, cells=cells)
        chip.run(x)
        assert not chip.matrix.checks.lossless
        if "lsb" in adc:
            assert chip.alarms.corrected == 0


def test_the_columns_of_a_macro_hold_data_and_checksums():
    for columns, wide, group, bits in ((128, 8, 8, 1), (128, 8, 16, 1), (64, 4, 5, 2), (30, 2, 1024, 4)):
        outputs = outputs_within(columns, wide, group, bits)
        assert outputs * wide + check_columns(outputs * wide, group, bits) <= columns
        assert (outputs + 1) * wide + check_columns((outputs + 1) * wide, group, bits) > columns
    assert check_columns(16, 16, 1) == 5 + 8  # 0 .. 16, and 0 .. 136
    assert check_columns(17, 16, 1) == 13 + 2  # the last group has one column: its level, twice


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"macro.weight.combine": "analog"},
            "weight.combine analog: every column is compared by itself; needs digital",
        ),
        ({"macro.weight.correction": "reference_column"}, "weight.correction reference_column"),
        ({"macro.weight.column_flipping": True}, "weight.column_flipping True"),
        ({"macro.columns": 10}, "columns = 10, one output needs 8 and 10 of checksums"),
    ],
)
def test_what_is_not_compared_is_refused(keys, said):
    with pytest.raises(cimemu.ArchError, match=said):
        cimemu.load_arch("rram_128", {"macro.repair.checksum_columns": 8, **keys})


def test_models_that_act_on_other_things_than_cells_are_refused():
    macro = cimemu.load_arch("rram_128", {"macro.repair.checksum_columns": 8}).macro
    w = np.ones((4, 2), dtype=np.int64)
    for model in ("thermal:amplifier=0.1", "converter:offset=0.1", "ir_drop:segment_ohm=1,on_ohm=10000"):
        with pytest.raises(cimemu.ArchError, match=r"with macro\.repair\.checksum_columns: only models of cells"):
            cimemu.mvm(np.ones((1, 4), dtype=np.int64), w, macro, vary=[model])
    ideal = macro.model_copy(update={"adc": cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro.adc})
    with pytest.raises(cimemu.ArchError, match="levels that are not whole"):
        cimemu.mvm(np.ones((1, 4), dtype=np.int64), w, ideal, vary=["lognormal:sigma=0.1"])


def test_traces_stress_and_yields_tell_what_was_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = "stuck_at:sa0=0.01,sa1=0.01"
    arch = cimemu.load_arch("rram_128", {"macro.repair.checksum_columns": 8, "chip.tiles": 40})
    network = nets.residual_network()
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 5, 4)).astype(np.uint8)
    labels = np.arange(5) % 2
    one = [cimemu.run(arch, network, images, vary=[model], trial=t, trace=f"{t}.h5").checksums for t in range(3)]
    names = ("doubtful", "seen", "corrected")
    for trial, found in enumerate(one):
        with h5py.File(f"{trial}.h5") as file:
            assert [file.attrs[f"checksums_{name}"] for name in names] == [getattr(found, name) for name in names]
    assert sum(found.corrected for found in one) > 0
    many = stress(arch, network, images, labels, vary=[model], trials=3, out="s.h5")
    with h5py.File("s.h5") as file:
        for name in names:
            each = [getattr(found, name) for found in one]
            assert file[f"trials/checksums_{name}"][0].tolist() == each
            assert file[f"points/checksums_{name}"][0] == many.columns[f"checksums_{name}"][0] == np.mean(each)
    chips = Chips(arch, network, images, labels)
    yield_of(chips, draws=cimemu.Draws(vary=[model]), accuracy=0.5, trials=3)
    assert [getattr(chips.checksums(), name) for name in names] == [
        sum(getattr(f, name) for f in one) for name in names
    ]
    plain = cimemu.load_arch("rram_128", {"chip.tiles": 40})
    assert cimemu.run(plain, network, images, vary=[model], trace="p.h5").checksums is None
    assert Chips(plain, network, images, labels).checksums() is None
    with h5py.File("p.h5") as file:
        assert not any(name.startswith("checksums") for name in file.attrs)
