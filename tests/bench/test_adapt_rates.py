"""A training step of a fake-macro convolution beside a plain quantised one: `pytest tests/bench -m bench -k adapt`.

The goal of the issue: at most 4 times the time for column/column, W4A4, 128 rows, on the processor.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import cimemu  # noqa: E402
from cimemu.adapt.fake_macro import FakeMacro  # noqa: E402
from cimemu.adapt.rounding import rounded, slowed  # noqa: E402
from cimemu.layer.macro_layer import Geometry  # noqa: E402
from cimemu.ptq.apply import macro_of  # noqa: E402
from cimemu.ptq.scheme import scheme_of  # noqa: E402

pytestmark = pytest.mark.bench
IMAGES = 32
SHAPES = {"16 channels, 32x32": (16, 32), "32 channels, 16x16": (32, 16), "64 channels, 8x8": (64, 8)}
SCHEME = {"weights.bits": 4, "activations.bits": 4, "converter.bits": 3, "rows": "whole_kernels"}


class PlainLsq(torch.nn.Module):
    """The yardstick: the same convolution with learned steps of weights and no arrays, and a normalisation."""

    def __init__(self, channels, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.step = torch.nn.Parameter(weight.abs().mean().reshape(1, 1, 1, 1) / 2)
        self.norm = torch.nn.BatchNorm2d(channels)

    def forward(self, u, step, zero):
        s = slowed(self.step, float((self.weight.numel() * 7) ** -0.5))
        w = rounded((self.weight / s).clamp(-7, 7)) * s
        return self.norm(torch.nn.functional.conv2d(u, w, padding=1) * step)


def fake(channels, side, weight, cell_bits):
    arch = cimemu.load_arch("rram_128", {"macro.cell.bits": cell_bits, "macro.input.dac_bits": 4})
    scheme = scheme_of("column", SCHEME)
    macro = macro_of(arch, scheme)
    geometry = Geometry(
        channels_in=channels,
        height_in=side,
        width_in=side,
        channels_out=channels,
        height_out=side,
        width_out=side,
        kernel_h=3,
        kernel_w=3,
        pad_top=1,
        pad_left=1,
        pad_bottom=1,
        pad_right=1,
    )
    made = FakeMacro(geometry, macro, scheme, weight.flatten(1), gradient="proper", parity=False, norm=True)
    made.weight_scale.data.fill_(float(weight.abs().mean()) / 2)
    blocks, columns = made.wiring.cut.blocks, channels * made.conversions
    number = torch.arange(blocks * columns).reshape(blocks, columns)
    made.learn_steps(torch.full((blocks * columns,), 60.0), torch.zeros(blocks * columns), number, 7, 0.01)
    return made


@pytest.mark.parametrize("gradients", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell_bits", [None, 4, 2], ids=["plain", "4-bit cells", "2-bit cells"])
@pytest.mark.parametrize("shape", SHAPES)
def test_adapt_training_step(benchmark, rate, shape, cell_bits, gradients):
    channels, side = SHAPES[shape]
    if cell_bits is None and gradients != "float32":
        pytest.skip("the plain layer has no such setting")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        draws = torch.Generator().manual_seed(0)
        weight = torch.randn(channels, channels, 3, 3, generator=draws) * (2 / (9 * channels)) ** 0.5
        module = PlainLsq(channels, weight) if cell_bits is None else fake(channels, side, weight, cell_bits)
        module.train().gradient_type = gradients
        codes = torch.randint(0, 16, (IMAGES, channels, side, side), generator=draws).float()
        u = codes.contiguous(memory_format=torch.channels_last).requires_grad_()
        step = torch.tensor(0.1)

        def once():
            u.grad = None
            module.zero_grad(set_to_none=True)
            module(u, step, 0.0).square().mean().backward()

        once()
        assert u.grad is not None
        assert np.isfinite(float(module.weight.grad.abs().sum()))
        benchmark(once)
        layer = "plain" if cell_bits is None else f"{cell_bits}-bit cells, gradients {gradients}"
        rate(f"training step, {layer}, {shape}", IMAGES, "images/s", None if cell_bits is None else 1.0)
    finally:
        torch.set_num_threads(threads)
