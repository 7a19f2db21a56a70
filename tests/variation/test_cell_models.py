"""Every cell model draws the population that it states; strength zero changes nothing."""

from math import exp

import numpy as np
import pytest
from populations import full, write_block, written
from scipy import stats

from cimemu.variation.base import Stream
from cimemu.variation.compose import compose
from cimemu.variation.lognormal import exponentials
from cimemu.variation.parse import make_variation

ALPHA = 1e-3  # of every test at its fixed seed


def ks(sample, *distribution):
    return stats.kstest(np.ravel(sample), *distribution).pvalue


def within_binomial(successes, trials, rate):
    low, high = stats.binom.interval(1 - ALPHA, trials, rate)
    return low <= successes <= high


@pytest.mark.statistical
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("level", [1, 3])
def test_lognormal(sigma, level):
    drawn = written([f"lognormal:sigma={sigma}"], full(level))
    assert ks(np.log(drawn / level) / sigma, "norm") > ALPHA
    assert not written([f"lognormal:sigma={sigma}"], full(0)).any()


@pytest.mark.statistical
def test_normal_in_proportion_and_absolute():
    relative = written(["normal:relative=0.1"], full(3))
    assert ks((relative / 3 - 1) / 0.1, "norm") > ALPHA
    absolute = written(["normal:absolute=0.2"], full(3))
    assert ks((absolute - 3) / 0.2, "norm") > ALPHA
    together = written(["normal:relative=0.1,absolute=0.2"], full(3))
    assert ks((together - 3) / np.hypot(0.3, 0.2), "norm") > ALPHA
    at_zero = written(["normal:absolute=0.2"], full(0))
    assert within_binomial((at_zero == 0).sum(), at_zero.size, 0.5)
    assert ks(at_zero[at_zero > 0] / 0.2, "halfnorm") > ALPHA


@pytest.mark.statistical
def test_level_spread_has_a_sigma_per_level():
    sigma = [0.02, 0.1, 0.3, 0.05]
    targets = np.random.default_rng(1).integers(0, 4, (256, 256))
    drawn = written([{"model": "level_spread", "sigma": sigma}], targets)
    for level in (1, 2, 3):
        assert ks((drawn[targets == level] - level) / sigma[level], "norm") > ALPHA


@pytest.mark.statistical
def test_write_verify_cuts_the_normal_off_at_the_tolerance():
    block = write_block(["write_verify:sigma=0.3,tolerance=0.3,iterations=50"], full(5))
    error = block.levels - 5
    assert np.abs(error).max() <= 0.3 + 1e-12
    assert ks(error / 0.3, "truncnorm", (-1, 1)) > ALPHA
    accepted = stats.norm.cdf(1) - stats.norm.cdf(-1)
    pulses = block.pulses / error.size
    assert abs(pulses - 1 / accepted) < 4 * np.sqrt(1 - accepted) / accepted / np.sqrt(error.size)


@pytest.mark.statistical
def test_write_verify_gives_up_after_its_iterations():
    block = write_block(["write_verify:sigma=0.3,tolerance=0.15,iterations=3"], full(5))
    refused = 2 * stats.norm.sf(0.5)
    assert within_binomial((np.abs(block.levels - 5) > 0.15).sum(), block.levels.size, refused**3)
    assert block.row_pulses == 3 * 256  # with 256 cells a row somebody always takes them all
    once = write_block(["write_verify:sigma=0.3"], full(5))
    assert (once.pulses, once.row_pulses) == (256 * 256, 256)
    assert ks((once.levels - 5) / 0.3, "norm") > ALPHA


def test_write_verify_rounds_targets_to_the_circuits_step():
    assert np.array_equal(
        written(["write_verify:sigma=0,step=0.4"], [[0, 1, 2, 3]]), np.array([[0.0, 2 * 0.4, 5 * 0.4, 8 * 0.4]])
    )


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("sa0", "sa1"), [(0.01, 0.0), (0.0, 0.01), (0.01, 0.001), (0.0175, 0.0904), (0.5, 0.5), (1, 0)]
)
def test_fault_rates_are_those_asked_for(sa0, sa1):
    drawn = written([f"stuck_at:sa0={sa0},sa1={sa1}"], full(1, 1024, 1024), top=3)
    assert within_binomial((drawn == 0).sum(), drawn.size, sa0)
    assert within_binomial((drawn == 3).sum(), drawn.size, sa1)
    assert ((drawn == 0) | (drawn == 3) | (drawn == 1)).all()


@pytest.mark.statistical
def test_two_kinds_of_faults_as_two_models_are_independent():
    drawn = written(["stuck_at:sa0=0.01", "stuck_at:sa1=0.01"], full(1, 1024, 1024), top=3)
    assert within_binomial((drawn == 3).sum(), drawn.size, 0.01)
    assert within_binomial((drawn == 0).sum(), drawn.size, 0.01 * 0.99)


def test_on_off_ratio_adds_the_leakage_of_every_cell():
    assert np.array_equal(written(["on_off:ratio=4"], [[0, 1, 2, 3]]), [[1, 2, 3, 4]])
    assert np.allclose(written(["on_off:ratio=101"], [[0, 1]]), [[0.01, 1.01]], rtol=0, atol=1e-15)


@pytest.mark.statistical
def test_drift_is_a_power_law_with_an_exponent_of_each_cell():
    drawn = written(["drift:seconds=2e4,nu=0.06,nu_sigma=0.01"], full(3))
    exponent = -np.log(drawn / 3) / np.log(1000)
    assert ks((exponent - 0.06) / 0.01, "norm") > ALPHA
    same = written(["drift:seconds=2e4,nu=0.06"], full(3, 2, 2))
    assert np.allclose(same, 3 * 1000**-0.06, rtol=1e-9)


def test_temperature_moves_on_and_off_conductance():
    warm = written(["temperature:celsius=85,per_kelvin=-0.002"], [[0, 1]])
    assert np.allclose(warm, [[0, 1 - 0.12]], atol=1e-12)
    leaky = written(["on_off:ratio=11", "temperature:celsius=85,per_kelvin=0,activation_ev=0.2,off_ratio=11"], [[0, 1]])
    more = exp(0.2 / 8.617333262e-5 * (1 / 298.15 - 1 / 358.15))
    assert np.allclose(leaky, [[0.1 * more, 1 + 0.1 * more]], rtol=1e-12)


ZERO = [
    "lognormal:sigma=0",
    "normal",
    "level_spread:sigma=[0,0]",
    "write_verify:sigma=0,iterations=5",
    "stuck_at",
    "on_off:ratio=inf",
    "drift:seconds=20",
    "drift:seconds=500,nu=0",
    "temperature:celsius=25",
    "stuck_wordline",
    "stuck_bitline:off=0",
    "ir_drop:segment_ohm=0",
    "driver",
    "telegraph:amplitude=0",
]
STRONG = [
    "lognormal:sigma=0.2",
    "normal:relative=0.1,absolute=0.1",
    "level_spread:sigma=[0.1,0.2]",
    "write_verify:sigma=0.2,tolerance=0.1,iterations=5",
    "stuck_at:sa0=0.1,sa1=0.1",
    "on_off:ratio=20",
    "drift:seconds=500,nu_sigma=0.05",
    "temperature:celsius=85,off_ratio=20",
    "stuck_bitline:off=0.1,on=0.1",
    "telegraph:amplitude=0.3,share=0.5,draw=normal",
]


@pytest.mark.parametrize("text", ZERO)
def test_strength_zero_is_the_identity(text):
    targets = np.random.default_rng(0).integers(0, 2, (64, 64))
    assert make_variation(text).is_identity
    assert not compose([text])
    block = write_block([], targets)
    make_variation(text).write(block, Stream(7, 0, "model", 0))
    assert np.array_equal(block.levels, targets)


@pytest.mark.parametrize("text", STRONG)
def test_a_cells_level_depends_on_its_key_alone(text):
    targets = np.random.default_rng(0).integers(0, 2, (64, 40))
    whole = written([text], targets, macro=3, first_column=16, write=1, trial=2)
    assert np.array_equal(whole, written([text], targets, macro=3, first_column=16, write=1, trial=2))
    part = written([text], targets[:, 13:29], top=1, macro=3, first_column=29, write=1, trial=2)
    assert np.array_equal(part, whole[:, 13:29])
    others = [other for other in ("stuck_at", "normal", "lognormal:sigma=0") if not text.startswith(other[:6])]
    assert np.array_equal(whole, written([*others, text, *others], targets, macro=3, first_column=16, write=1, trial=2))
    owner = make_variation(text).owner
    if owner != "nothing":
        rewrite = [{"write": 0}] if owner == "writing" else []
        for other in ({"macro": 4}, {"first_column": 17}, *rewrite, {"seed": 8}, {"trial": 1}):
            place = {"macro": 3, "first_column": 16, "write": 1, "trial": 2, **other}
            assert not np.array_equal(whole, written([text], targets, **place))


def test_two_models_never_share_a_draw():
    one = written(["lognormal:sigma=0.1"], full(1, 64, 64))
    two = written(["normal:relative=0.1"], full(1, 64, 64))
    again = written(["lognormal:sigma=0", "lognormal:sigma=0.1"], full(1, 64, 64))
    for a, b in [(np.log(one), two - 1), (np.log(one), np.log(again))]:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / 64


def test_exponentials_are_rounded_exactly():
    from decimal import Decimal, localcontext

    from cimemu.kernels.noise import normal_quantiles

    table = exponentials(0.125)
    with localcontext() as context:
        context.prec = 60
        for i in range(0, 65536, 997):
            exact = (Decimal("0.125") * int(normal_quantiles()[i]) / 2**24).exp() * 2**30
            assert abs(Decimal(float(table[i])) * 2**30 - exact) <= Decimal(1) / 2
    assert np.array_equal(table * 2**30, np.rint(table * 2**30))
