"""The training step through an activation's quantisation equals its naive twin, and torch's operations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import common

from cimemu.adapt.kernels import code_step, smooth_step

pytestmark = pytest.mark.slow  # kernels of training, which needs the extra torch

sizes = st.tuples(st.integers(0, 10**6), st.sampled_from([0.02, 0.5, 3.0]), st.sampled_from([0, 2, 128]))
LIMITS = st.sampled_from([(0, 15), (0, 255), (-8, 7), (0, 1)])


def case(drawn, limits):
    seed, step, zero = drawn
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 40)).astype(np.float32)
    x[0, :8] = step * (np.arange(8) + 0.5)  # half-way
    return rng, x, *(np.float32(v) for v in (step, zero, *limits))


@common
@given(sizes, LIMITS)
def test_codes_equal_the_definition(drawn, limits):
    _, x, *given_ = case(drawn, limits)
    made, wanted = np.empty(x.size, np.float32), np.empty(x.size, np.float32)
    code_step.to_codes(x.ravel(), *given_, made)
    code_step.to_codes_naive(x.ravel(), *given_, wanted)
    assert made.tobytes() == wanted.tobytes()


@common
@given(sizes, LIMITS)
def test_gradients_equal_the_definition(drawn, limits):
    rng, x, *given_ = case(drawn, limits)
    slope = rng.normal(size=x.shape).astype(np.float32)
    results = []
    for step in (
        lambda *arrays: code_step.to_codes_back(*arrays),
        lambda *arrays: code_step.to_codes_back_naive(*arrays),
    ):
        back = np.empty_like(x)
        total = step(x, *given_, slope, back, np.empty(x.shape[1], np.float32))
        results.append((back, total))
    (made, total), (wanted, other) = results
    assert made.tobytes() == wanted.tobytes()
    assert total == pytest.approx(other, rel=1e-4, abs=1e-3)


@common
@given(sizes, LIMITS)
def test_torch_operations_give_the_same(drawn, limits):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from cimemu.adapt.codes import codes_of, codes_torch

    rng, x, step, zero, low, high = case(drawn, limits)
    slope = torch.from_numpy(rng.normal(size=(3, 2, 4, 5)).astype(np.float32))
    results = []
    for function in (codes_of, codes_torch):
        for layout in (torch.channels_last, torch.contiguous_format):
            real = torch.from_numpy(x).reshape(3, 2, 4, 5).contiguous(memory_format=layout).requires_grad_()
            size = torch.tensor(float(step), requires_grad=True)
            codes = function(real, size, int(zero), int(low), int(high))
            results.append((codes, *torch.autograd.grad(codes, (real, size), slope)))
    for other in results[1:]:
        assert bool((other[0] == results[0][0]).all())
        assert bool((other[1] == results[0][1]).all())
        assert float(other[2]) == pytest.approx(float(results[0][2]), rel=1e-4, abs=1e-3)


SHARP = st.sampled_from([1.0, 3.0, 10.0, smooth_step.STEEPEST])


def near_codes(drawn, top):
    rng, x, step, *_ = case(drawn, (0, top))
    x = (x * step * (top + 6) / 2).astype(np.float32)  # both ends, and far outside
    x[1, :2] = 1e4, -1e4
    return x, step, rng.normal(size=x.shape).astype(np.float32)


@common
@given(sizes, st.sampled_from([1, 2, 3, 15, 255]), SHARP)
def test_gradients_of_smooth_codes_equal_the_definition(drawn, top, sharpness):
    x, step, slope = near_codes(drawn, top)
    results = []
    for function in (
        lambda *arrays: smooth_step.smooth_back(*arrays),
        lambda *arrays: smooth_step.smooth_back_naive(*arrays),
    ):
        back, work, exps = np.empty_like(x), *np.empty((2, x.shape[1]), np.float32)
        total = function(x, step, np.float32(top), np.float32(sharpness), slope, back, work, exps)
        results.append((back * step, total * step))
    (made, total), (wanted, other) = results
    # a quotient of 256 levels is off by 2^-16 levels, and a slope by 2 k of that
    assert made == pytest.approx(wanted, rel=1e-5 + top * sharpness * 1e-6, abs=1e-5)
    assert total == pytest.approx(other, rel=1e-4, abs=1e-5 * float(np.abs(slope).sum()) * (top + 1))


@common
@given(st.floats(-85, 85, width=32))
def test_a_bump_equals_the_definition_where_its_square_overflows(exponent):
    e = np.float32(np.exp(np.float32(exponent)))
    assert float(smooth_step.bump(e)) == pytest.approx(smooth_step.bump_naive(e), rel=1e-6)


@common
@given(sizes, st.sampled_from([1, 3, 15]), SHARP)
def test_torch_operations_give_the_same_smooth_codes(drawn, top, sharpness):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from cimemu.adapt.codes import smooth_back_torch, smooth_codes

    x, step, slope = (torch.tensor(part) for part in near_codes(drawn, top))
    wanted, total = smooth_back_torch(x, step, top, sharpness, slope)
    shape = (3, 2, 4, 5)
    for layout in (torch.channels_last, torch.contiguous_format):
        real = x.reshape(shape).contiguous(memory_format=layout).requires_grad_()
        size = step.clone().requires_grad_()
        codes = smooth_codes(real, size, top, sharpness)
        assert torch.equal(codes, (real / size).round().clamp(0, top))
        back, of_step = torch.autograd.grad(codes, (real, size), slope.reshape(shape))
        assert (back * step).flatten().tolist() == pytest.approx((wanted * step).flatten().tolist(), rel=1e-4, abs=1e-5)
        assert float(of_step * step) == pytest.approx(float(total * step), rel=1e-4, abs=1e-3)
