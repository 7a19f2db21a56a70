"""Products of a training step: bytes give the sums of real numbers, and gradients are autograd's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import common

torch = pytest.importorskip("torch", reason="torch is not installed")

import cimemu  # noqa: E402
from cimemu.adapt import products as module  # noqa: E402
from cimemu.adapt.one_pixel import met  # noqa: E402
from cimemu.adapt.products import products  # noqa: E402
from cimemu.adapt.psum_conv import LAST, Convolution, byte_products, float_products, has_byte_products  # noqa: E402
from cimemu.adapt.psums import Converters, Steps, Tables  # noqa: E402
from cimemu.adapt.wiring import Wiring  # noqa: E402
from cimemu.layer.macro_layer import Geometry  # noqa: E402

sizes = st.tuples(
    st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3]), st.sampled_from([1, 2])
)
OUTPUTS, IMAGES, SIDE = 4, 5, 6


def case(seed, groups, conversions, kernel, stride, slots=8, limits=(0, 16, -4, 5)):
    draws = torch.Generator().manual_seed(seed)
    least, most, low, high = limits
    u = torch.randint(least, most, (IMAGES, groups * slots, SIDE, SIDE), generator=draws).float()
    shape = (groups, conversions, OUTPUTS, slots, kernel, kernel)
    filters = torch.randint(low, high, shape, generator=draws).float()
    slopes = tuple(0.5 / 4**v for v in range(conversions))
    u, strides = met(u, (kernel, kernel), (stride, stride))
    how = Convolution((strides, 0, (1, 1)), groups, groups, conversions, slopes, 255)
    return draws, u.contiguous(memory_format=LAST), filters, how


@common
@given(sizes)
def test_bytes_give_the_very_sums_of_real_numbers(drawn):
    if not has_byte_products():
        pytest.skip("torch has no convolution of bytes here")
    _, u, filters, how = case(*drawn, limits=(0, 256, -64, 65))
    filters = filters.flatten(0, 2).contiguous(memory_format=LAST)
    made, wanted = byte_products(filters, how)(u), float_products(u, filters, how)
    assert made.shape == wanted.shape
    assert bool((made == wanted).all())


def plain(u, filters, integers, how, given_, top):
    """The definition: one convolution a slice of digits that pass their share of the gradient, all images at once."""
    lsb, zero, factor = given_
    shares = torch.tensor(how.slopes)[:, None, None, None, None]
    kept = integers.unflatten(0, (how.groups, 1, OUTPUTS))
    seen = filters + shares * (kept - kept.detach())
    psums = torch.nn.functional.conv2d(u, seen.flatten(0, 2), None, *how.window, how.apart)
    flat = psums.permute(0, 2, 3, 1)
    place = (flat - zero) / lsb
    nearest = torch.floor(place + 0.5)
    code = nearest.clamp(0, top)
    through = torch.where(nearest == code, place, code)
    value = zero + lsb * (through + (code - through).detach())
    total = (factor * value).unflatten(3, (-1, OUTPUTS)).sum(dim=3)
    return total.permute(0, 3, 1, 2)


@common
@given(sizes, st.booleans(), st.booleans())
def test_gradients_are_those_of_autograd(drawn, by_bytes, in_one):
    draws, u, filters, how = case(*drawn)
    how = how if by_bytes else how._replace(largest_code=None)
    columns = filters.flatten(0, 2).shape[0]
    integers = torch.zeros(how.groups * OUTPUTS, *filters.shape[3:]).requires_grad_()
    given_ = [
        (low + (high - low) * torch.rand(columns, generator=draws)).requires_grad_()
        for low, high in ((4.1, 20.0), (-40.0, 0.0), (-2.0, 2.0))
    ]
    u.requires_grad_()
    before, module.AT_ONCE = module.AT_ONCE, 2**30 if in_one else 1
    try:
        made = products(u, filters.flatten(0, 2), integers, how, Converters(Steps(7), tuple(given_)), OUTPUTS)
        wanted = plain(u, filters, integers, how, given_, 7)
        assert torch.allclose(made, wanted, rtol=1e-4, atol=1e-3)
        slope = torch.randn(made.shape, generator=draws)
        learners = (u, integers, *given_)
        for one, other in zip(torch.autograd.grad(made, learners, slope), torch.autograd.grad(wanted, learners, slope)):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max() + 1))
    finally:
        module.AT_ONCE = before


def test_tables_and_filters_of_their_own_gradient():
    draws, u, filters, how = case(3, 2, 2, 3, 1)
    flat, columns = filters.flatten(0, 2).requires_grad_(), filters.flatten(0, 2).shape[0]
    levels = torch.tensor([-30.0, 0.0, 40.0])[:, None].expand(3, columns)
    given_ = (torch.tensor([-10.0, 15.0])[:, None].expand(2, columns), levels, torch.ones(columns))
    how = how._replace(slopes=None)
    made = products(u, flat, torch.zeros(0), how, Converters(Tables(), given_), OUTPUTS)
    psums = torch.nn.functional.conv2d(u, flat, None, *how.window, how.apart)
    value = torch.where(psums >= 15, 40.0, torch.where(psums >= -10, 0.0, -30.0))
    soft = torch.where((psums >= -50) & (psums <= 65), psums, 0.0)  # as far out as thresholds lie inside
    wanted = (soft + (value - soft).detach()).unflatten(1, (-1, OUTPUTS)).sum(dim=1)
    assert torch.allclose(made, wanted)
    slope = torch.randn(made.shape, generator=draws)
    (one,), (other,) = (torch.autograd.grad(v, flat, slope) for v in (made, wanted))
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-2)


def test_gradients_in_bfloat16_are_near():
    _, u, filters, how = case(5, 2, 2, 3, 1)
    columns = filters.flatten(0, 2).shape[0]
    given_ = (torch.full((columns,), 9.0), torch.full((columns,), -20.0), torch.ones(columns))
    found = []
    for kind in ("float32", "bfloat16"):
        integers = torch.zeros(how.groups * OUTPUTS, *filters.shape[3:]).requires_grad_()
        codes = u.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        made = products(
            codes,
            filters.flatten(0, 2),
            integers,
            how._replace(gradients=kind),
            Converters(Steps(7), given_),
            OUTPUTS,
        )
        slope = torch.from_numpy(np.random.default_rng(0).normal(size=tuple(made.shape)).astype(np.float32))
        found.append((made, *torch.autograd.grad(made, (codes, integers), slope)))
    assert bool((found[0][0] == found[1][0]).all())  # what is computed forward stays exact
    for one, other in zip(found[0][1:], found[1][1:]):
        assert 0 < float((one - other).norm() / one.norm()) < 0.01


def test_kernels_of_one_pixel_that_step_give_the_same_sums_and_gradients_every_time():
    """Torch's own strided form of these loses sums now and then, where its threads share a buffer."""
    draws = torch.Generator().manual_seed(1)
    for number in range(150):
        channels, stride = 1 + number % 17, (1 + number % 2, 2)
        u = torch.randint(0, 16, (1 + number % 5, channels, 6, 5), generator=draws).float().requires_grad_()
        filters = torch.randint(-7, 8, (3, channels, 1, 1), generator=draws).float().requires_grad_()
        seen, left = met(u, (1, 1), stride)
        how = Convolution((left, 0, (1, 1)), 1, 1, 1, None, 15)
        given_ = (torch.ones(3), torch.zeros(3), torch.ones(3))
        made = products(seen, filters, filters.detach(), how, Converters(Steps(2**12), given_), 3)
        slope = torch.randint(-3, 4, made.shape, generator=draws).float()
        made.backward(slope)
        exact = [v.detach().double().requires_grad_() for v in (u, filters)]
        wanted = torch.nn.functional.conv2d(*exact, stride=stride)
        wanted.backward(slope.double() * (wanted.detach() >= -0.5))
        assert torch.equal(made.double(), wanted.detach().clamp(min=0))
        for have, want in zip((u, filters), exact):
            assert torch.equal(have.grad.double(), want.grad)


def test_a_layer_of_one_pixel_steps_by_one_over_what_it_meets():
    macro = cimemu.load_arch("rram_128").macro
    wiring = Wiring(Geometry(5, 7, 6, 3, 4, 3, stride_h=2, stride_w=2), macro)
    u = torch.arange(2.0 * 5 * 7 * 6).reshape(2, 5, 7, 6)
    assert wiring.window[0] == (1, 1)
    assert torch.equal(wiring.met(u), u[:, :, ::2, ::2])
    wide = Wiring(Geometry(5, 7, 6, 3, 3, 3, 3, 2, stride_h=2, stride_w=2), macro)
    assert wide.window[0] == (2, 2)
    assert wide.met(u) is u
