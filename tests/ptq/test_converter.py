"""Converters fitted to calibration images."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.histograms import psum_histograms
from cimemu.ptq.converter import GRANULARITIES, fit_linear


def images(count=6, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, channels, 5, 4)).astype(np.uint8)


def error(histogram, lsb, zero, bits, granularity):
    """The fitted squared error, from the definition."""
    counts, low = histogram.counts, histogram.low
    total = 0.0
    for block, column in np.ndindex(*counts.shape[:2]):
        array = next(i for i, (a, b) in enumerate(histogram.columns_of_array) if a <= column < b)
        where = {"layer": None, "array": (block, array), "column": (block, column)}[granularity]
        step = lsb if where is None else lsb[where[0]][where[1]]
        base = zero if where is None else zero[where[0]][where[1]]
        for v in np.flatnonzero(counts[block, column]):
            code = min(max(np.floor((low + v - base) / step + 0.5), 0), 2**bits - 1)
            weight = counts[block, column, v] * histogram.significance[column]
            total += weight * (base + code * step - (low + v)) ** 2
    return total


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_finer_granularity_never_has_a_larger_error(bits):
    macro = cimemu.load_arch("rram_128", {"macro.columns": 48, "macro.rows": 20}).macro
    for histogram in psum_histograms(nets.residual_network(channels=7), macro, images(channels=7)):
        errors = []
        for granularity in GRANULARITIES:
            lsb, zero = fit_linear(
                histogram.counts, histogram.low, histogram.significance, histogram.columns_of_array, bits, granularity
            )
            errors.append(error(histogram, lsb, zero, bits, granularity))
        assert errors[0] >= errors[1] * (1 - 1e-9)
        assert errors[1] >= errors[2] * (1 - 1e-9)


def test_histograms_count_every_conversion_with_the_square_of_its_weight():
    macro = cimemu.load_arch("rram_128").macro
    network = nets.residual_network()
    found = list(psum_histograms(network, macro, images(2), vectors=10**6))
    assert [h.layer for h in found] == ["conv1", "conv2", "fc"]
    # conv1: 2 images x 20 positions, 8 slices weighing 4^i, one group
    per_column = 2 * 20 * sum(4**i for i in range(8))
    assert (found[0].counts.sum(axis=2) == per_column).all()
    assert found[0].significance[:8].tolist() == [4.0**s for s in range(8)]


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("groups", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_fitted_converters_run_and_enough_bits_make_them_exact(granularity, groups):
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 6})
    network = nets.residual_network(groups=groups)
    fitted = cimemu.calibrate_converters(network, arch, images(), granularity=granularity)
    assert set(fitted.converters) == {"conv1", "conv2", "fc"}
    ideal = cimemu.run(cimemu.load_arch("rram_128", {"macro.adc": "ideal"}), network, images())
    # 27 rows: psums of at most 27 fit 6 bits; the fit finds lsb 1
    assert np.array_equal(cimemu.run(arch, fitted, images()).outputs, ideal.outputs)
    coarse = cimemu.load_arch("rram_128", {"macro.adc.bits": 3})
    rough = cimemu.calibrate_converters(network, coarse, images(), granularity=granularity)
    a, b = (cimemu.run(coarse, rough, images(), path=p, detail=None).outputs for p in ("serial", "naive"))
    assert np.array_equal(a, b)


def test_calibration_that_makes_no_sense_is_refused():
    network = nets.residual_network()
    with pytest.raises(cimemu.WorkloadError, match="granularity = 'pixel'"):
        cimemu.calibrate_converters(network, cimemu.load_arch("rram_128"), images(), granularity="pixel")
    with pytest.raises(cimemu.ArchError, match=r"macro.adc.model = ideal"):
        cimemu.calibrate_converters(network, cimemu.load_arch("digital_cim"), images())
    with pytest.raises(cimemu.WorkloadError, match="no image given"):
        cimemu.calibrate_converters(network, cimemu.load_arch("rram_128"), images()[:0])
