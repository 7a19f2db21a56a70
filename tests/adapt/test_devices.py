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


def both(rule, psums, given_, outputs, draws):
    """Values and gradients by the compiled kernels and by torch's operations."""
    from cimemu.adapt.psums import prepared

    arrays = prepared(given_)
    made, wanted = rule.values(psums, arrays, outputs), rule.values_torch(psums, given_, outputs)
    slope = torch_of().from_numpy(draws.normal(size=tuple(made.shape)).astype(np.float32))
    back, sums = rule.gradients(psums, arrays, slope)
    other, others = rule.gradients_torch(psums, given_, slope)
    learned = [(one.float(), two) for one, two in zip(sums, others) if one is not None]
    assert learned
    assert [one is None for one in sums] == [two is None for two in others]
    return [(made, wanted), (back, other), *learned]


@common
@given(sizes)
def test_torch_operations_equal_the_compiled_kernel(drawn):
    from cimemu.adapt.psums import Steps

    torch = torch_of()
    seed, parts, outputs, positions, top = drawn
    draws, columns = np.random.default_rng(seed), parts * outputs
    psums = torch.from_numpy(draws.integers(-20, 60, (3, positions, columns)).astype(np.float32))
    given_ = [
        torch.from_numpy(draws.uniform(low, high, columns).astype(np.float32))
        for low, high in ((0.5, 9), (-9, 9), (-2, 2))
    ]
    for one, other in both(Steps(top), psums, given_, outputs, draws):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-3)


@common
@given(sizes)
def test_torch_operations_equal_the_compiled_tables(drawn):
    from cimemu.adapt.psums import Tables

    torch = torch_of()
    seed, parts, outputs, positions, top = drawn
    draws, columns = np.random.default_rng(seed), parts * outputs
    psums = torch.from_numpy(draws.integers(-20, 60, (3, positions, columns)).astype(np.float32))
    thresholds, levels = (
        torch.from_numpy(np.sort(draws.uniform(-25, 65, (n, columns)), axis=0).astype(np.float32))
        for n in (top, top + 1)
    )
    factor = torch.from_numpy(draws.uniform(-2, 2, columns).astype(np.float32))
    for one, other in both(Tables(), psums, [thresholds, levels, factor], outputs, draws):
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
