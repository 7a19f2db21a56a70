"""Other devices than the processor: no tensor of the training step stays behind, and torch's operations equal the kernel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from morph_nets import tiny_resnet
from test_exact import CHIP, SCHEMES
from twins import common

import cimemu
from cimemu.adapt.library import torch_of
from cimemu.cli import main

sizes = st.tuples(
    st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.sampled_from([1, 2, 7, 15])
)


@common
@given(sizes)
def test_torch_operations_equal_the_compiled_kernel(drawn):
    from cimemu.adapt.psums import Convert, Shape, backward_torch, forward_torch

    torch = torch_of()
    seed, arrays, outputs, conversions, top = drawn
    draws, columns = np.random.default_rng(seed), arrays * outputs * conversions
    psums = torch.from_numpy(draws.integers(-20, 60, (3, columns, 5)).astype(np.float32)).requires_grad_()
    lsb, zero, factor = (
        torch.from_numpy(draws.uniform(low, high, columns).astype(np.float32)).requires_grad_()
        for low, high in ((0.5, 9), (-9, 9), (-2, 2))
    )
    shape = Shape(outputs, conversions)
    made = Convert.apply(psums, lsb, zero, factor, top, shape)
    with torch.no_grad():
        wanted = forward_torch(psums, lsb, zero, factor, top, shape)
    assert torch.allclose(made, wanted, rtol=1e-4, atol=1e-3)
    slope = torch.from_numpy(draws.normal(size=tuple(made.shape)).astype(np.float32))
    gradients = torch.autograd.grad(made, (psums, lsb, zero, factor), slope)
    with torch.no_grad():
        others = backward_torch(psums, lsb, zero, factor, top, shape, slope)
    for one, other in zip(gradients, others):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-3)


@common
@given(sizes, st.booleans())
def test_torch_operations_equal_the_compiled_tables(drawn, shared):
    from cimemu.adapt.psums import Shape, looked_up, looked_up_torch

    torch = torch_of()
    seed, arrays, outputs, conversions, top = drawn
    draws, columns = np.random.default_rng(seed), arrays * outputs * conversions
    rows = 1 if shared else columns
    psums = torch.from_numpy(draws.integers(-20, 60, (3, columns, 5)).astype(np.float32)).requires_grad_()
    factor = torch.from_numpy(draws.uniform(-2, 2, columns).astype(np.float32)).requires_grad_()
    thresholds, levels = (
        torch.from_numpy(np.sort(draws.uniform(-25, 65, (rows, n)), axis=1).astype(np.float32)) for n in (top, top + 1)
    )
    results = []
    for function in (looked_up, looked_up_torch):
        made = function(psums, thresholds, levels, factor, Shape(outputs, conversions))
        slope = torch.from_numpy(np.random.default_rng(seed).normal(size=tuple(made.shape)).astype(np.float32))
        results.append((made, *torch.autograd.grad(made, (psums, factor), slope)))
    for one, other in zip(*results):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-3)


CHOSEN = ("column_column", "slice_scales", "even_arrays", "closed_form", "nonlinear", "as_the_chip")


@pytest.mark.parametrize("name", [*CHOSEN, "reference_column", "varied"])
def test_a_training_step_makes_no_tensor_on_another_device_than_its_own(name, tiny_train):
    """On torch's device without storage: what is made on the processor cannot be added to what is there."""
    from cimemu.adapt.convert import convert

    torch = torch_of()
    reference = {"macro.weight.correction": "reference_column"} if name == "reference_column" else {}
    scheme = SCHEMES.get(name, SCHEMES["column_column"])
    images = tiny_train.inputs(slice(0, 8))
    module = convert(
        tiny_resnet(widths=(6, 8), blocks=1), cimemu.load_arch("rram_128", CHIP | reference), scheme, calibration=images
    )
    module.train().to("meta")
    if name == "varied":
        for macro in module.macros:
            macro.deviation = torch.zeros(macro.outputs, macro.conversions, macro.weight.shape[1], device="meta")
    scores = module(torch.empty(images.shape, device="meta"))
    assert scores.device.type == "meta"
    scores.flatten(1).sum().backward()
    assert all(parameter.grad.device.type == "meta" for parameter in module.parameters())


def test_a_device_that_is_not_there_is_one_line_before_anything_is_read(capsys, tmp_path):
    if torch_of().cuda.is_available():
        pytest.skip("CUDA is here")
    words = ["adapt", "rram_128", "digits", "--data", "absent.npz", "--device", "cuda"]
    assert main(words) == 2
    assert capsys.readouterr().err == "cimemu: device = cuda: PyTorch sees 0 CUDA devices here, use cpu\n"


def test_a_step_on_cuda_ends_as_on_the_processor(tiny_train):
    from cimemu.adapt.convert import convert
    from cimemu.adapt.settings import Rates, TrainSettings
    from cimemu.adapt.train import train

    if not torch_of().cuda.is_available():
        pytest.skip("no CUDA device here")
    losses = {}
    for device in ("cpu", "cuda"):
        module = convert(
            tiny_resnet(widths=(6, 8), blocks=1),
            cimemu.load_arch("rram_128", CHIP),
            SCHEMES["column_column"],
            calibration=tiny_train.inputs(slice(0, 32)),
        )
        settings = TrainSettings(epochs=1, images_per_epoch=16, batch=16, rates=Rates(weights=0.01), device=device)
        losses[device] = train(module, tiny_train, settings)[0]["loss"]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)
