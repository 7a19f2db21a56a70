"""PyTorch weights with their module give the integers of the module's ONNX twin; wrong files are one line."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the torch extra) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (the torch extra) is not installed")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors (the torch extra) is not installed")

import torch_nets  # noqa: E402

import cimemu  # noqa: E402
from cimemu.errors import WorkloadError  # noqa: E402
from cimemu.importer import load_network  # noqa: E402
from cimemu.layer.execute import run_float  # noqa: E402

pytestmark = pytest.mark.torch
DATA = os.environ.get("CIMEMU_DATA", "")
NETS = Path(torch_nets.__file__)


def macro_layers(network):
    return [layer for layer in network.layers if layer.on_macros]


@pytest.mark.skipif(not DATA, reason="CIMEMU_DATA (trained networks) is not set")
@pytest.mark.parametrize("name", ["resnet20_cifar10", pytest.param("resnet32_cifar10", marks=pytest.mark.slow)])
def test_weights_and_module_give_the_integers_of_the_onnx_twin(name):
    folder = Path(DATA) / "networks"
    blocks = 3 if name.startswith("resnet20") else 5
    ours = load_network(
        folder / f"{name}.safetensors", module=lambda: torch_nets.ResNet(blocks), input_shape=(3, 32, 32)
    )
    twin = load_network(folder / f"{name}_bn.onnx")
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4, 3, 32, 32)).astype(np.float32)
    arch = cimemu.load_arch("rram_128")
    a, b = (cimemu.quantize(network, arch, calibration=images) for network in (ours, twin))
    assert len(macro_layers(a)) == len(macro_layers(b)) == 6 * blocks + 2
    for x, y in zip(macro_layers(a), macro_layers(b)):
        assert np.array_equal(x.weight, y.weight)
        assert np.array_equal(x.bias, y.bias)
    outputs = [cimemu.run(arch, network, images, detail=None).outputs for network in (a, b)]
    assert np.array_equal(*outputs)
    with torch.no_grad():
        module = torch_nets.ResNet(blocks)
        module.load_state_dict(safetensors.load_file(folder / f"{name}.safetensors"), strict=False)
        expected = module.eval()(torch.from_numpy(images)).numpy()
    assert np.abs(run_float(ours, {"input": images})[ours.outputs[0]] - expected).max() < 1e-3


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with the tiny network's weights in every form, and the module."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(3)
    module = torch_nets.tiny()
    for key, value in module.state_dict().items():
        if "running_var" in key:
            value.uniform_(0.5, 2.0)
        elif "running_mean" in key:
            value.normal_()
    state = module.state_dict()
    torch.save(state, folder / "a.pt")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, folder / "b.pth")
    safetensors.save_file(state, folder / "c.safetensors")
    torch.save(module, folder / "code.pt")
    torch.save({"layer": {"conv": 3}}, folder / "other.pt")
    torch.save({**state, "conv1.weight": torch.zeros(4, 3, 5, 5)}, folder / "shape.pt")
    torch.save({key: value for key, value in state.items() if key != "bn1.bias"}, folder / "short.pt")
    (folder / "broken.safetensors").write_bytes((folder / "c.safetensors").read_bytes()[:500])
    (folder / "broken.py").write_text("raise RuntimeError('no')\n")
    return folder, module.eval()


# The other two forms are read by the commands below, too.
@pytest.mark.parametrize(
    "file", ["b.pth", *(pytest.param(n, marks=pytest.mark.slow) for n in ("a.pt", "c.safetensors"))]
)
def test_every_form_of_file_gives_the_modules_outputs(tiny, file):
    folder, module = tiny
    images = np.random.default_rng(1).standard_normal((3, 3, 16, 16)).astype(np.float32)
    network = load_network(folder / file, module=f"{NETS}:tiny", input_shape=(3, 16, 16))
    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    assert np.abs(run_float(network, {"input": images})[network.outputs[0]] - expected).max() < 1e-4
    assert network.name == Path(file).stem


@pytest.mark.parametrize(
    ("file", "module", "words"),
    [
        ("none.pt", f"{NETS}:tiny", "no such file"),
        ("a.pt", None, "--module"),
        ("a.pt", f"{NETS}:huge", "has no 'huge'"),
        ("a.pt", f"{NETS}:NOT_A_MODULE", "gives int"),
        ("a.pt", f"{NETS}:needs_an_argument", "needs no arguments"),
        ("a.pt", "tiny", "FILE.py:NAME"),
        ("a.pt", "no/such/file.py:tiny", "no such file"),
        ("a.pt", "no_such_package.nets:tiny", "install it"),
        ("a.pt", f"{NETS}:resnet20", "another module's"),
        ("code.pt", f"{NETS}:tiny", "state_dict()"),
        ("other.pt", f"{NETS}:tiny", "no state dict of tensors"),
        ("shape.pt", f"{NETS}:tiny", "has shape [4, 3, 5, 5], the module's is [4, 3, 3, 3]"),
        ("short.pt", f"{NETS}:tiny", "'bn1.bias' is missing"),
        ("broken.safetensors", f"{NETS}:tiny", "not a whole file"),
    ],
)
def test_bad_input_is_one_line(tiny, file, module, words):
    folder, _ = tiny
    with pytest.raises(WorkloadError) as caught:
        load_network(folder / file, module=module, input_shape=(3, 16, 16))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_file_that_fails_and_a_wrong_image_are_one_line(tiny):
    folder, _ = tiny
    with pytest.raises(WorkloadError, match="RuntimeError: no"):
        load_network(folder / "a.pt", module=f"{folder / 'broken.py'}:tiny", input_shape=(3, 16, 16))
    with pytest.raises(WorkloadError, match="cannot export"):
        load_network(folder / "a.pt", module=torch_nets.tiny, input_shape=(5, 16, 16))
    with pytest.raises(WorkloadError, match="input shape"):
        load_network(folder / "a.pt", module=torch_nets.tiny)


def test_the_command_line_quantises_weights_with_a_module(tiny, tmp_path):
    from typer.testing import CliRunner

    from cimemu.cli import app

    folder, _ = tiny
    images = np.random.default_rng(2).standard_normal((8, 3, 16, 16)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    out = tmp_path / "q.onnx"
    done = CliRunner().invoke(
        app,
        ["quantize", f"{folder}/a.pt", f"--module={NETS}:tiny", f"--out={out}", f"--calibration={tmp_path}/images.npy"],
    )
    assert done.exit_code == 0, done.output
    network = load_network(out)
    arch = cimemu.load_arch("rram_128")
    expected = cimemu.quantize(
        load_network(folder / "a.pt", module=torch_nets.tiny, input_shape=(3, 16, 16)), arch, calibration=images
    )
    results = [cimemu.run(arch, q, images, detail=None).outputs for q in (cimemu.quantize(network, arch), expected)]
    assert np.array_equal(*results)


def test_the_readmes_commands_for_weights_run(tiny, tmp_path, monkeypatch):
    from cimemu.cli import main

    folder, _ = tiny
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(2).standard_normal((8, 3, 16, 16)).astype(np.float32)
    np.save("images.npy", images)
    np.savez("images.npz", images=images)
    Path("weights.safetensors").write_bytes((folder / "c.safetensors").read_bytes())
    Path("my_nets.py").write_text(NETS.read_text().replace("def tiny()", "def resnet20()"))
    Path("my_workload").mkdir()
    Path("my_workload/workload.yaml").write_text(
        "name: mine\nsource: this test\nnetwork: ../weights.safetensors\n"
        "inputs: {file: ../images.npz, labels: null}\ncalibration: {file: ../images.npz, labels: null}\n"
    )
    page = (Path(__file__).parents[2] / "cimemu/docs/manual/networks.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.splitlines()]
    lines = [line.split("  #")[0] for line in lines if "--module" in line]
    assert len(lines) == 2
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, line
    assert Path("resnet20.onnx").exists()
    assert Path("mine_rram_128.h5").exists()
