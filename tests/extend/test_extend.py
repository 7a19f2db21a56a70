"""Classes from outside, of every kind: those of the pages `cimemu docs extend/...`, from a file and from a package."""

import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from pages import ROOT, blocks
from test_manual import run_commands, run_python

import cimemu
from cimemu import plugins
from cimemu.arch.load import preset_folder
from cimemu.cli import main
from cimemu.errors import CimemuError, PluginError
from cimemu.prepare import load_recipe, quantized_network
from cimemu.stress import stress, sweep

FOLDER = ROOT / "cimemu/docs/extend"
KINDS = {  # page: file, class, name, entry-point group
    "adc": ("log_adc", "LogAdc", "logarithmic", "cimemu.adc"),
    "variation": ("clustered", "ClusteredStuck", "clustered_stuck", "cimemu.variation"),
    "estimator": ("scaled_wire", "ScaledWire", "scaled_wire", "cimemu.cost"),
    "exporter": ("gantt", "Gantt", "gantt", "cimemu.export"),
    "command": ("busiest", "Busiest", "busiest", "cimemu.command"),
    "operator": ("soft_shrink", "SoftShrink", "my.domain:SoftShrink", "cimemu.operator"),
}
EVERY = pytest.mark.parametrize("page", KINDS)


@pytest.fixture(autouse=True)
def _forgotten():
    """Files that a test has loaded are taken back."""
    yield
    for path, _ in plugins.files():
        plugins.forget(path)


def code(page):
    """The class of a page."""
    return next(b.body for b in blocks(FOLDER / f"{page}.md") if b.label == "python" and "\nclass " in b.body)


def file_of(page, folder):
    path = folder / f"{KINDS[page][0]}.py"
    path.write_text(code(page))
    return path


def package(folder, monkeypatch, entry, text, name="outside-models", version="1.2", module="outside_models"):
    """An installed package with one module and entry points {group: line}."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{line}\n" for group, line in entry.items()))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)
    return folder


def packaged(page, folder, monkeypatch):
    _, kind, name, group = KINDS[page]
    return package(folder, monkeypatch, {group: f"{name} = outside_models:{kind}"}, code(page))


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page == "variation")) for page in KINDS]
)
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file_of(page, tmp_path)
    names = {"__name__": "page"}
    for block in blocks(FOLDER / f"{page}.md"):
        if block.label == "sh":
            run_commands(block.body, lambda: capsys.readouterr().out, FOLDER / f"{page}.md")
        elif block.label == "python" and block.body != code(page):
            run_python(block.body, names, FOLDER / f"{page}.md")
        elif block.label == "yaml":
            in_an_architecture(yaml.safe_load(block.body), tmp_path)
    assert len(code(page).splitlines()) < 40


def in_an_architecture(part, folder):
    """The keys of a page's YAML in a whole file, in another folder than the working one."""
    tree = yaml.safe_load((preset_folder() / "rram_128.yaml").read_text())
    for key, value in part.items():
        tree[key] = {**tree[key], **value}
    (folder / "arch.yaml").write_text(yaml.safe_dump(tree))
    made = cimemu.load_arch(folder / "arch.yaml")
    assert plugins.used([made.macro.adc, made.costs.wordline.estimator])
    assert cimemu.load_arch(made) == made
    assert cimemu.Arch.model_validate_json(made.model_dump_json()) == made


@EVERY
def test_a_package_is_listed_with_its_version_and_parameters(page, tmp_path, monkeypatch, capsys):
    packaged(page, tmp_path, monkeypatch)
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    what = plugins.KINDS[KINDS[page][3]].what
    shown = listed[f"plug-ins: {what}"][KINDS[page][2]]
    assert "(outside-models 1.2)" in shown
    assert {"adc": "growth=1.5", "variation": "share=0.0", "estimator": "ff_per_column=0.3"}.get(page, "") in shown


def test_a_converter_of_a_package_runs_a_network_and_stands_in_its_trace(tmp_path, monkeypatch):
    packaged("adc", tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    arch = cimemu.load_arch("rram_128", {"macro.adc": {"model": "logarithmic", "bits": 5}})
    work = cimemu.load_workload("digits")
    network = quantized_network(work, arch)
    result = cimemu.run(arch, network, work.inputs(2)[0], trace="t.h5")
    assert cimemu.open_trace("t.h5").attributes["plugins"] == "converter logarithmic (outside-models 1.2)"
    assert arch.costs.adc.energy_pj == pytest.approx(0.31)
    assert result.energy_uj > 0
    plain = cimemu.run(cimemu.load_arch("rram_128"), network, work.inputs(2)[0], trace="plain.h5")
    assert "plugins" not in cimemu.open_trace(plain.trace).attributes


def test_golden_vectors_of_a_converter_from_outside_are_those_of_its_file(tmp_path, monkeypatch):
    file_of("adc", tmp_path)
    monkeypatch.chdir(tmp_path)
    given = ["--plugin", "log_adc.py", "golden", "rram_128", "digits", "--ops", "2", "--out", "vectors"]
    assert main([*given, "--set", "macro.adc={model: logarithmic, bits: 4}"]) == 0
    assert any((tmp_path / "vectors").rglob("*"))


def clustered(tmp_path):
    (plugin,) = cimemu.load_plugin(file_of("variation", tmp_path))
    return plugin.target


def small():
    arch, work = cimemu.load_arch("rram_128"), cimemu.load_workload("digits")
    images, labels = work.inputs(4)
    return arch, work, quantized_network(work, arch), images, labels


@pytest.mark.slow
def test_stress_takes_objects_mappings_and_texts_alike_also_in_worker_processes(tmp_path):
    kind = clustered(tmp_path)
    arch, _, network, images, labels = small()
    given = [
        kind(share=0.1),
        {"model": "clustered_stuck", "share": 0.1},
        f"{tmp_path}/clustered.py:ClusteredStuck:share=0.1",
    ]
    outs = [None, None, tmp_path / "s.h5"]
    found = [
        stress(arch, network, images, labels, vary=[one], trials=2, workers=n, out=out)
        for n, one, out in zip((1, 1, 2), given, outs)
    ]
    assert "variation clustered_stuck" in cimemu.open_trace(outs[2]).attributes["plugins"]
    assert not any(result.errors for result in found)
    assert len({result.own_error.tobytes() for result in found}) == 1
    assert found[0].own_error.any()
    assert found[0].vary == found[2].vary == ((f"{tmp_path}/clustered.py:ClusteredStuck:share=0.1,size=4",),)


def test_a_task_of_a_plug_in_file_is_whole_in_a_process_that_has_never_seen_the_file(tmp_path):
    from cimemu.stress.jobs import packed

    model = clustered(tmp_path)(share=0.25)
    (tmp_path / "task").write_bytes(packed(model))
    (tmp_path / "clustered.py").unlink()  # as on another machine of a cluster
    script = f"from cimemu.stress.jobs import unpacked; print(unpacked(open({str(tmp_path / 'task')!r}, 'rb').read()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(model)


def test_a_class_of_a_function_runs_in_one_process_and_is_refused_for_workers():
    from typing import Literal

    from cimemu.extend import Variation

    class Faded(Variation):
        model: Literal["faded"] = "faded"
        share: float = 0.0

        def write(self, block, stream):
            block.levels *= 1 - self.share

    arch, _, network, images, labels = small()
    assert not stress(arch, network, images, labels, vary=[Faded(share=0.1)], trials=1).errors
    with pytest.raises(CimemuError, match=r"workers: .*Faded.*define it in a file"):
        stress(arch, network, images, labels, vary=[Faded(share=0.1)], trials=1, workers=2)


@pytest.mark.slow
def test_a_sweep_takes_converter_objects_and_models_of_variation(tmp_path):
    kind = clustered(tmp_path)
    (adc,) = cimemu.load_plugin(file_of("adc", tmp_path))
    arch, work, _, images, labels = small()
    points = {"macro.adc": [adc.target(bits=4), {"model": "ideal"}]}
    found = sweep(arch, load_recipe(work), images, labels, vary=points, models=[kind(share=0.1)], workers=2)
    assert not any(found.errors)
    assert [list(point) for point in found.parameters] == [["macro.adc", "clustered_stuck"]] * 2
    texts = sweep(arch, load_recipe(work), images, labels, vary={}, models=["clustered_stuck:share=0,0.1"])
    assert len(texts.parameters) == 2


def test_an_operator_from_outside_has_values_cycles_and_energy(tmp_path):
    cimemu.load_plugin(file_of("operator", tmp_path))
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("SoftShrink", ["a"], ["b"], domain="my.domain", bound=0.25),
        helper.make_node("Gemm", ["b", "v"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(8, 6)), "v": rng.normal(size=(6, 3))}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=9), tmp_path / "net.onnx")
    network, arch = cimemu.load_network(tmp_path / "net.onnx"), cimemu.load_arch("rram_128")
    images = rng.normal(size=(16, 8)).astype(np.float32)
    quantized = cimemu.quantize(network, arch, calibration=images)
    result = cimemu.run(arch, quantized, images[:4], trace=tmp_path / "t.h5")
    trace = cimemu.open_trace(tmp_path / "t.h5")
    layers = trace.table("layers")
    row = list(layers["op"]).index("my.domain:SoftShrink")
    assert layers["cycles"][row] > 0
    assert layers["energy_pj"][row] > 0
    assert result.outputs.shape == (4, 3)
    assert "operator my.domain:SoftShrink" in trace.attributes["plugins"]
    plugins.forget(tmp_path / "soft_shrink.py")
    with pytest.raises(CimemuError, match=r"operator my.domain:SoftShrink \(once\) is not supported"):
        cimemu.load_network(tmp_path / "net.onnx")


def test_an_exporter_that_fails_is_one_line_and_leaves_no_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(code("exporter").replace("rows = {}", "rows = 1 / 0"))
    assert main(["run", "rram_128", "digits", "--images", "1", "--out", "t.h5"]) == 0
    assert main(["export", "t.h5", "-f", "gantt", "--plugin=bad.py"]) == 2
    assert "exporter gantt: ZeroDivisionError" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()


def test_help_names_subcommands_from_outside_and_their_options(tmp_path, monkeypatch, capsys):
    packaged("command", tmp_path, monkeypatch)
    assert main(["--help"]) == 0
    assert re.search(r"busiest +of the plug-in outside-models 1.2", capsys.readouterr().out)
    assert main(["busiest", "--help"]) == 0
    assert "--most" in capsys.readouterr().out
    assert main(["busiest", "no.h5"]) == 2
    assert "no.h5" in capsys.readouterr().err


BASE = "from typing import Literal\nfrom cimemu.extend import Converter, Variation\n"
ADC = "class A(Converter):\n    model: Literal['{}'] = '{}'\n    circuit: str = 'sar'\n    thresholds: list = [0.5]\n"
BROKEN = [
    ("x = (", "line 1: SyntaxError: '(' was never closed; correct the file"),
    ("import nosuchmodule", "line 1: ModuleNotFoundError: No module named 'nosuchmodule'; correct the file"),
    ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
    ("x = 1", "defines no converter, variation or other plug-in, derive a class from one of cimemu.extend"),
    (BASE + ADC.format("mine", "mine"), "converter A lacks levels; define it"),
    (BASE + "class V(Variation):\n    model: Literal['v'] = 'v'\n", "variation V lacks write; define it"),
    (
        BASE + ADC.format("linear", "linear") + "    levels: list = [0, 1]\n",
        "'linear' has the name of one of cimemu itself",
    ),
    (BASE + "class V(Variation):\n    def write(self, block, stream): ...\n", "variation V has no name, give it model"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_file_is_one_line(text, message, tmp_path, capsys):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(PluginError) as error:
        cimemu.load_plugin(path)
    assert str(error.value).startswith(f"plug-in {path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert main(["--plugin", str(path), "list"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert plugins.files() == ()


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    path = file_of("variation", tmp_path)
    for arguments, message in (
        (["--plugin", "no.py", "list"], "plug-in no.py: no such file, name a Python file"),
        (["list", "--plugin"], "--plugin: no file given"),
        (["run", "--vary", "no.py:Model:x=1"], "--vary no.py:Model:x=1: plug-in no.py: no such file"),
        (["run", "--vary", f"{path}:Other:x=1"], "has no variation 'Other'; of that kind it has ClusteredStuck"),
        (["run", "--vary", f"{path}:ClusteredStuck:sahre=1"], "has no parameter 'sahre'; it has share, size"),
        (["run", "--vary", f"{path}:ClusteredStuck:share=2"], "share = 2, must be <= 1"),
        (["run", "--set", "macro.adc.model=no.py:X"], "macro.adc: plug-in no.py: no such file"),
        (["run", "--set", f"macro.adc.model={path}:X"], "has no converter 'X'; of that kind it has none"),
        (["export", "t.h5", "-f", "nosuch"], "must be one of perfetto, vcd, csv, parquet"),
    ):
        assert main(arguments) == 2, arguments
        said = capsys.readouterr().err
        assert message in said, said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("entry", "text", "message"),
    [
        ("mine = outside_models:A", "import nosuchmodule", "cannot be imported (ModuleNotFoundError"),
        ("mine = outside_models:B", "", "outside_models has no 'B'; correct its entry point"),
        ("mine = outside_models:A", "class A: pass", "A is no converter, derive it from cimemu.extend.Converter"),
        ("mine = outside_models:A", BASE + ADC.format("mine", "mine"), "converter A lacks levels"),
        (
            "mine = outside_models:A",
            BASE + ADC.format("yours", "yours") + "    levels: list = [0, 1]\n",
            "entry point 'mine' of cimemu.adc names A, whose model is 'yours'; give both one name",
        ),
    ],
)
def test_a_broken_package_is_one_line_that_names_it(entry, text, message, tmp_path, monkeypatch, capsys):
    package(tmp_path, monkeypatch, {"cimemu.adc": entry}, text)
    with pytest.raises(CimemuError) as error:
        cimemu.load_arch("rram_128", {"macro.adc.model": "mine"})
    assert "plug-in outside-models 1.2: " in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    cimemu.load_arch("rram_128")  # what does not name it does not meet it
    assert main(["list"]) == 0
    assert "outside-models 1.2" in capsys.readouterr().out


def test_a_name_that_two_have_is_refused_where_it_is_asked_for(tmp_path, monkeypatch):
    for folder, name in ((tmp_path / "one", "first-models"), (tmp_path / "two", "second-models")):
        folder.mkdir()
        package(
            folder, monkeypatch, {"cimemu.adc": "linear = m:A\nmine = m:A"}, "", name, module=name.replace("-", "_")
        )
    for wanted in ("linear", "mine"):
        with pytest.raises(
            CimemuError, match=rf"its converter '{wanted}' has the name of one of .*; rename it, or remove"
        ):
            cimemu.load_arch("rram_128", {"macro.adc": {"model": wanted, "bits": 4}})
    cimemu.load_arch("rram_128", {"macro.adc": "ideal"})


def test_a_file_that_changes_is_run_again(tmp_path):
    path = tmp_path / "adc.py"
    path.write_text(BASE + ADC.format("mine", "mine") + "    levels: list = [0, 1]\n")
    (first,) = cimemu.load_plugin(path)
    assert cimemu.load_plugin(path)[0] is first
    path.write_text(path.read_text().replace("[0, 1]", "[0, 2]"))
    (second,) = cimemu.load_plugin(path)
    assert (first.target(bits=1).levels, second.target(bits=1).levels) == ([0, 1], [0, 2])
