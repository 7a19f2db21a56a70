"""Lines, drivers, converters and reads: the populations that the models state."""

import numpy as np
import pytest
from populations import full, write_block
from scipy import stats

import cimemu
from cimemu.engines.programmed import Programmed, program
from cimemu.kernels.noise import stream_key
from cimemu.macro.sites import own_macros
from cimemu.macro.vary import vary_matrix
from cimemu.variation.base import Stream
from cimemu.variation.compose import compose
from cimemu.variation.parse import make_variation

ALPHA = 1e-3
STREAM = Stream(7, 0, "converter", 0)


def within_binomial(successes, trials, rate):
    low, high = stats.binom.interval(1 - ALPHA, trials, rate)
    return low <= successes <= high


@pytest.mark.statistical
def test_stuck_wordlines_and_bitlines_come_at_the_rates_asked_for():
    rows = [write_block(["stuck_wordline:off=0.02,on=0.01"], full(1, 128, 4), top=3, macro=m) for m in range(300)]
    dead = sum((b.levels[:, 0] == 0).sum() for b in rows)
    driven = sum(b.always[0] for b in rows)
    assert within_binomial(driven, 300 * 128, 0.01)
    assert within_binomial(dead - driven, 300 * 128, 0.02)
    columns = [write_block(["stuck_bitline:off=0.02,on=0.01"], full(1, 4, 128), top=3, macro=m) for m in range(300)]
    on = sum((b.always == 3 * 4).sum() for b in columns)
    assert within_binomial(on, 300 * 128, 0.01)
    assert within_binomial(sum((b.levels[0] == 0).sum() for b in columns) - on, 300 * 128, 0.02)


def test_a_stuck_wordline_is_the_same_for_all_blocks_of_its_macro():
    for text in ("stuck_wordline:off=0.3", "driver:gain=0.2"):
        left, right = (write_block([text], full(1, 64, 8), first_column=c).levels[:, 0] for c in (0, 32))
        assert np.array_equal(left, right)
        assert len(set(left)) > 1


def test_a_wordline_stuck_on_adds_its_cells_at_the_full_slice_value():
    block = write_block(["stuck_wordline:on=1"], [[1, 0], [1, 1]], largest_input=3)
    assert np.array_equal(block.always, [6, 3])
    assert not block.levels.any()


@pytest.mark.statistical
def test_drivers_have_an_amplitude_each():
    amplitudes = np.concatenate(
        [write_block(["driver:gain=0.05"], full(1, 128, 2), macro=m).levels[:, 0] for m in range(40)]
    )
    assert stats.kstest((amplitudes - 1) / 0.05, "norm").pvalue > ALPHA


def test_a_multi_bit_driver_bows_at_mid_scale():
    block = write_block(["driver:inl=0.3"], [[1]], largest_input=3)
    assert np.allclose(block.bow, [0, 0.3 * 4 * 2 / 9, 0.3 * 4 * 2 / 9, 0])
    macro = cimemu.load_arch("rram_128", {"macro.input.dac_bits": 2, "macro.adc": "ideal"}).macro
    x, w = np.array([[1, 2, 3, 0]]), np.full((4, 1), 127)
    y = cimemu.mvm(x, w, macro, vary=["driver:inl=0.3"]).y
    more = np.rint(128 * 0.3 * 8 / 9) / 128  # of a cell at level 1; the stored 255 sets all eight
    assert y[0, 0] == 127 * 6 + 255 * 2 * more


@pytest.mark.statistical
@pytest.mark.parametrize(("field", "read"), [("offset", "offset"), ("gain", "gain"), ("inl", "inl")])
def test_every_converter_has_errors_of_its_own(field, read):
    model = make_variation({"model": "converter", field: 0.02})
    base = np.arange(1, 64) - 0.5
    numbers = np.arange(16)
    found = []
    for macro in range(60):
        moved = model.distorted(np.tile(base, (16, 1)), np.ones(16), macro, numbers, STREAM)
        gain, offset = np.polynomial.polynomial.polyfit(base, moved.T, 1)[::-1]
        found.append({"offset": -offset, "gain": 1 / gain - 1, "inl": (moved - base)[:, 31]}[read])
    assert stats.kstest(np.ravel(found) / 0.02, "norm").pvalue > ALPHA


@pytest.mark.statistical
def test_steps_of_converters_vary_and_the_ends_stay():
    model = make_variation("converter:dnl=0.05")
    base = np.arange(1, 64) - 0.5
    steps = []
    for macro in range(60):
        moved = model.distorted(np.tile(base, (16, 1)), np.ones(16), macro, np.arange(16), STREAM)
        steps.append(np.diff(moved, axis=1) - 1)
    assert abs(np.std(steps) / 0.05 - np.sqrt(1 - 1 / 64)) < 0.02
    assert stats.kstest(np.ravel([s[:, 5] for s in steps]) / 0.05 / np.sqrt(1 - 1 / 64), "norm").pvalue > ALPHA


def test_columns_of_one_converter_share_its_errors():
    macro = cimemu.load_arch("rram_128", {"macro.columns_per_adc": 4}).macro
    rng = np.random.default_rng(0)
    ideal = program(rng.integers(-128, 128, (300, 20)), macro).matrix
    varied = vary_matrix(ideal, own_macros(ideal.layout), compose(["converter:offset=0.5,inl=0.3,dnl=0.1"], 3))
    assert varied.switches == ideal.switches == (0, 0, 0)
    seen = set()
    for references in varied.references:
        for start, stop in ideal.layout.col_blocks:
            mine = references.thresholds[start * 8 : stop * 8].reshape(-1, 4, 127)
            assert (mine == mine[:, :1]).all()
            seen |= {tuple(t) for t in mine[:, 0]}
    assert len(seen) == 3 * 20 * 8 // 4


def noise_of(vary, w, macro, x, reads=200):
    y = cimemu.mvm(np.repeat(x, reads, axis=0), w, macro, vary=vary, seed=5).y
    return y - y.mean(axis=0)


@pytest.mark.statistical
def test_thermal_noise_has_the_variance_of_nyquist():
    macro = cimemu.load_arch(
        "rram_128",
        {"macro.adc": "ideal", "macro.input.bits": 1, "macro.weight": {"bits": 1, "encoding": "twos_complement"}},
    ).macro
    w = np.full((128, 100), -1)
    drawn = noise_of(["thermal:celsius=25,on_ohm=1e5,read_volts=0.02,read_ns=10"], w, macro, np.ones((1, 128), int))
    variance = 128 * 4 * 1.380649e-23 * 298.15 * 1e5 / (0.02**2 * 2 * 10e-9)
    assert abs(drawn.std() / np.sqrt(variance) - 1) < 0.02
    assert stats.kstest(drawn.ravel() / np.sqrt(variance), "norm").pvalue > ALPHA
    grounded = noise_of(["thermal:read_volts=0.02"], w, macro, np.zeros((1, 128), int))
    assert abs(grounded.std() / np.sqrt(variance) - 1) < 0.02  # cells at ground are as noisy


@pytest.mark.statistical
def test_noise_of_conversions_is_in_lsb():
    macro = cimemu.load_arch(
        "rram_128",
        {
            "macro.adc": {"model": "linear", "bits": 10, "lsb": 0.25},
            "macro.input.bits": 1,
            "macro.weight": {"bits": 1, "encoding": "twos_complement"},
        },
    ).macro
    drawn = noise_of(["converter:noise=4"], np.full((128, 100), -1), macro, np.eye(128, dtype=int)[:64].sum(0)[None])
    assert abs(drawn.std() / np.sqrt(1 + 0.25**2 / 12) - 1) < 0.02


@pytest.mark.statistical
def test_normal_telegraph_noise_has_the_mean_and_variance_of_its_traps():
    text = "telegraph:amplitude=0.2,occupancy=0.3,share=0.4,draw=normal,activity=0.5"
    block = write_block([text], full(1, 512, 64))
    trapped = block.levels < 1
    assert within_binomial(trapped.sum(), trapped.size, 0.4)
    assert np.allclose(block.levels[trapped], 1 - 0.06)
    assert np.allclose(block.reads[0][1], 0.5 * 0.3 * 0.7 * 0.04 * trapped.sum(axis=0))


def read_cells(vary, rows, reads, columns=64):
    """Sums [reads, columns] of `rows` driven cells at level 1, in level steps."""
    overrides = {
        "macro.adc": "ideal",
        "macro.input.bits": 1,
        "macro.weight": {"bits": 1, "encoding": "twos_complement"},
    }
    macro = cimemu.load_arch("rram_128", overrides).macro
    x, w = np.ones((reads, rows), dtype=np.uint8), np.full((rows, columns), -1)
    return -cimemu.mvm(x, w, macro, vary=vary, seed=11).y


@pytest.mark.statistical
def test_a_trap_has_two_states_at_the_rates_asked_for():
    sums = read_cells(["telegraph:amplitude=0.25,occupancy=0.3,share=0.4"], 1, 2000, 128)
    assert set(np.unique(sums)) == {0.75, 1.0}
    trapped = (sums < 1).any(axis=0)
    assert within_binomial(trapped.sum(), trapped.size, 0.4)
    filled = sums[:, trapped] < 1
    assert within_binomial(filled.sum(), filled.size, 0.3)
    for column in filled.T:  # no memory from read to read
        assert within_binomial((column[1:] & column[:-1]).sum(), len(column) - 1, column.mean() ** 2)


@pytest.mark.statistical
def test_filled_traps_of_a_column_are_binomial():
    rows, reads, rate = 16, 4000, 0.3
    lost = 4 * (rows - read_cells([f"telegraph:amplitude=0.25,occupancy={rate}"], rows, reads))
    found = np.bincount(lost.astype(int).ravel(), minlength=rows + 1)
    expected = lost.size * stats.binom.pmf(np.arange(rows + 1), rows, rate)
    many = expected > 10
    found, expected = (np.append(v[many], v[~many].sum()) for v in (found, expected))
    assert stats.chisquare(found, expected).pvalue > ALPHA


@pytest.mark.statistical
def test_the_normal_approximation_has_the_mean_and_spread_of_the_traps():
    text = "telegraph:amplitude=0.25,occupancy=0.5,share=0.7"  # all levels in whole 128ths: nothing is rounded
    traps = read_cells([text], 128, 2000)
    normal = read_cells([text + ",draw=normal,activity=1"], 128, 2000)
    assert np.allclose(traps.mean(axis=0), normal.mean(axis=0), atol=0.12)  # 5 standard errors
    assert np.allclose(traps.std(axis=0), normal.std(axis=0), rtol=0.12)


def test_a_slow_trap_keeps_its_state():
    macro = cimemu.load_arch("rram_128", {"macro.adc": "ideal", "macro.weight.bits": 8}).macro
    w = np.full((64, 4), -1)
    ideal = program(w, macro)
    x = np.tile(np.random.default_rng(0).integers(0, 256, (1, 64)), (6, 1))

    def values(hold):
        vary = compose([f"telegraph:amplitude=0.5,hold={hold}"], 3)
        varied = Programmed(vary_matrix(ideal.matrix, own_macros(ideal.matrix.layout), vary))
        return varied.run(x, images=2).y.reshape(2, 3, -1)  # three positions an image

    held = values("image")
    assert (held == held[:, :1]).all()
    assert (held[0] != held[1]).any()
    once = values("input")
    assert (once[0, 0] != once[0, 1]).any()
    # slices of one input see the same states: an input of 2^7 is 2^7 times an input of 1
    ones = np.ones((1, 64), dtype=np.uint8)
    assert np.array_equal(
        128 * cimemu.mvm(ones, w, macro, vary=["telegraph:amplitude=0.5,hold=input"]).y,
        cimemu.mvm(128 * ones, w, macro, vary=["telegraph:amplitude=0.5,hold=input"]).y,
    )


def test_a_normal_number_holds_no_state():
    with pytest.raises(cimemu.ArchError, match="telegraph: hold = image with draw normal"):
        read_cells(["telegraph:amplitude=0.1,draw=normal,hold=image"], 2, 1)


def test_streams_are_named():
    assert Stream(1, 2, "m", 3).key == stream_key(1, 2, "m", 3)
    assert Stream(1, 2, "m", 3).read_key(4, 0, 0) != Stream(1, 2, "m", 3).read_key(5, 0, 0)
