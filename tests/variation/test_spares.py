"""Spare rows and columns: which lines they replace, what the cells are then, what that costs, and what refuses them."""

import shutil
from itertools import product

import h5py
import numpy as np
import pytest
from attention import attention_network, on_macros
from populations import written

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.engines.programmed import program
from cimemu.macro.sites import own_macros
from cimemu.macro.spares import NOT_STUCK, Array, repaired
from cimemu.macro.vary import vary_matrix
from cimemu.prices import cost_table
from cimemu.rtl.design import make_design
from cimemu.rtl.generate import rendered
from cimemu.variation.compose import compose

STUCK = "stuck_at:sa0=0.03,sa1=0.02"


def macro(rows=16, columns=24, spare_rows=0, spare_columns=0, **weight):
    return cimemu.Macro.model_validate(
        {
            "rows": rows, "columns": columns, "weight": {"bits": 4, **weight}, "input": {"bits": 4}, "cell": {"bits": 1},
            "adc": {"model": "linear", "bits": 5}, "repair": {"spare_rows": spare_rows, "spare_columns": spare_columns},
        }
    )  # fmt: skip


def harm_naive(array, stuck, rows, columns, row, column):
    """Weight steps by which one cell is off, on Python integers."""
    level = int(stuck[rows[row], columns[column]])
    if level == NOT_STUCK or not array.programmed[row, column]:
        return 0
    return abs(level - int(array.targets[row, column])) * int(array.places[column])


def repaired_naive(array, stuck, made):
    """The definition: lines one after the other, the most harmful first."""
    rows, columns = list(range(made.rows)), list(range(made.columns))

    def column_harm(c):
        return sum(harm_naive(array, stuck, rows, columns, r, c) for r in range(made.rows))

    def row_harm(r):
        return sum(harm_naive(array, stuck, rows, columns, r, c) for c in range(made.columns))

    for lines, harm, spares in (
        (columns, column_harm, made.repair.spare_columns),
        (rows, row_harm, made.repair.spare_rows),
    ):
        first = {line: harm(line) for line in range(len(lines))}
        free = [len(lines) + spare for spare in range(spares)]
        for line in sorted(first, key=lambda one: (-first[one], one)):
            tried = []
            for spare in free:
                lines[line] = spare
                tried.append((harm(line), spare))
            lines[line] = line
            if tried and min(tried)[0] < first[line]:
                lines[line] = min(tried)[1]
                free.remove(lines[line])
    return rows, columns


@pytest.mark.parametrize(("encoding", "bits"), list(product(["offset", "differential", "twos_complement"], [1, 2])))
def test_the_lines_that_are_replaced_are_those_of_the_definition(encoding, bits):
    if encoding == "twos_complement" and bits == 2:
        bits = 1
    rng = np.random.default_rng(bits)
    replaced = np.zeros(2, dtype=int)
    for spare_rows, spare_columns, share in product((0, 1, 3), (0, 1, 4), (0.02, 0.2, 0.7)):
        tree = macro(7, 12, spare_rows, spare_columns, encoding=encoding).model_dump()
        made = cimemu.Macro.model_validate({**tree, "cell": {"bits": bits}})
        array = Array.of(made)
        wide = made.columns // made.columns_per_output * made.columns_per_output
        array.add(0, made, rng.integers(0, 2**bits, (6, wide)).astype(np.uint8), rng.random((6, wide)) < 0.8)
        stuck = np.where(
            rng.random((7 + spare_rows, 12 + spare_columns)) < share,
            rng.integers(0, 2, (7 + spare_rows, 12 + spare_columns)) * (2**bits - 1),
            -1,
        )
        lines = repaired(array, stuck, made)
        assert (lines.rows.tolist(), lines.columns.tolist()) == repaired_naive(array, stuck, made)
        replaced += lines.moved
        for one in (lines.rows, lines.columns):
            assert len(set(one.tolist())) == len(one)
    assert (replaced > 10).all()


def cells_of(made, w, vary, seed):
    ideal = program(w, made).matrix
    return ideal, vary_matrix(ideal, own_macros(ideal.layout), compose(vary, seed))


@pytest.mark.parametrize("encoding", ["offset", "differential", "twos_complement"])
@pytest.mark.parametrize(
    "vary", [[STUCK], ["lognormal:sigma=0.1", STUCK], [STUCK, "on_off:ratio=20", "drift:seconds=3600"]]
)
def test_cells_are_those_of_the_physical_lines(vary, encoding):
    made, rng = macro(spare_rows=2, spare_columns=3, encoding=encoding), np.random.default_rng(1)
    w = rng.integers(-7, 8, (16, made.outputs))
    moved = 0
    for seed in range(12):
        ideal, found = cells_of(made, w, vary, seed)
        targets = ideal.levels_of(slice(None))
        low, high = (written([STUCK], np.full((18, 27), level), top=1, seed=seed) for level in (0, 1))
        array = Array.of(made)
        array.add(0, made, targets, np.ones(targets.shape, dtype=bool))
        lines = repaired(array, np.where(low == high, low, NOT_STUCK).astype(np.int64), made)
        wide = targets.shape[1]
        at = np.ix_(lines.rows, lines.columns[:wide])
        physical = np.zeros((18, 27), dtype=np.uint8)
        physical[at] = targets
        expected = np.rint(written(vary, physical, top=1, seed=seed)[at] * 2**found.macro.cell.fraction_bits)
        assert np.array_equal(found.cells, expected)
        moved += sum(lines.moved)
        x = rng.integers(0, 16, (3, 16))
        results = [
            cimemu.mvm(x, w, made, vary=vary, seed=seed, path=path).y.tobytes() for path in ("auto", "serial", "naive")
        ]
        assert len(set(results)) == 1
    assert moved > 12


def test_spares_of_a_chip_without_faults_change_no_byte_and_enough_of_them_mend_every_fault():
    rng = np.random.default_rng(2)
    x, w = rng.integers(0, 16, (5, 16)), rng.integers(-8, 8, (16, 6))
    plain, many = macro(), macro(spare_columns=200)
    spread = ["lognormal:sigma=0.1"]
    assert cimemu.mvm(x, w, many, vary=spread).y.tobytes() == cimemu.mvm(x, w, plain, vary=spread).y.tobytes()
    ideal = cimemu.mvm(x, w, plain).y
    assert (cimemu.mvm(x, w, plain, vary=[STUCK], seed=3).y != ideal).any()
    assert (cimemu.mvm(x, w, many, vary=[STUCK], seed=3).y == ideal).all()


@pytest.fixture(scope="module")
def digits():
    work = cimemu.load_workload("digits")
    arch = cimemu.load_arch("rram_128", {"macro.repair.spare_columns": 4, "macro.repair.spare_rows": 2})
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:32])
    return arch, network, *work.inputs(6)


def test_spares_cost_area_alone(digits):
    arch, network, images, labels = digits
    plain = cimemu.load_arch("rram_128")
    with_spares, without = (cimemu.run(a, network, images, labels) for a in (arch, plain))
    assert with_spares.outputs.tobytes() == without.outputs.tobytes()
    assert with_spares.cycles == without.cycles
    cells = (130 * 132 - 128 * 128) * arch.macros
    prices = {row.component: row for row in cost_table(plain)}
    more = {row.component: row.instances - prices[row.component].instances for row in cost_table(arch)}
    assert {name: count for name, count in more.items() if count} == {"cell": cells, "wordline": 2 * arch.macros}


def test_a_chip_file_holds_the_spares_and_a_run_on_it_is_the_run_on_the_drawn_chip(digits, tmp_path):
    arch, network, images, labels = digits
    path = tmp_path / "chip.h5"
    vary = ["stuck_at:sa0=0.01", "lognormal:sigma=0.05"]
    totals = cimemu.write_chip(path, arch, network, vary=vary, seed=5)
    assert 3 * totals["macros"] < totals["spare_columns"] <= 4 * totals["macros"]
    assert totals["spare_rows"] > 0
    known = [{"model": "chip", "file": str(path)}]
    drawn, read = (cimemu.run(arch, network, images, labels, vary=v, seed=s) for v, s in ((vary, 5), (known, 0)))
    assert drawn.outputs.tobytes() == read.outputs.tobytes()
    untested = tmp_path / "untested.h5"
    shutil.copy(path, untested)
    with h5py.File(untested, "r+") as file:
        assert file["macros/00000/writing_0/levels"].shape == (130, 132)
        del file["macros/00000/writing_0/faults"]
    known = [{"model": "chip", "file": str(untested)}]
    with pytest.raises(cimemu.ArchError, match=r"^[^\n]*macro 0: has no faults, which macro\.repair [^\n]*$"):
        cimemu.run(arch, network, images, labels, vary=known)


def test_a_measured_chip_needs_levels_and_faults_alone(digits, tmp_path):
    arch, network, images, labels = digits
    path, vary = tmp_path / "chip.h5", ["stuck_at:sa0=0.01,sa1=0.01"]
    cimemu.write_chip(path, arch, network, vary=vary, seed=6)
    with h5py.File(path, "r+") as file:
        for name in [name for name in file.attrs if name != "cimemu_chip"]:
            del file.attrs[name]
        for group in (one["writing_0"] for one in file["macros"].values()):
            for name in set(group) - {"levels", "faults"}:
                del group[name]
    known = [{"model": "chip", "file": str(path)}]
    drawn, read = (cimemu.run(arch, network, images, labels, vary=v, seed=s) for v, s in ((vary, 6), (known, 0)))
    assert drawn.outputs.tobytes() == read.outputs.tobytes()
    plain = cimemu.load_arch("rram_128")
    assert cimemu.run(plain, network, images, labels, vary=known).outputs.tobytes() != read.outputs.tobytes()


@pytest.mark.parametrize(
    "model", ["stuck_bitline:off=0.1", "stuck_wordline:on=0.1", "ir_drop:segment_ohm=2", "write_verify:sigma=0.2"]
)
def test_models_that_spares_are_not_defined_with_are_refused(model):
    with pytest.raises(cimemu.ArchError, match=r"^[^\n]*macro\.repair[^\n]*spare_columns to 0$"):
        cimemu.mvm([[1] * 16], np.ones((16, 2), dtype=int), macro(spare_columns=1), vary=[model])


def test_generated_hardware_is_that_of_the_lines_in_use():
    arch = cimemu.load_arch("rram_128")
    pytest.importorskip("jinja2", reason="jinja2 (the rtl extra) is not installed")
    made, without = (rendered(make_design(one), arch) for one in (macro(spare_columns=1, spare_rows=2), macro()))
    assert made == without


def test_cells_that_are_written_for_every_image_are_refused():
    arch = on_macros(cimemu.load_arch("sram_128", {"macro.repair.spare_columns": 2}))
    network = attention_network()
    emulator, plan = (
        Emulator(network, arch.macro, plan=cimemu.make_plan(network, arch)),
        cimemu.make_plan(network, arch),
    )
    with pytest.raises(cimemu.CimemuError, match=r"^macro\.repair: layer [^\n]*set mapping\.activations digital$"):
        emulator.program(plan, [STUCK])
