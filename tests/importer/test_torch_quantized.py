"""Programs that PyTorch's PT2E quantiser makes (`quantized_decomposed` operators), by hand, against PyTorch running them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the torch extra) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (the torch extra) is not installed")
pytest.importorskip("torch.ao.quantization.fx._decomposed", reason="this PyTorch has no quantized_decomposed operators")

import cimemu  # noqa: E402
from cimemu.check.network import check_network  # noqa: E402
from cimemu.cli import main  # noqa: E402
from cimemu.importer import load_network  # noqa: E402
from cimemu.layer.execute import run_float  # noqa: E402
from cimemu.layer.macro_layer import MacroLayer  # noqa: E402
from cimemu.prepare import quantize  # noqa: E402

pytestmark = pytest.mark.torch
ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
Q = torch.ops.quantized_decomposed


class Quantised(torch.nn.Module):
    """What convert_pt2e leaves: a convolution with a scale a channel, a skip connection, a mean and a dense layer."""

    def __init__(self, bits=8, dtype=torch.int8):
        super().__init__()
        rng = np.random.default_rng(0)
        self.dtype, self.lowest = dtype, torch.iinfo(dtype).min if bits == 8 else -(2 ** (bits - 1))
        self.highest = self.lowest + 2**bits - 1
        self.register_buffer("weight", torch.tensor(rng.integers(-127, 128, (4, 4, 3, 3)), dtype=torch.int8))
        self.register_buffer("scales", torch.tensor(rng.uniform(0.001, 0.01, 4), dtype=torch.float32))
        self.register_buffer("zeros", torch.zeros(4, dtype=torch.int64))
        self.register_buffer("dense", torch.tensor(rng.integers(-127, 128, (3, 4)), dtype=torch.int8))
        self.bias = torch.nn.Parameter(torch.tensor(rng.standard_normal(4), dtype=torch.float32))

    def codes(self, x, scale, zero):
        place = min(max(zero, self.lowest), self.highest)
        q = Q.quantize_per_tensor(x, scale, place, self.lowest, self.highest, self.dtype)
        return Q.dequantize_per_tensor(q, scale, place, self.lowest, self.highest, self.dtype)

    def forward(self, x):
        x = self.codes(x, 0.03, 2)
        w = Q.dequantize_per_channel(self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8)
        y = torch.nn.functional.conv2d(x, w, self.bias, padding=1)
        y = self.codes(torch.relu(y + x), 0.02, -128)
        y = self.codes(y.mean((2, 3)), 0.02, -128)
        v = Q.dequantize_per_tensor(self.dense, 0.01, 0, -127, 127, torch.int8)
        return self.codes(torch.nn.functional.linear(y, v), 0.04, 5)


def saved(module, path, shape=(1, 4, 6, 6)):
    with torch.no_grad():
        program = torch.export.export(module.eval(), (torch.zeros(shape),), strict=False)
    torch.export.save(program, path)
    return path


@pytest.mark.parametrize(("bits", "dtype"), [(8, torch.int8), (8, torch.uint8), (4, torch.int8)])
def test_every_tensor_is_what_pytorch_makes(tmp_path, bits, dtype):
    network = load_network(saved(Quantised(bits, dtype), tmp_path / "net.pt2"))
    assert network.origin == tmp_path / "net.pt2"
    integers = quantize(network, ARCH)
    assert sum(isinstance(layer, MacroLayer) for layer in integers.layers) == 2
    assert np.abs(next(layer for layer in integers.layers if isinstance(layer, MacroLayer)).weight).max() == 127
    x = np.random.default_rng(1).standard_normal((40, 4, 6, 6)).astype(np.float32)
    found = check_network(integers, ARCH.macro, x)
    assert found.against.startswith("PyTorch")
    assert not found.failed
    names = {row.name for row in found.tensors}
    assert {"quantize_per_tensor", "quantize_per_tensor_1", "conv2d", "linear"} <= names
    codes = [row for row in found.tensors if row.name.startswith("quantize_per_tensor")]
    assert sum(row.elements for row in codes) >= 40 * (2 * 144 + 4 + 3)
    assert sum(row.differing for row in codes) <= 2  # a tie that the order of PyTorch's sums decides


class Inputs(torch.nn.Module):
    def __init__(self, scale, zero, tensors=False):
        super().__init__()
        self.scale, self.zero = scale, zero
        if tensors:
            self.register_buffer("s", torch.tensor([scale]))
            self.register_buffer("z", torch.tensor([zero]))
        self.tensors = tensors

    def forward(self, x):
        if self.tensors:
            q = Q.quantize_per_tensor.tensor(x, self.s, self.z, -128, 127, torch.int8)
            return Q.dequantize_per_tensor.tensor(q, self.s, self.z, -128, 127, torch.int8)
        q = Q.quantize_per_tensor(x, self.scale, self.zero, -128, 127, torch.int8)
        return Q.dequantize_per_tensor(q, self.scale, self.zero, -128, 127, torch.int8)


@pytest.mark.parametrize("scale", [0.013725490309298038, 1 / 255, 0.1, 0.0078125])
@pytest.mark.parametrize("tensors", [False, True])
def test_ties_fall_where_pytorch_multiplies_with_the_inverse(tmp_path, scale, tensors):
    near = ((np.arange(-130, 130) + 0.5) * scale).astype(np.float32)
    x = np.concatenate([near, np.nextafter(near, np.float32(-9)), np.nextafter(near, np.float32(9))])[None]
    module = Inputs(scale, 7, tensors)
    network = load_network(saved(module, tmp_path / "net.pt2", x.shape))
    ours = run_float(network, x)[network.outputs[0]]
    theirs = module(torch.from_numpy(x)).numpy()
    assert np.array_equal(ours, theirs)
    steps = np.float32(1.0 / scale) * x
    assert scale == 0.0078125 or (np.rint(x / np.float32(scale)) != np.rint(steps)).any()  # dividing is another rule


def test_the_command_line_runs_and_checks_a_quantised_program(tmp_path, capsys):
    path = str(saved(Quantised(), tmp_path / "net.pt2"))
    assert main(["run", "rram_128", path, "--images", "2", "--out", str(tmp_path / "t.h5")]) == 0
    assert main(["check", "rram_128", path, "--images", "4"]) == 0
    said = capsys.readouterr().out
    assert "against PyTorch" in said
    assert "PyTorch ran: " in said
    assert main(["check", "rram_128", path, "--images", "4", "--against", "onnxruntime"]) == 0


def test_only_a_quantised_program_is_compared_with_pytorch(tmp_path):
    network = load_network(saved(torch.nn.Sequential(torch.nn.Linear(4, 3)), tmp_path / "net.pt2", (1, 4)))
    x = np.zeros((2, 4), np.float32)
    integers = cimemu.quantize(network, ARCH, calibration=x + 1)
    with pytest.raises(cimemu.WorkloadError, match=r"did not come from a quantised \.pt2 file"):
        check_network(integers, ARCH.macro, x, against="torch")


def test_a_quantiser_that_looks_at_every_image_is_one_line(tmp_path):
    class Dynamic(torch.nn.Module):
        def forward(self, x):
            scale, zero = Q.choose_qparams.tensor(x, -128, 127, 1e-5, torch.int8)
            return Q.quantize_per_tensor.tensor(x, scale, zero, -128, 127, torch.int8)

    path = saved(Dynamic(), tmp_path / "net.pt2", (1, 4))
    with pytest.raises(cimemu.WorkloadError, match="choose_qparams") as error:
        load_network(path)
    assert "\n" not in str(error.value)
