"""`cimemu.torch.emulate`: a module on a chip gives what its exported file gives, in the module's own structure."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the torch extra) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (the torch extra) is not installed")

from torch import nn  # noqa: E402

import cimemu  # noqa: E402

pytestmark = pytest.mark.torch


def lines(run, kind=cimemu.CimemuError):
    with pytest.raises(kind) as caught:
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), torch.randn(8, 1, 8, 8)


def test_outputs_are_those_of_the_exported_file_and_a_trace_is_written(small, tmp_path):
    model, x = small
    model.train()
    emulated = cimemu.torch.emulate(
        model, "rram_128", calibration=x, onnx=tmp_path / "m.onnx", trace=tmp_path / "t.h5", seed=3
    )
    assert emulated.report is None
    assert emulated.trace is None
    y = emulated(x)
    assert model.training
    assert (type(y), y.dtype) == (torch.Tensor, torch.float32)
    twin = cimemu.run("rram_128", tmp_path / "m.onnx", x.numpy(), seed=3)
    assert np.array_equal(y.numpy(), twin.outputs)
    assert (emulated.report.cycles, emulated.report.energy_uj) == (twin.cycles, twin.energy_uj)
    assert (y - model.eval()(x)).abs().max() < 0.05
    assert emulated.trace == tmp_path / "t.h5"
    assert emulated.trace.exists()
    assert "exists" in lines(lambda: emulated(x)) or "overwrite" in lines(lambda: emulated(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter, that it is older
        torch.onnx.export(model, (x[:1],), str(tmp_path / "own.onnx"), dynamo=False)
    assert np.array_equal(cimemu.run("rram_128", tmp_path / "own.onnx", x.numpy(), detail=None).outputs, y.numpy())


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x, mask, *, scale=1.0, extra=None):
        y = torch.relu(self.norm(self.conv(x))) * scale
        z = self.linear(y.mean((2, 3))) * mask
        return {"a": z, "b": (y, None, z.argmax(1)), "c": [z.unsqueeze(1)]}


def test_several_inputs_and_outputs_keywords_batches_and_constants():
    torch.manual_seed(1)
    model, x, mask = Several(), torch.randn(6, 3, 8, 8), torch.ones(6, 5)
    emulated = cimemu.torch.emulate(model, calibration=[(x[:3], mask[:3]), (x[3:], mask[3:])], detail=None)
    made, own = emulated(x[:4], mask=mask[:4]), model.eval()(x[:4], mask[:4])
    assert list(made) == ["a", "b", "c"]
    assert made["b"][1] is None
    assert made["b"][2].dtype == torch.int64
    for ours, theirs in ((made["a"], own["a"]), (made["b"][0], own["b"][0]), (made["c"][0], own["c"][0])):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 0.05 * theirs.abs().max()
    scaled = cimemu.torch.emulate(model, calibration={"x": x, "mask": mask, "scale": 2.0}, detail=None)
    assert scaled(x, mask, scale=2.0)["a"].shape == (6, 5)
    assert "other arguments than in calibration" in lines(lambda: scaled(x, mask))
    assert "as many images" in lines(lambda: emulated(x, mask[:2]))
    assert "missing a required argument: 'mask'" in lines(lambda: emulated(x))


class Turned(nn.Module):
    """Its sequences come first inside and outside."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16)

    def forward(self, x):
        return self.layer(x.transpose(0, 1))


def test_images_stand_where_the_module_has_them():
    torch.manual_seed(2)
    model, x = Turned().eval(), torch.randn(4, 3, 8)
    made = cimemu.torch.emulate(model, calibration=x, detail=None)(x)
    assert made.shape == (3, 4, 8)
    assert (made - model(x)).abs().max() < 0.1


def test_schemes_and_widths(small):
    model, x = small
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 6})
    made = cimemu.torch.emulate(model, arch, calibration=x, scheme="layer", detail=None)
    assert made(x[:2]).shape == (2, 3)
    assert made.network.scheme is not None
    assert "a scheme says" in lines(
        lambda: cimemu.torch.emulate(model, arch, calibration=x, scheme="layer", method="mse")
    )


class Bad(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)


class NotAnOperator(Bad):
    def forward(self, x):
        return torch.nonzero(self.linear(x))


class NoOnnx(Bad):
    def forward(self, x):
        return self.linear(torch.histc(x, 8)[None].expand(len(x), 8))


class Branches(Bad):
    def forward(self, x):
        return self.linear(-x if x.sum() > 0 else x)


class Mixes(Bad):
    def forward(self, x):
        x = self.linear(x)
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (NotAnOperator, '"return torch.nonzero(self.linear(x))": node'),
        (NoOnnx, '"return self.linear(torch.histc(x, 8)[None].expand(len(x), 8))": NoOnnx: PyTorch cannot export'),
        (Branches, '"return self.linear(-x if x.sum() > 0 else x)": PyTorch cannot export'),
        (Mixes, '"return x - x.mean(0)": node'),
    ],
)
def test_a_refusal_begins_with_the_modules_own_line(module, said, capfd):
    text = lines(lambda: cimemu.torch.emulate(module(), calibration=torch.randn(4, 8)))
    assert text.startswith("test_torch.py, line ")
    assert said in text
    assert capfd.readouterr() == ("", "")


def test_wrong_arguments_are_one_line(small):
    model, x = small
    assert "must be a torch.nn.Module" in lines(lambda: cimemu.torch.emulate(lambda x: x, calibration=x))
    assert "give calibration" in lines(lambda: cimemu.torch.emulate(model))
    assert "did you mean seed?" in lines(lambda: cimemu.torch.emulate(model, calibration=x, sed=3))
    half = lambda: cimemu.torch.emulate(model.half(), calibration=x.half())  # noqa: E731
    assert "must be float32 or integers" in lines(half)
    model.float()


def test_the_manuals_lines_and_the_functions_own_example_run(tmp_path, monkeypatch, capsys):
    import doctest

    from pages import ROOT, blocks

    monkeypatch.chdir(tmp_path)
    page = blocks(ROOT / "cimemu" / "docs" / "manual" / "networks.md")
    (block,) = [block for block in page if "cimemu.torch.emulate" in block.body]
    exec(compile(block.body, "networks.md", "exec"), {})
    assert capsys.readouterr().out.startswith("torch.Size([4, 10])")
    assert (tmp_path / "module.h5").exists()
    example = doctest.DocTestParser().get_doctest(cimemu.torch.emulate.__doc__, {}, "emulate", None, None)
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


class Of(nn.Module):
    """A linear layer and what a function makes of it and the input."""

    def __init__(self, made):
        super().__init__()
        self.linear, self.made = nn.Linear(4, 3), made

    def forward(self, x):
        return self.made(self.linear, x)


def test_images_that_hang_together_are_refused_wherever_they_do():
    torch.manual_seed(0)
    x = torch.randn(8, 4)
    said = "other images|number|axis 0|images must stay apart|several images"
    for model, given in (
        (Of(lambda linear, x: linear(x).cumsum(0)), x),  # the first image alone is right
        (nn.GRU(4, 5), torch.randn(5, 3, 4)),  # sequences first
        (Of(lambda linear, x: linear(x) if len(x) <= 4 else -linear(x)), x),
        (Of(lambda linear, x: linear(x).cumsum(0)), x[:1]),  # one image of calibration
    ):
        with pytest.raises(cimemu.CimemuError, match=said) as caught:
            cimemu.torch.emulate(model, calibration=given, detail=None)
        assert "\n" not in str(caught.value)


def test_calibration_that_is_no_image_is_refused_in_one_line():
    model, x = Of(lambda linear, x: linear(x)), torch.randn(4, 4)
    for given, said in (
        (torch.full((4, 4), float("nan")), "must be a finite number"),
        (torch.tensor(1.0), "as many images"),
        (x.double(), "must be float32 or integers"),
        (x.to(torch.complex64), "must be float32 or integers"),
        (x.to_sparse(), "must be dense"),
        (x[:0], "no image"),
        (3, "as many images"),
    ):
        assert said in lines(lambda given=given: cimemu.torch.emulate(model, calibration=given))
    assert "must be a preset's name" in lines(lambda: cimemu.torch.emulate(model, 3, calibration=x))
    assert "must be a path" in lines(lambda: cimemu.torch.emulate(model, calibration=x, onnx=3))


def test_an_input_that_is_returned_is_itself():
    torch.manual_seed(0)
    model, x = Of(lambda linear, x: (linear(x), x)), torch.randn(8, 4)
    made, same = cimemu.torch.emulate(model, calibration=x, detail=None)(x)
    assert torch.equal(same, x)
    assert (made - model(x)[0]).abs().max() < 0.05


class Heated(nn.Module):
    """A number without axes chooses between two products, and scales."""

    def __init__(self):
        super().__init__()
        self.hot, self.cold = nn.Linear(4, 5), nn.Linear(4, 5)

    def forward(self, x, heat):
        return torch.where(heat > 1, self.hot(x), self.cold(x)) * heat


def test_a_tensor_without_axes_is_a_number_for_all_images():
    torch.manual_seed(0)
    model, x = Heated().eval(), torch.randn(6, 4)
    emulated = cimemu.torch.emulate(model, "rram_128", calibration=[(x, torch.tensor(2.0)), (x, torch.tensor(0.5))])
    assert emulated.network.types["heat"].shape == ()
    for heat in (2.0, 0.5):
        y = emulated(x, torch.tensor(heat))
        assert y.shape == (6, 5)
        assert (y - model(x, torch.tensor(heat))).abs().max() < 0.05
    assert "other arguments than in calibration" in lines(lambda: emulated(x, x[0]))
    assert "tensors of shapes []" in lines(
        lambda: cimemu.torch.emulate(model, "rram_128", calibration=(torch.tensor(1.0), torch.tensor(1.0)))
    )
