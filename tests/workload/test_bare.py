"""A network file alone: its images, their types, what is said of them, and one line for whatever does not fit."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.cli import main
from cimemu.loading.bare import BareWorkload, Given

DIGITS = cimemu.load_workload("digits")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def command(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return status, out.out, out.err


def images_file(name="x.npz", count=6, **more):
    images, labels = DIGITS.inputs(count)
    np.savez(name, images=images, labels=labels, **more)
    return images, labels


def two_inputs(path):
    """The sum of a product of floats and an embedding of three words."""
    nodes = [
        helper.make_node("Gather", ["table", "words"], ["e"], name="embed"),
        helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
        helper.make_node("Add", ["p", "e"], ["y"], name="sum"),
    ]
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in (("table", (7, 4)), ("w", (5, 4)))
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "length", 5]),
        helper.make_tensor_value_info("words", TensorProto.INT64, ["n", "length"]),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "length", 4])
    graph = helper.make_graph(nodes, "two", inputs, [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize(
    "line",
    [
        ("stress", "--trials", 2, "--vary", "lognormal:sigma=0.1"),
        ("sweep", "--vary", "macro.adc.bits=6"),
        ("yield", "--trials", 2, "--accuracy", 0.5, "--vary", "lognormal:sigma=0.1"),
        ("faults", "--cells", 3),
    ],
)
def test_many_chips_take_a_file_alone_with_its_images(line, capsys):
    images_file()
    np.save("ranges.npy", DIGITS.calibration())
    name, *options = line
    given = ("--inputs", "x.npz", "--calibration", "ranges.npy")
    lone = command(capsys, name, "rram_128", DIGITS.network, *options, *given, "--json")
    known = command(capsys, name, "rram_128", "digits", *options, "--images", 6, "--json")
    assert (lone[0], known[0]) == (0, 0)
    rate = ("file", "files", "seconds", "faults_per_second")
    mine, theirs = ({k: v for k, v in json.loads(out).items() if k not in rate} for out in (lone[1], known[1]))
    assert mine == theirs


@pytest.mark.parametrize("name", ["stress", "sweep"])
def test_many_chips_say_that_images_are_random_and_that_there_are_no_labels(name, capsys):
    model = ("--vary", "lognormal:sigma=0.1", *(("--trials", 2) if name == "stress" else ()))
    status, said, _ = command(capsys, name, "rram_128", DIGITS.network, "--images", 2, *model)
    assert status == 0
    assert "images are random numbers" in said
    assert "no labels" in said


def test_a_file_alone_gives_what_its_workload_gives(capsys):
    images_file()
    calibration = DIGITS.calibration()
    np.save("c.npy", calibration)
    given = ("--inputs", "x.npz", "--calibration", "c.npy", "--no-trace", "--json")
    status, out, err = command(capsys, "run", DIGITS.network, *given)
    assert (status, err) == (0, "")
    _, wanted, _ = command(capsys, "run", "rram_128", "digits", "--images", 6, "--no-trace", "--json")
    assert json.loads(out) == json.loads(wanted)


def test_random_images_are_the_same_each_time_and_are_said_to_be_random(capsys):
    found = [json.loads(command(capsys, "run", DIGITS.network, "--no-trace", "--json")[1]) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0]["images"] == 8
    assert found[0]["accuracy"] is None
    assert ["random numbers" in note for note in found[0]["notes"]] == [True, True]
    status, out, _ = command(capsys, "check", "rram_128", DIGITS.network, "--images", 2)
    assert status == 0
    assert "Note: images are random numbers" in out


def test_one_call_of_python_does_the_same():
    images, labels = images_file()
    for network in (DIGITS.network, str(DIGITS.network)):
        result = cimemu.run("rram_128", network, images, labels)
        loaded = cimemu.load_network(DIGITS.network)
        arch = cimemu.load_arch("rram_128")
        wanted = cimemu.run(arch, cimemu.quantize(loaded, arch, images), images, labels)
        assert result.summary() == wanted.summary()
    assert cimemu.run("rram_128", "digits").summary() == cimemu.run("rram_128", "digits", *DIGITS.inputs()).summary()
    with pytest.raises(cimemu.WorkloadError, match="inputs: none given"):
        cimemu.run(arch, cimemu.quantize(loaded, arch, images))


def test_several_inputs_open_sizes_and_words_of_a_table(capsys):
    two_inputs("two.onnx")
    shapes = ("--input-shape", "x=1,3,5", "--input-shape", "words=1,3")
    status, out, err = command(capsys, "run", "two.onnx", *shapes, "--no-trace", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["images"] == 8
    given = Given(shapes={"x": (1, 3, 5), "words": (1, 3)})
    work = BareWorkload.of(Path("two.onnx"), given)
    images, labels = work.inputs(200)
    assert labels is None
    assert images["x"].shape == (200, 3, 5)
    assert set(np.unique(images["words"])) == set(range(7))
    np.savez("x.npz", x=images["x"], words=images["words"])
    status, out, _ = command(capsys, "run", "two.onnx", *shapes, "--inputs", "x.npz", "--images", 5, "--no-trace")
    assert status == 0
    assert ": 5 images, " in out


def test_integers_are_drawn_over_their_whole_type_and_taken_only_within_it(tmp_path):
    arch = cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(DIGITS.network), arch, DIGITS.calibration())
    cimemu.save_onnx(network, tmp_path / "q.onnx")
    quantised = BareWorkload.of(tmp_path / "q.onnx", Given())
    assert "calibrated" not in " ".join(quantised.notes)
    kind = quantised.load().types[quantised.load().inputs[0]]
    images, _ = quantised.inputs(50)
    assert images.dtype == kind.dtype
    if np.dtype(kind.dtype).kind in "iu":
        assert images.min() == np.iinfo(kind.dtype).min


def test_one_image_without_a_batch_axis_and_labels_by_name_or_file(capsys):
    images, labels = images_file(count=1)
    np.save("one.npy", images[0].astype(np.float64))
    np.save("labels.npy", labels)
    for given in (("--inputs", "one.npy", "--labels", "labels.npy"), ("--inputs", "x.npz", "--labels", "labels")):
        status, out, _ = command(capsys, "run", DIGITS.network, *given, "--no-trace", "--json")
        assert status == 0
        assert json.loads(out)["accuracy"] in (0.0, 1.0)


WRONG = {
    "no file": (("--inputs", "nosuch.npz"), "nosuch.npz: no such file"),
    "labels alone": (("--labels", "x.npz"), "without inputs"),
    "labels that are images": (("--inputs", "x.npz", "--labels", "images"), r"must be integers \[6\]"),
    "negative labels": (("--inputs", "x.npz", "--labels", "minus"), "label -1, must be >= 0"),
    "another shape": (("--inputs", "wide.npy"), r"has shape \[2, 1, 9, 9\], must be \[images, 1, 8, 8\]"),
    "not finite": (("--inputs", "nan.npy"), "must be finite numbers"),
    "several arrays": (("--inputs", "two.npz"), "has arrays a, b, name the one with the images `images`"),
    "too few": (("--inputs", "x.npz", "--images", "7"), "has 6 images, 7 asked for"),
    "a shape of words": (("--input-shape", "a,b"), "must be NAME=1,3,224,224"),
    "a size of nothing": (("--input-shape", "1,0,8,8"), "must be NAME=1,3,224,224"),
    "an unknown name": (("--input-shape", "nosuch=1,1,8,8"), "the inputs are image"),
    "a fixed size": (("--input-shape", "1,1,9,8"), "the file fixes axis 2 to 8"),
    "fewer axes": (("--input-shape", "1,1,8"), "the file has 4 axes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_line(capsys, name):
    arguments, told = WRONG[name]
    images_file(minus=np.full(6, -1))
    np.save("wide.npy", np.zeros((2, 1, 9, 9)))
    np.save("nan.npy", np.full((2, 1, 8, 8), np.nan))
    np.savez("two.npz", a=np.zeros((2, 1, 8, 8)), b=np.zeros((2, 1, 8, 8)))
    status, out, err = command(capsys, "run", DIGITS.network, *arguments, "--no-trace")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(told, err), err


def test_a_workload_with_its_own_images_takes_no_others(capsys):
    images_file()
    status, _, err = command(capsys, "run", "rram_128", "digits", "--inputs", "x.npz")
    assert (status, "names its images itself" in err) == (2, True)


def test_a_starter_is_a_workload_once_its_images_are_there(capsys):
    status, out, err = command(capsys, "init", "workload", DIGITS.network, "--out", "mine.yaml")
    assert (status, err) == (0, "")
    assert "wrote mine.yaml" in out
    assert (
        command(capsys, "init", "workload", DIGITS.network, "--out", "mine.yaml")[0] == 2
    )  # never overwritten unasked
    images_file("images.npz")
    np.savez("calibration.npz", images=DIGITS.calibration())
    status, out, err = command(capsys, "run", "rram_128", "mine.yaml", "--no-trace", "--json")
    assert (status, err) == (0, "")
    _, wanted, _ = command(capsys, "run", "rram_128", "digits", "--images", 6, "--no-trace", "--json")
    assert json.loads(out) == json.loads(wanted)


def test_starters_of_several_inputs_name_them(capsys):
    two_inputs("two.onnx")
    shapes = ("--input-shape", "x=1,3,5", "--input-shape", "words=1,3")
    assert command(capsys, "init", "workload", "two.onnx", *shapes)[0] == 0
    tree = yaml.safe_load(Path("workload.yaml").read_text())
    assert tree["inputs"]["tensors"] == {"x": ["x"], "words": ["words"]}


def test_exported_programs_are_the_networks_of_their_modules(capsys):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 3, 3, 2, 1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 10)
    module = torch.nn.Sequential(*layers).eval()
    for name, batch, dynamic in (("many.pt2", 2, ({0: torch.export.Dim.DYNAMIC},)), ("one.pt2", 1, None)):
        program = torch.export.export(module, (torch.zeros(batch, 1, 8, 8),), dynamic_shapes=dynamic)
        torch.export.save(program, name)
        images, _ = images_file()
        found = cimemu.run("rram_128", name, images)
        loaded, arch = cimemu.load_network(name), cimemu.load_arch("rram_128")
        assert found.outputs.shape == (6, 10)
        with torch.no_grad():
            wanted = module(torch.from_numpy(images)).numpy()
        assert np.abs(found.outputs - wanted).max() < 0.05 * np.abs(wanted).max()
        assert loaded.name == Path(name).stem
        assert arch is not None
    Path("broken.pt2").write_bytes(b"PK" + bytes(100))
    status, out, err = command(capsys, "run", "broken.pt2")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "torch.export" in err


def test_exported_programs_run_none_of_their_own_code():
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Trap:
        def __reduce__(self):
            return Path.touch, (Path("trapped"),)

    module = torch.nn.Linear(2, 2)
    torch.export.save(torch.export.export(module, (torch.zeros(1, 2),)), "good.pt2")
    torch.save(Trap(), "trap.pt")
    with zipfile.ZipFile("good.pt2") as good, zipfile.ZipFile("bad.pt2", "w") as bad:
        for name in good.namelist():
            whole = Path("trap.pt").read_bytes() if name.endswith((".pt", "weight_0", "weight_1")) else good.read(name)
            bad.writestr(name, whole)
    with pytest.raises(cimemu.WorkloadError):
        cimemu.load_network("bad.pt2")
    assert not Path("trapped").exists()
