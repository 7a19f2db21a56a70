"""The command line as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

import cimemu
from cimemu.arch.load import preset_folder
from cimemu.check.ort_session import make_session
from cimemu.cli import main

KEYS = [
    "images", "accuracy", "cycles", "latency_us", "energy_uj", "tops_per_w", "adc_conversions", "macs", "macros",
    "utilization", "trace",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def command(capsys, *arguments):
    status = main(list(arguments))
    out = capsys.readouterr()
    return status, out.out, out.err


def test_run_prints_one_json_object_with_the_agreed_keys(capsys):
    status, out, err = command(capsys, "run", "--images", "5", "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert set(KEYS) <= set(found)
    assert found["images"] == 5
    assert found["trace"] == "digits_rram_128.h5"
    with h5py.File(found["trace"]) as file:
        assert file.attrs["cycles"] == found["cycles"]
        assert json.loads(file.attrs["provenance_json"])["workload"] == "digits"


def test_the_command_and_python_give_the_same(capsys):
    arch = cimemu.load_arch("sram_256", {"macro.adc.bits": 6})
    work = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, labels = work.inputs(4)
    summary = cimemu.run(arch, network, images, labels).summary()
    _, out, _ = command(
        capsys, "run", "sram_256", "digits", "-n", "4", "--set", "macro.adc.bits=6", "--json", "--no-trace"
    )
    assert summary.items() <= json.loads(out).items()


@pytest.mark.parametrize("arch", ["rram_128", "sram_128", "fefet_128", "sram_256", "isaac", "digital_cim"])
def test_every_preset_classifies_the_digits(capsys, arch):
    status, out, _ = command(capsys, "run", arch, "--images", "60", "--json", "--no-trace")
    found = json.loads(out)
    assert status == 0
    assert found["accuracy"] >= 0.95
    assert (found["adc_conversions"] == 0) == (arch == "digital_cim")


def test_a_second_run_overwrites_nothing(capsys, tmp_path):
    for _ in range(2):
        command(capsys, "run", "--images", "1", "--json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits_rram_128.h5", "digits_rram_128_2.h5"]
    status, _, err = command(capsys, "run", "--images", "1", "--out", "digits_rram_128.h5")
    assert status == 2
    assert "exists already" in err
    assert command(capsys, "run", "--images", "1", "--out", "digits_rram_128.h5", "--force")[0] == 0


def test_run_and_report_print_what_the_file_says(capsys):
    status, out, _ = command(capsys, "run", "--images", "3", "--detail", "cycles", "--out", "a.h5")
    assert status == 0
    assert "3 images" in out
    _, text, _ = command(capsys, "report", "a.h5")
    for title in ("Layers", "Energy and area", "Units", "Macros"):
        assert title in text
    _, out, _ = command(capsys, "report", "a.h5", "--json")
    data = json.loads(out)
    assert list(data) == ["summary", "layers", "dequantization", "components", "stalls", "utilization", "limits"]
    with h5py.File("a.h5") as file:
        assert data["summary"]["cycles"] == file.attrs["cycles"]
        assert sum(row["uJ"] for row in data["components"]) == pytest.approx(file.attrs["energy_pj"] / 1e6)
        assert sum(row["macros"] for row in data["utilization"]) == len(file["macros/macro"])
    for row in data["stalls"]:
        assert sum(value for name, value in row.items() if name not in ("unit", "operations")) == pytest.approx(1)


@pytest.mark.slow
def test_detail_cycles_ends_when_detail_ops_does(capsys):
    cycles = [
        json.loads(command(capsys, "run", "isaac", "-n", "2", "--no-trace", "--json", "--detail", detail)[1])["cycles"]
        for detail in ("ops", "cycles")
    ]
    assert cycles[0] == cycles[1]


def test_list_shows_presets_and_workloads(capsys):
    _, out, _ = command(capsys, "list", "--json")
    found = json.loads(out)
    assert {"digital_cim", "isaac", "rram_128", "sram_256"} <= set(found["archs"])
    assert {"digits", "tiny_kws"} <= set(found["workloads"])
    _, text, _ = command(capsys, "list")
    assert "rram_128" in text


def test_check_finds_no_difference_on_the_bit_serial_path(capsys):
    pytest.importorskip("onnxruntime")
    status, out, _ = command(
        capsys, "check", "rram_128", "digits", "--images", "40", "--json", "--set", "macro.adc.bits=5"
    )
    found = json.loads(out)
    assert status == 0
    assert found["differing"] == 0
    assert found["elements"] > 100_000
    assert (found["bit_serial_layers"], found["shortcut_layers"], found["unfused"]) == (6, 0, 0)
    # its own 5-bit converter moves every convolution but none by nothing
    assert max(row["moved"] for row in found["movement"]) > 0
    assert "QLinearConv" in found["kernels"]
    status, text, _ = command(capsys, "check", "rram_128", "digits", "--images", "4")
    assert status == 0
    assert text.startswith("Equal: ")
    assert "0 differ" in text
    assert "tensors are equal" in text


def test_check_against_a_file_names_the_first_difference(capsys):
    work = cimemu.load_workload("digits")
    arch = cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, _ = work.inputs(6)
    name = next(layer.outputs[0] for layer in network.layers if layer.on_macros)
    from cimemu.compute.forward import Emulator

    tensor = Emulator(network, arch.macro).run([images], keep=frozenset([name])).tensors[name].copy()
    np.savez("good.npz", **{name: tensor})
    assert command(capsys, "check", "rram_128", "digits", "--against", "good.npz")[0] == 0
    tensor[4, 2, 1, 0] += 3
    np.savez("bad.npz", **{name: tensor})
    status, out, _ = command(capsys, "check", "rram_128", "digits", "--against", "bad.npz")
    assert status == 1
    assert out.startswith("Not equal")
    row = next(line for line in out.splitlines() if f"1  {tensor.size:,}" in line)
    assert name in row
    assert "4,2,1,0" in row
    assert f"first layer that differs: {network.layers[1].name}" in out
    status, out, _ = command(capsys, "check", "rram_128", "digits", "--against", "bad.npz", "--json")
    found = json.loads(out)
    assert (status, found["differing"], found["first_layer"]) == (1, 1, network.layers[1].name)
    first = found["differences"][0]
    assert (first["first"], first["theirs"] - first["ours"], first["largest"]) == ([4, 2, 1, 0], 3, 3)
    assert [row["elements"] for row in found["compared"]] == [tensor.size]
    np.savez("other.npz", nothing=tensor)
    status, _, err = command(capsys, "check", "rram_128", "digits", "--against", "other.npz")
    assert status == 2
    assert "'nothing' is no tensor of the network" in err


def test_quantize_writes_a_network_that_runs_elsewhere_and_here(capsys):
    work = cimemu.load_workload("digits")
    images, labels = work.inputs()
    np.save("calibration.npy", work.calibration())
    assert command(capsys, "quantize", str(work.network), "-o", "q.onnx", "--calibration", "calibration.npy")[0] == 0
    ours = cimemu.quantize(cimemu.load_network("q.onnx"), cimemu.load_arch("rram_128"))
    result = cimemu.run(cimemu.load_arch("rram_128"), ours, images, labels, detail=None)
    assert result.accuracy >= 0.97
    pytest.importorskip("onnxruntime")
    session = make_session(Path("q.onnx").read_bytes())
    theirs = session.run(None, {session.get_inputs()[0].name: images})[0]
    assert np.array_equal(theirs, result.outputs)
    status, _, err = command(capsys, "quantize", "digits", "-o", "q.onnx")
    assert status == 2
    assert "--force" in err
    status, _, err = command(capsys, "quantize", str(work.network), "-o", "new.onnx")
    assert status == 2
    assert "--calibration" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "No such command"),
        (["run", "nothing"], "no such preset"),
        (["run", "rram_128", "nothing"], "no such preset"),
        (["run", "--images", "0"], "images = 0, must be >= 1"),
        (["run", "--images", "many"], "--images"),
        (["run", "--images", "5000"], "has 360 images, 5000 asked for"),
        (["run", "--memory-gib", "0"], "--memory-gib = 0.0, must be >= 0.001"),
        (["run", "--detail", "all"], "--detail all: must be ops or cycles"),
        (["run", "--set", "macro.rows"], "KEY=VALUE"),
        (["run", "--set", "macro.rows=-1"], "macro.rows = -1, must be >= 1"),
        (["run", "--path", "magic"], "path = 'magic'"),
        (["run", "--out", "/proc/nothing/x.h5"], "cannot be written"),
        (["run", "--out", "."], "is a folder"),
        (["run", "--set", "chip.tiles=1", "--set", "tile.macros=1"], "allow_reprogram"),
        (["run", "--calibrate-adc", "pixel"], "granularity = 'pixel'"),
        (["run", "digital_cim", "--calibrate-adc", "layer"], "macro.adc.model = ideal"),
        (["run", "--set", "macro.adc.bits=12", "--set", "costs.adc.extrapolate=false"], "costs.adc.sar has 4 .. 10"),
        (["report", "nothing.h5"], "no such file"),
        (["check", "rram_128"], "WORKLOAD"),
        (["check", "rram_128", "digits", "--against", "nothing.npz"], "no such file"),
        (["quantize", "nothing.onnx", "-o", "x.onnx"], "nothing.onnx"),
    ],
)
def test_a_mistake_is_one_line_status_2_and_leaves_nothing(capsys, tmp_path, arguments, message):
    status, _, err = command(capsys, *arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_no_arguments_show_the_help(capsys):
    status, out, _ = command(capsys)
    assert status == 0
    assert "Emulate a network on a chip" in out


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_trace(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code = (
        limit
        + ignore
        + "import sys; from cimemu.cli import main; sys.exit(main(['run', '--images', '20', '--out', 'x.h5']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from cimemu.cli import main

begin = Path.write_bytes

def write_bytes(path, data):
    begin(path, data)
    assert path.match("x.h5.*.partial")
    os.kill(os.getpid(), signal.SIGINT)

Path.write_bytes = write_bytes
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in what a script starts in the background
sys.exit(main(["run", "--images", "20", "--out", "x.h5"]))
"""


@pytest.mark.slow
def test_ctrl_c_is_130_and_leaves_no_half_trace(tmp_path):
    """The signal comes as soon as the trace is begun."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
    )
    status, err, folder = done.returncode, done.stderr, tmp_path
    assert status == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert list(folder.iterdir()) == []


@pytest.fixture
def copied(tmp_path):
    """A copy of the digits workload in a folder of its own."""
    import shutil

    source = cimemu.load_workload("digits").path.parent
    shutil.copytree(source, tmp_path / "mine")
    return tmp_path / "mine"


def changed_network(path, change):
    import onnx

    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())


def nan_weight(model):
    from onnx import numpy_helper

    values = numpy_helper.to_array(model.graph.initializer[0]).copy()
    values.flat[0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, model.graph.initializer[0].name))


def strange_operator(model):
    model.graph.node[1].op_type = "NonZero"


def changed_data(folder, **arrays):
    with np.load(folder / "digits.npz") as data:
        np.savez(folder / "digits.npz", **{**data, **arrays})


HOSTILE = {
    "truncated network": (
        lambda f: (f / "digits.onnx").write_bytes((f / "digits.onnx").read_bytes()[:20000]),
        "digits.onnx",
    ),
    "empty network": (lambda f: (f / "digits.onnx").write_bytes(b""), "digits.onnx"),
    "garbage network": (lambda f: (f / "digits.onnx").write_bytes(bytes(range(256)) * 40), "digits.onnx"),
    "missing network": (lambda f: (f / "digits.onnx").unlink(), "digits.onnx"),
    "NaN weight": (lambda f: changed_network(f / "digits.onnx", nan_weight), "must be finite"),
    "unknown operator": (lambda f: changed_network(f / "digits.onnx", strange_operator), "NonZero"),
    "labels out of range": (lambda f: changed_data(f, labels=np.full(360, 10)), "labels[0] = 10, must be 0 .. 9"),
    "images of another size": (
        lambda f: changed_data(f, images=np.zeros((360, 1, 9, 8), np.float32)),
        "[images, 1, 8, 8]",
    ),
    "images without batch": (
        lambda f: changed_data(f, images=np.zeros(360, np.float32)),
        "must be numbers [images, ...]",
    ),
    "truncated data": (
        lambda f: (f / "digits.npz").write_bytes((f / "digits.npz").read_bytes()[:9000]),
        "cannot be read",
    ),
    "YAML bomb": (lambda f: (f / "workload.yaml").write_text("a: &a [x]\nb: [*a, *a]\n"), "aliases are not allowed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_or_hostile_workload_is_one_line_and_leaves_no_trace(capsys, tmp_path, copied, name):
    spoil, message = HOSTILE[name]
    spoil(copied)
    status, _, err = command(capsys, "run", "rram_128", str(copied), "--out", "x.h5", "--images", "3")
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_workload_of_ones_own_runs_and_keeps_its_name(capsys, copied):
    status, out, _ = command(capsys, "run", "rram_128", str(copied), "--images", "3", "--json")
    assert status == 0
    assert json.loads(out)["images"] == 3


def test_an_arch_without_prices_has_no_energy_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tree = yaml.safe_load((preset_folder() / "rram_128.yaml").read_text(encoding="utf-8"))
    Path("bare.yaml").write_text(yaml.safe_dump({key: value for key, value in tree.items() if key != "costs"}))
    for words in (["--no-trace"], ["--out", "bare.h5"]):
        assert main(["run", "bare.yaml", "digits", "--images", "2", *words]) == 0
        said = capsys.readouterr().out
        assert "energy" in said
        assert "the arch has no prices" in said
        assert " uJ" not in said
