"""IR drop against nodal analysis of the very array, from physical conductances."""

import os
import subprocess
import sys
import time

import nets
import nodal
import numpy as np
import pytest
from populations import write_block

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.engines.programmed import Programmed, program
from cimemu.macro.sites import own_macros, planned_sites
from cimemu.macro.vary import vary_matrix
from cimemu.variation.compose import compose
from cimemu.variation.wires import Wires, exact_shares, fast_shares, raised_currents

ON_OHM, SEGMENT = 1e4, 5.0
FINE = {"bits": 1, "fraction_bits": 14}


def macro_of(rows, columns, cell_bits=1, **more):
    """A macro that shows column sums: one slice a weight, no converter."""
    return cimemu.Macro.model_validate(
        {
            "rows": rows,
            "columns": columns,
            "weight": {"bits": cell_bits, "encoding": "offset"},
            "cell": {"bits": cell_bits},
            "input": {"bits": 1},
            "adc": {"model": "ideal"},
            **more,
        }
    )


def column_sums(levels, x, macro, vary, **options):
    """What columns of cells `levels` give for inputs x, in level steps: `mvm` without its correction."""
    half = 2 ** (macro.weight.bits - 1)
    y = cimemu.mvm(x, levels - half, macro, vary=vary, **options).y
    return y + half * x.sum(axis=1, keepdims=True)


INPUTS = ("all rows", "half of them", "8 rows", "the farthest row")


def inputs(size):
    """0 or 1 of every row, as INPUTS says."""
    rng = np.random.default_rng(size)
    x = np.zeros((4, size), dtype=np.int64)
    x[0] = 1
    x[1] = rng.integers(0, 2, size)
    x[2, rng.choice(size, 8, replace=False)] = 1
    x[3, size - 1] = 1
    return x


def relative_errors(found, right):
    """Root mean square over columns, relative to that of the input's true currents."""
    return np.sqrt(((found - right) ** 2).mean(axis=1) / (right**2).mean(axis=1))


# (rows, solver) -> largest error in % by INPUTS, over the sizes, ratios and cells of the test below
BOUNDS = {
    ("grounded", "exact"): (0.05, 0.05, 0.05, 0.05),
    ("grounded", "fast"): (1, 2.5, 8, 50),
    ("gated", "exact"): (0.05, 0.05, 0.05, 0.05),
    ("gated", "fast"): (30, 6, 30, 60),
}
RIGHT = {"grounded": nodal.grounded_currents, "gated": nodal.gated_currents}
THIN = [(32, np.inf, 1), (32, 2, 2), (64, 10, 1)]
FULL = [(size, ratio, bits) for size in (32, 64, 128) for ratio in (np.inf, 10, 2) for bits in (1, 2)]


@pytest.mark.parametrize(
    ("size", "ratio", "cell_bits"),
    [pytest.param(*case, marks=[] if case in THIN else pytest.mark.slow) for case in FULL],
)
def test_column_currents_against_nodal_analysis(size, ratio, cell_bits):
    """`pytest tests/variation/test_ir_drop.py -m "slow or not slow" -s -k nodal` prints the whole table."""
    top = 2**cell_bits - 1
    levels, x = np.random.default_rng(size).integers(0, top + 1, (size, size)), inputs(size)
    siemens, step = nodal.conductances(levels, top, ON_OHM, ratio), nodal.level_step(top, ON_OHM, ratio)
    macro = macro_of(size, size, cell_bits)
    for rows, solver in BOUNDS:
        right = RIGHT[rows](siemens, x, SEGMENT, SEGMENT) / step
        vary = [f"on_off:ratio={ratio}", f"ir_drop:segment_ohm={SEGMENT},on_ohm={ON_OHM},rows={rows},solver={solver}"]
        begin = time.perf_counter()
        found = column_sums(levels, x, macro, vary)
        seconds = time.perf_counter() - begin
        percent = 100 * relative_errors(found, right)
        told = ", ".join(f"{what} {error:.3f} %" for what, error in zip(INPUTS, percent))
        print(f"{size} x {size}, {cell_bits} bit, ratio {ratio}, {rows} {solver}: {told}; {seconds:.3f} s")
        assert (percent <= BOUNDS[rows, solver]).all()


def test_the_order_of_models_does_not_move_the_wires():
    levels, x = np.random.default_rng(1).integers(0, 2, (16, 16)), inputs(16)
    wires, spread = f"ir_drop:segment_ohm=50,on_ohm={ON_OHM}", ["on_off:ratio=4", "lognormal:sigma=0.2"]
    before = column_sums(levels, x, macro_of(16, 16), [wires, *spread], seed=3)
    assert np.array_equal(before, column_sums(levels, x, macro_of(16, 16), [*spread, wires], seed=3))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 12), (12, 5)])
@pytest.mark.parametrize("first_column", [0, 9])
def test_effective_cells_give_the_currents_of_any_voltages(shape, first_column):
    rng = np.random.default_rng(shape[0])
    levels = rng.integers(0, 4, shape) * rng.integers(0, 2, shape)  # whole cells without conductance among them
    volts = rng.random((4, shape[0]))
    right = nodal.grounded_currents(nodal.conductances(levels, 3, 500), volts, 20, 30, first_column) * 500 * 3
    wires = Wires(20 / 1500, 30 / 1500, word_lead=1 + first_column)
    made = exact_shares(levels.astype(float), wires)
    assert np.allclose(volts @ made, right, rtol=1e-9, atol=1e-12)
    for drive, currents in zip(volts, right):  # all rows are raised, so none is disconnected
        assert np.allclose(raised_currents(levels.astype(float), drive, wires), currents, rtol=1e-7, atol=1e-9)


def test_rows_that_are_not_raised_are_disconnected():
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 2, (12, 9)) + 0.25
    drive = np.array([0, 0, 2, 0, 1, 3, 0, 0, 1, 0, 0, 0])
    wires = Wires(0.01, 0.02)
    right = nodal.gated_currents(levels, [drive], 0.01, 0.02)[0]
    assert np.allclose(raised_currents(levels, drive.astype(float), wires), right, rtol=1e-7)
    assert not raised_currents(levels, np.zeros(12), wires).any()


@pytest.mark.parametrize("solve", [exact_shares, fast_shares])
def test_lines_alone_are_the_limit_of_small_resistances(solve):
    levels, tiny = np.random.default_rng(0).random((20, 30)), 1e-9
    for word, bit in ((0.005, 0.0), (0.0, 0.005)):
        made = solve(levels, Wires(word, bit))
        assert np.allclose(made, solve(levels, Wires(word or tiny, bit or tiny)), rtol=1e-4)
        assert (made < levels).all()
        drive = np.arange(20.0) % 3
        held = nodal.gated_currents(levels, [drive], word or tiny, bit or tiny)[0]
        assert np.allclose(raised_currents(levels, drive, Wires(word, bit)), held, rtol=1e-4)
    assert np.array_equal(solve(levels, Wires(0.0, 0.0)), levels)


def test_longer_wires_to_a_block_lose_more():
    near, far = (exact_shares(np.ones((8, 8)), Wires(5e-4, 5e-4, word_lead=1 + first)) for first in (0, 100))
    assert (far < near).all()


@pytest.mark.parametrize("shape", [(9, 7), (7, 9)])
@pytest.mark.parametrize("solve", [exact_shares, fast_shares])
def test_leads_are_segments_without_cells(shape, solve):
    levels = np.random.default_rng(3).random(shape)
    far = np.zeros((shape[0] + 3, shape[1] + 5))
    far[3:, 5:] = levels
    made = solve(levels, Wires(0.02, 0.03, word_lead=6, bit_lead=4))
    right = solve(far, Wires(0.02, 0.03))[3:, 5:]
    if solve is exact_shares:
        assert np.allclose(made, right, rtol=1e-10)
    assert np.allclose(made.sum(axis=0), right.sum(axis=0), rtol=1e-5)  # fast: its quarters are cut at other rows
    assert not np.allclose(made.sum(axis=0), solve(levels, Wires(0.02, 0.03)).sum(axis=0), rtol=0.02)
    all_raised = raised_currents(levels, np.ones(shape[0]), Wires(0.02, 0.03, 6, 4))
    assert np.allclose(all_raised, made.sum(axis=0), rtol=1e-5)


def test_the_mean_field_of_gated_rows_goes_from_free_bitlines_to_grounded_rows():
    levels, wires = np.random.default_rng(3).random((9, 7)), Wires(0.02, 0.03)
    assert np.allclose(exact_shares(levels, wires, 1.0), exact_shares(levels, wires), rtol=1e-12)
    assert np.allclose(exact_shares(levels, wires, 0.0), exact_shares(levels, Wires(0.02, 0.0)), rtol=1e-12)


GATED = "ir_drop:segment_ohm=40,on_ohm=5e3,rows=gated"


@pytest.mark.parametrize("active_rows", [4, 16])
@pytest.mark.parametrize("path", ["auto", "naive"])
def test_gated_groups_are_arrays_of_their_own(active_rows, path):
    rng = np.random.default_rng(2)
    levels, x = rng.integers(0, 2, (16, 8)), rng.integers(0, 2, (5, 16))
    siemens, right = nodal.conductances(levels, 1, 5e3), 0
    for first in range(0, 16, active_rows):
        group = np.where((np.arange(16) >= first) & (np.arange(16) < first + active_rows), x, 0)
        right = right + nodal.gated_currents(siemens, group, 40, 40) * 5e3
    found = column_sums(levels, x, macro_of(16, 8, active_rows=active_rows, cell=FINE), [GATED], path=path)
    assert np.allclose(found, right, atol=16 / active_rows * 2.0**-14)


@pytest.mark.parametrize("dac", ["voltage", "pulse", "bits"])
def test_gated_rows_of_a_multi_bit_dac(dac):
    """A voltage DAC drives a raised row by its value; a pulse DAC raises it for as many pulses, each set by itself; bits that
    are weighed in analog are set one by one."""
    rng = np.random.default_rng(4)
    levels, x = rng.integers(0, 2, (16, 8)), rng.integers(0, 4, (5, 16))
    siemens = nodal.conductances(levels, 1, 5e3)
    pulses = {
        "voltage": [(1, x)],
        "pulse": [(1, (x > t).astype(float)) for t in range(3)],
        "bits": [(2**bit, (x >> bit & 1).astype(float)) for bit in range(2)],
    }[dac]
    right = sum(weight * nodal.gated_currents(siemens, pulse, 40, 40) for weight, pulse in pulses) * 5e3
    macro = macro_of(16, 8, input={"bits": 2, "dac_bits": 2, "dac": dac}, cell=FINE)
    found = column_sums(levels, x, macro, [GATED])
    assert np.allclose(found, right, atol=2.0**-14)
    assert np.array_equal(found, column_sums(levels, x, macro, [GATED], path="naive"))


def test_drivers_of_gated_rows():
    """The bow moves the voltage of a raised row, the gain is the row's own; cells behind are no more than the cells."""
    rng = np.random.default_rng(4)
    levels, x = rng.integers(0, 2, (16, 8)), rng.integers(0, 4, (5, 16))
    macro = macro_of(16, 8, input={"bits": 2, "dac_bits": 2, "dac": "voltage"}, cell=FINE)
    bowed = column_sums(levels, x, macro, [GATED, "driver:inl=0.3"])
    volts = x + np.array([0, 0.3 * 8 / 9, 0.3 * 8 / 9, 0])[x]
    right = nodal.gated_currents(nodal.conductances(levels, 1, 5e3), volts, 40, 40) * 5e3
    assert np.allclose(bowed, right, atol=2.0**-14)
    vary = ["driver:gain=0.1,inl=0.3", GATED]
    uneven = column_sums(levels, x, macro, vary, seed=1)
    assert np.array_equal(uneven, column_sums(levels, x, macro, vary, seed=1, path="naive"))
    assert not np.allclose(uneven, bowed, atol=0.01)


@pytest.mark.parametrize(
    "weight",
    [
        {"bits": 4, "encoding": "differential"},
        {"bits": 4, "encoding": "differential", "subtract": "analog"},
        {"bits": 4, "encoding": "twos_complement"},
        {"bits": 4, "encoding": "offset", "combine": "analog"},
    ],
)
@pytest.mark.parametrize("rows", ["grounded", "gated"])
def test_every_encoding_meets_the_currents_of_its_own_columns(weight, rows):
    rng = np.random.default_rng(6)
    macro = macro_of(16, 28, weight=weight, cell=FINE, input={"bits": 3})
    w, x = rng.integers(-7, 8, (12, 3)), rng.integers(0, 8, (4, 12))
    vary = ["on_off:ratio=8", f"ir_drop:segment_ohm=40,on_ohm=5e3,rows={rows}"]
    found = cimemu.mvm(x, w, macro, vary=vary)
    assert found.y.tobytes() == cimemu.mvm(x, w, macro, vary=vary, path="naive").y.tobytes()
    stored = {"offset": w + 8, "twos_complement": w % 16}.get(weight["encoding"])
    bits = 4 if stored is not None else 3
    parts = [stored] if stored is not None else [np.maximum(w, 0), np.maximum(-w, 0)]
    levels = np.concatenate([(part[:, :, None] >> np.arange(bits)) & 1 for part in parts], axis=2)
    place = np.tile(2.0 ** np.arange(bits), len(parts)) * np.repeat([1, -1][: len(parts)], bits)
    if weight["encoding"] == "twos_complement":
        place[-1] *= -1
    array = np.zeros((16, 28))  # cells without a weight conduct as level 0 does
    array[:12, : levels[0].size] = levels.reshape(12, -1)
    siemens = nodal.conductances(array, 1, 5e3, 8)
    right = 0
    for bit in range(3):
        volts = np.zeros((4, 16))
        volts[:, :12] = (x >> bit) & 1
        sums = RIGHT[rows](siemens, volts, 40, 40)[:, : levels[0].size] / nodal.level_step(1, 5e3, 8)
        right = right + 2**bit * (sums.reshape(4, 3, -1) @ place)
    right = right - (8 * x.sum(axis=1, keepdims=True) if weight["encoding"] == "offset" else 0)
    assert np.allclose(found.y, right, atol=7 * 15 * 12 * 2.0**-14)


@pytest.mark.parametrize("rows", ["grounded", "gated"])
def test_cells_outside_the_blocks_of_a_grouped_convolution_conduct_as_level_0(rows):
    rng = np.random.default_rng(8)
    macro = macro_of(8, 8, weight={"bits": 2, "encoding": "offset"}, cell={"bits": 2, "fraction_bits": 14})
    w, x = rng.integers(-2, 2, (8, 8)), rng.integers(0, 2, (5, 8))
    group = np.repeat([0, 1], 4)
    inside = group[:, None] == group
    ideal = program(w * inside, macro, row_group=group, out_group=group).matrix
    vary = compose(["on_off:ratio=3", f"ir_drop:segment_ohm=40,on_ohm=5e3,rows={rows}"])
    found = Programmed(vary_matrix(ideal, own_macros(ideal.layout), vary)).run(x).y
    siemens = nodal.conductances(np.where(inside, w + 2, 0), 3, 5e3, 3)
    right = RIGHT[rows](siemens, x, 40, 40) / nodal.level_step(3, 5e3, 3) - 2 * x @ inside
    assert np.allclose(found, right, atol=8 * 2.0**-14)


def test_blocks_that_share_a_macro_load_its_wires():
    """Layers side by side in a macro, by the plan: each block's currents are those of the whole array, drawn cells included."""
    arch = cimemu.load_arch(
        "rram_128",
        {
            "macro.rows": 32,
            "macro.columns": 64,
            "macro.columns_per_adc": 4,
            "macro.weight.bits": 4,
            "macro.cell.fraction_bits": 14,
            "macro.adc": "ideal",
        },
    )
    network = nets.residual_network()
    plan = cimemu.make_plan(network, arch)
    sites = planned_sites(plan)
    spread = ["lognormal:sigma=0.3", "on_off:ratio=8"]

    def blocks(vary):
        emulator = Emulator(network, arch.macro)
        emulator.program(plan, vary, seed=5)
        for name, matrix in emulator.matrices.items():
            for replica, units in zip(matrix.replicas, sites[name]):
                for programmed, unit in zip(replica, units):
                    for (rb, cb), site in unit.items():
                        made = programmed.matrix
                        (r0, r1), (c0, c1) = made.layout.row_blocks[rb], made.layout.col_blocks[cb]
                        yield site, made.cells[r0:r1, c0 * 4 : c1 * 4] / 2.0**made.macro.cell.fraction_bits

    arrays, count = {}, {}
    for site, cells in blocks(spread):
        array = arrays.setdefault(site.macro, write_block(spread, np.zeros((32, 64)), macro=site.macro, seed=5).levels)
        array[: len(cells), site.first_column : site.first_column + cells.shape[1]] = cells
        count[site.macro] = count.get(site.macro, 0) + 1
    assert max(count.values()) > 1
    for site, cells in blocks([*spread, "ir_drop:segment_ohm=30,on_ohm=5e3"]):
        siemens = arrays[site.macro] * nodal.level_step(1, 5e3, 8)
        right = nodal.grounded_currents(siemens, np.eye(32)[: len(cells)], 30, 30) / nodal.level_step(1, 5e3, 8)
        own = right[:, site.first_column : site.first_column + cells.shape[1]]
        assert np.allclose(cells, own, atol=3 * 2.0**-14)


@pytest.mark.slow
def test_the_same_bytes_for_any_number_of_blas_threads():
    program = """
import numpy as np
from cimemu.variation.wires import Wires, exact_shares, raised_currents
rng = np.random.default_rng(0)
levels = rng.random((96, 80))
exact = exact_shares(levels, Wires(5e-4, 5e-4))
gated = raised_currents(levels, rng.integers(0, 2, 96).astype(float), Wires(5e-4, 5e-4))
import hashlib
print(hashlib.sha256(exact.tobytes() + gated.tobytes()).hexdigest())
"""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **dict.fromkeys(names, threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1
    assert len(found.pop()) == 65


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (
            ["ir_drop:segment_ohm=1,on_ohm=1e4", "thermal"],
            "thermal: on_ohm = 100000.0 beside ir_drop: on_ohm = 10000.0",
        ),
        (["on_off:ratio=10", "temperature:celsius=85,off_ratio=20"], "off_ratio = 20.0 beside on_off: ratio = 10.0"),
        (["ir_drop:segment_ohm=1", "ir_drop:segment_ohm=2"], "given twice, an array has one set of wires"),
        ([GATED, "stuck_wordline:on=0.1"], "stuck_wordline with ir_drop: rows = gated, solver = exact: not defined"),
        ([GATED, "telegraph:amplitude=0.1"], "telegraph with ir_drop: rows = gated, solver = exact: not defined"),
        (["ir_drop:segment_ohm=1,rows=floating"], "rows = 'floating', must be"),
    ],
)
def test_models_of_one_cell_agree(vary, message):
    with pytest.raises(cimemu.ArchError) as error:
        column_sums(np.ones((4, 4), int), np.ones((1, 4), int), macro_of(4, 4), vary)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_hopeless_wires_are_an_error():
    with pytest.raises(cimemu.ArchError, match="do not settle in 10000 sweeps"):
        raised_currents(np.ones((60, 60)), np.ones(60), Wires(1e4, 1e4))


@pytest.mark.parametrize("ohm", [0.01, 5, 500])
def test_losses_large_and_small_have_the_fraction_bits_that_they_need(ohm):
    assert compose([f"ir_drop:segment_ohm={ohm},on_ohm=1e4"]).fraction_bits(7, 1) == 14
    levels, x = np.random.default_rng(1).integers(0, 2, (16, 16)), inputs(16)[:3]
    found = column_sums(levels, x, macro_of(16, 16), [f"ir_drop:segment_ohm={ohm},on_ohm=1e4"])
    right = nodal.grounded_currents(nodal.conductances(levels, 1, 1e4), x, ohm, ohm) * 1e4
    assert (relative_errors(found, right) < 0.01).all()


@pytest.mark.parametrize("scale", [1e-13, 1e-4, 1.0, 1e4])
def test_superposition_is_exact_from_weak_to_hopeless_wires(scale):
    levels = np.random.default_rng(0).random((24, 20))
    made = exact_shares(levels, Wires(scale, 2 * scale))
    if scale == 1e-13:
        assert np.allclose(made, levels, rtol=1e-9)
        return
    right = nodal.grounded_currents(levels, np.eye(24), scale, 2 * scale)
    assert np.allclose(made, right, rtol=1e-7, atol=1e-12 * right.max())
