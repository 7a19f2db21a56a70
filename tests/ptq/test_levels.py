"""Levels of nonlinear converters, binary weights and ramps against their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.adc.ramp import ramp_cells, ramp_thresholds
from cimemu.ptq.binary import METHODS as BINARY
from cimemu.ptq.binary import binarize
from cimemu.ptq.cut import make_cut
from cimemu.ptq.levels import METHODS, edges, fit_levels, interior, squared_error, thresholds_of

SEEDS = st.integers(0, 2**32 - 1)
common = settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=list(HealthCheck))


def draw(seed, bins=14, groups=3):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.integers(1, 4, bins)).astype(np.float64)
    weights = rng.integers(0, 50, (groups, bins)).astype(np.float64)
    weights[:, 0] += 200.0  # a pile at the lower edge, as ReLU makes one
    weights[:, -1] += 1.0
    return values, weights


def plain_error(values, weights, levels):
    """From the definition: code = number of thresholds <= value."""
    total = 0.0
    for v, w in zip(values, weights):
        code = sum(t <= v for t in thresholds_of(levels))
        total += w * (v - levels[code]) ** 2
    return total


@common
@given(SEEDS, st.sampled_from(METHODS), st.integers(2, 6))
def test_levels_ascend_and_errors_are_the_definition_s(seed, method, count):
    values, weights = draw(seed)
    levels = fit_levels(values, weights, count, method)
    assert levels.shape == (3, count)
    assert (np.diff(levels, axis=1) >= 0).all()
    fast = squared_error(values, weights, levels)
    for group in range(3):
        assert fast[group] == pytest.approx(plain_error(values, weights[group], levels[group]), rel=1e-9, abs=1e-6)


@common
@given(SEEDS, st.integers(2, 5))
def test_no_method_beats_the_optimum_of_one_dimension(seed, count):
    values, weights = draw(seed, bins=9)
    best = squared_error(values, weights, fit_levels(values, weights, count, "kmeans_exact"))
    for method in METHODS:
        error = squared_error(values, weights, fit_levels(values, weights, count, method))
        assert (best <= error * (1 + 1e-9) + 1e-6).all(), method
    # and it is the optimum: every way to cut the bins into runs
    for group in range(3):
        least = np.inf
        for cuts in itertools.combinations(range(1, len(values)), count - 1):
            parts = [(values[a:b], weights[group, a:b]) for a, b in itertools.pairwise((0, *cuts, len(values)))]
            means = [(v * w).sum() / w.sum() if w.sum() else v.mean() for v, w in parts]
            least = min(least, sum((w * (v - m) ** 2).sum() for (v, w), m in zip(parts, means)))
        assert best[group] == pytest.approx(least, rel=1e-9, abs=1e-6)


@common
@given(SEEDS)
def test_lloyd_never_loses_to_where_it_starts_and_clipping_never_to_the_whole_range(seed):
    values, weights = draw(seed)
    error = {m: squared_error(values, weights, fit_levels(values, weights, 4, m)) for m in ("linear", "lloyd_max")}
    assert (error["lloyd_max"] <= error["linear"] * (1 + 1e-9)).all()


def test_boundary_suppression_leaves_out_edges_and_pins_them():
    values = np.arange(11, dtype=np.float64)
    weights = np.array([[900, 1, 1, 1, 1, 1, 1, 1, 1, 1, 900]], dtype=np.float64)
    assert interior(values, weights)[0].tolist() == [0, *[1] * 9, 0]
    # a sample exactly at the margin, 1e-3 of the range, belongs to the edge; a group of one value has no interior
    at_margin = interior(np.array([0.0, 0.5, 1.0, 499.5, 500.0]) * 2, np.ones((1, 5)))[0]
    assert at_margin.tolist() == [0, 0, 1, 0, 0]
    assert interior(np.array([5.0]), np.ones((1, 1)))[0].tolist() == [0]
    pinned = fit_levels(values, weights, 4, "bs_kmq_pin")[0]
    assert (pinned[0], pinned[-1]) == (0, 10)
    dropped = fit_levels(values, weights, 3, "bs_kmq_drop")[0]
    assert dropped.min() >= 1
    assert dropped.max() <= 9
    low, high = edges(values, weights)
    assert (low[0], high[0]) == (0, 10)
    # the suppressed edges cost more over all samples than k-means does
    optimum = squared_error(values, weights, fit_levels(values, weights, 4, "kmeans_exact"))
    assert squared_error(values, weights, fit_levels(values, weights, 4, "bs_kmq_drop"))[0] > optimum[0]


@common
@given(st.integers(2, 60), SEEDS)
def test_the_exact_two_levels_are_never_worse(count, seed):
    rng = np.random.default_rng(seed)
    w = rng.choice([rng.normal(size=count), rng.integers(-3, 4, count).astype(float), rng.gamma(0.4, size=count)])

    def error(method):
        signs, alpha, beta = BINARY[method](w)
        assert set(np.unique(signs)) <= {-1, 1}
        assert alpha > 0
        return float(((alpha * signs + beta - w) ** 2).sum())

    slack = 1e-6
    assert error("exact") <= error("closed_form") + slack
    assert error("exact") <= error("xnor") + slack
    if count <= 10:
        order = np.sort(w)
        least = min(
            ((order[:k] - order[:k].mean()) ** 2).sum() + ((order[k:] - order[k:].mean()) ** 2).sum()
            for k in range(1, count)
        )
        assert error("exact") == pytest.approx(least, abs=slack)


@common
@given(SEEDS)
def test_the_closed_form_is_the_least_squares_fit_of_its_signs(seed):
    w = np.random.default_rng(seed).normal(0.2, 1, 40)
    signs, alpha, beta = BINARY["closed_form"](w)
    design = np.stack([signs, np.ones(40)], axis=1)
    want, *_ = np.linalg.lstsq(design.astype(float), w, rcond=None)
    np.testing.assert_allclose([alpha, beta], want, atol=1e-9)


def test_binary_groups_of_the_mapping():
    macro = cimemu.load_arch("rram_128", {"macro.rows": 20}).macro
    w = np.random.default_rng(0).normal(size=(5, 50))
    cut = make_cut(1, 50, 5, 1, macro)
    signs, alpha, beta = binarize(w, cut, "column", "exact")
    for n, block in np.ndindex(5, 3):
        part = w[n, cut.block[n] == block]
        s, a, b = BINARY["exact"](part)
        assert np.array_equal(signs[n, cut.block[n] == block], s)
        assert (alpha[n, block], beta[n, block]) == (a, b)


@common
@given(SEEDS, st.floats(0.5, 20))
def test_a_ramp_of_whole_cells_is_half_a_cell_off_at_most(seed, delta):
    rng = np.random.default_rng(seed)
    thresholds = np.sort(rng.uniform(0, 500, (4, 7)), axis=1)
    start = np.zeros(4)
    counts = ramp_cells(thresholds, start, delta)
    made = ramp_thresholds(counts, start, delta)
    assert (counts >= 0).all()
    assert (np.abs(made - thresholds) <= delta / 2 * (1 + 1e-9)).all()
    assert (np.diff(made, axis=1) >= 0).all()
    drawn = ramp_thresholds(counts, start, delta, 0.1, seed=3, instance="a")
    assert np.array_equal(drawn, ramp_thresholds(counts, start, delta, 0.1, seed=3, instance="a"))
    assert not np.array_equal(drawn, ramp_thresholds(counts, start, delta, 0.1, seed=4, instance="a"))
    np.testing.assert_allclose(ramp_thresholds(counts, start, delta, 1e-300, seed=3), made, rtol=1e-12)


def test_mismatch_has_the_spread_it_is_given():
    counts = np.full((400, 1), 100)
    made = ramp_thresholds(counts, np.zeros(400), 2.0, 0.2, seed=1)
    assert made.mean() == pytest.approx(200, abs=1)
    assert made.std() == pytest.approx(2.0 * 0.2 * 10, rel=0.12)
