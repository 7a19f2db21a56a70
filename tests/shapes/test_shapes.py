"""Published networks by name: their parameters, their values in another runtime, on a chip, from the command line."""

import json

import numpy as np
import onnxruntime
import pytest

import cimemu
from cimemu.cli import main
from cimemu.layer.execute import run_float
from cimemu.shapes import SHAPES, make_shape, parameter_count

# Published counts: torchvision's model pages; Inception-V3 is 27,161,264 with the auxiliary head's 3,326,696. ResNet-20:
# 267,696 convolution weights, 1,376 of batch normalisations, 64 * 100 + 100 of the head.
PARAMETERS = {"resnet18": 11_689_512, "vgg16": 138_357_544, "inception_v3": 23_834_568, "resnet20_cifar100": 275_572}
SMALL = {"resnet18": 32, "vgg16": 32, "inception_v3": 75, "resnet20_cifar100": 16}
# Multiplications of one image at the published side: He et al. table 1 and section 4.2, torchvision's GMACs.
MACS = {"resnet18": 1.81e9, "vgg16": 15.47e9, "inception_v3": 5.71e9, "resnet20_cifar100": 40.6e6}


def image(side, seed=1):
    return np.random.default_rng(seed).standard_normal((1, 3, side, side)).astype(np.float32)


def chip(tiles=800):
    return cimemu.load_arch("sram_256", {"chip.tiles": tiles})


def macs(network):
    outputs = {layer.name: network.types[layer.outputs[0]] for layer in network.layers if layer.op in ("Conv", "Gemm")}
    return sum(
        network.constants[layer.inputs[1]].size * int(np.prod(outputs[layer.name].shape[1:], dtype=np.int64))
        for layer in network.layers
        if layer.name in outputs
    )


NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in ("vgg16", "inception_v3") else n for n in SHAPES]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_products_are_the_published_ones(name):
    network = make_shape(name, fold=False)
    assert network.types["x"].shape == (3, SHAPES[name].side, SHAPES[name].side)
    assert parameter_count(network) == PARAMETERS[name]
    assert macs(network) == pytest.approx(MACS[name], rel=0.01)
    folded = make_shape(name)
    assert not [layer for layer in folded.layers if layer.op == "BatchNormalization"]
    assert macs(folded) == macs(network)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_written_file_gives_onnxruntimes_values(name, tmp_path):
    side = SMALL[name]
    path, x = tmp_path / "net.onnx", image(side)
    cimemu.save_onnx(make_shape(name, side=side, fold=False), path)
    theirs = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    assert theirs.shape == (1, 100 if "cifar100" in name else 1000)
    assert theirs.std() > 0.1  # random weights neither blow up nor vanish
    loaded = cimemu.load_network(path)
    for network in (loaded, make_shape(name, side=side), make_shape(name, side=side, fold=False)):
        ours = run_float(network, x)[network.outputs[0]]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * abs(theirs).max())
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in make_shape(name, side=side).layers]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name != "resnet20_cifar100" else ())
        for name in ("resnet20_cifar100", "resnet18", "inception_v3", "vgg16")
    ],
)
def test_a_quantised_image_runs_on_a_chip(name):
    side = SMALL[name]
    arch, x = chip(), image(side)
    network = make_shape(name, side=side)
    integers = cimemu.quantize(network, arch, calibration=x)
    plan = cimemu.make_plan(integers, arch)
    cells = sum(layer.weight.size for layer in integers.layers if layer.on_macros)
    assert cells == sum(network.constants[a.inputs[1]].size for a in network.layers if a.op in ("Conv", "Gemm"))
    assert plan.phases == 1
    assert plan.macro_cells.sum() == 8 * cells  # eight columns of one-bit cells hold a weight, nothing is replicated
    result = cimemu.run(arch, integers, x, detail=None)
    made = result.outputs.astype(np.float64).ravel()
    exact = run_float(network, x)[network.outputs[0]].astype(np.float64).ravel()
    assert np.corrcoef(made, exact)[0, 1] > 0.9  # 8 bits, ranges of this image, a converter that may clip


def test_seeds_are_reproducible_and_differ():
    one, same, other = (make_shape("resnet20_cifar100", seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one.constants[name], same.constants[name]) for name in one.constants)
    assert not np.array_equal(one.constants["stem.weight"], other.constants["stem.weight"])


def test_the_command_writes_a_network_and_a_workload(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["shape", "resnet20_cifar100", "-o", "net.onnx", "--side", "16", "--images", "2"]) == 0
    assert "275,572 parameters" in capsys.readouterr().out
    assert main(["fit", "sram_256", "net.onnx", "--no-propose", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["macros"] > 0
    assert main(["quantize", "net.onnx", "--calibration", "net.npz", "-o", "q.onnx", "--arch", "sram_256"]) == 0
    capsys.readouterr()
    assert main(["run", "sram_256", "net.yaml", "--images", "1", "--no-trace", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1
    assert main(["shape", "resnet20_cifar100", "-o", "net.onnx"]) == 2
    assert "net.onnx: exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["resnet19", "-o", "n.onnx"], "shape 'resnet19': no such network, known are resnet18, vgg16"),
        (["vgg16", "-o", "n.onnx", "--side", "31"], "shape vgg16: side = 31, must be >= 32 pixels"),
        (["vgg16", "-o", "n.onnx", "--seed", "-1"], "seed = -1, must be >= 0"),
        (["vgg16", "-o", "n.tflite"], "--out n.tflite: must end in .onnx"),
        (["vgg16", "-o", "n.onnx", "--images", "-1"], "--images = -1, must be >= 0"),
    ],
)
def test_what_does_not_fit_is_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["shape", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_list_names_them(capsys):
    assert main(["list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["shapes"]) == set(SHAPES)
