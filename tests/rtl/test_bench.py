"""Modules of strangers against golden vectors, by `cimemu rtl bench`: right ones pass, planted bugs are caught and decoded."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rtl_tools

import cimemu
from cimemu.cli import main
from cimemu.golden.files import write_vectors
from cimemu.golden.vectors import layer_vectors
from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator
from cimemu.rtl.bench import run_bench
from cimemu.rtl.bench_file import read_bench

FOREIGN = Path(__file__).parent / "foreign"
TREE = {
    "rows": 8, "columns": 16, "cell": {"kind": "digital"}, "weight": {"bits": 4, "encoding": "twos_complement"},
    "input": {"bits": 4, "dac_bits": 4}, "adc": "ideal",
}  # fmt: skip
BUS = {
    "rows": 8, "columns": 8, "columns_per_adc": 8, "weight": {"bits": 4}, "input": {"bits": 6, "dac_bits": 3},
    "adc": {"model": "linear", "bits": 6}, "accumulator_bits": 12, "accumulator_overflow": "saturate",
}  # fmt: skip
ROWS = {
    "rows": 16, "columns": 16, "cell": {"kind": "digital"}, "weight": {"bits": 4, "encoding": "twos_complement"},
    "input": {"bits": 4}, "adc": "ideal",
}  # fmt: skip
MACROS = {"dot_tree": TREE, "cim_bus": BUS, "row_macro": ROWS}
# module, what is broken -> (text, its broken form, the file that shows it first)
BUGS = {
    "swapped columns": ("cim_bus", "if (cell_row[r][7-c])", "if (cell_row[r][c == 4 ? 2 : c == 5 ? 3 : 7 - c])", "codes.hex"),
    "threshold off by one": (
        "cim_bus", "<= sample[line][5:0];", "<= sample[line][5:0] - (sample[line] == 9);", "codes.hex"
    ),
    "late sample": ("cim_bus", "s + (step ? x[r][5:3]", "s + (step && line == 7 ? x[r][5:3]", "codes.hex"),
    "stale accumulator": ("cim_bus", "          acc[1] <= 0;\n", "", "outputs.hex"),
    "an accumulator that wraps": ("cim_bus", "(next > 2047) ? 12'sd2047 : next[11:0]", "next[11:0]", "outputs.hex"),
    "dropped carry": ("dot_tree", "m0 = l0 + l1;", "m0 = {l0[11:6] + l1[11:6], l0[5:0] + l1[5:0]};", "outputs.hex"),
    "wrong sign": ("dot_tree", "$signed({1'b0, a}) * w", "$signed({1'b0, a}) * $signed({1'b0, w})", "outputs.hex"),
    "dropped slice": ("row_macro", "<= acc[n] + (sum[n] <<< place);\n      end", "<= acc[n];\n      end", "outputs.hex"),
    "swapped rows": ("dot_tree", "act[31-4*k-:4]", "act[31-4*(k ^ (k > 5))-:4]", "outputs.hex"),
}  # fmt: skip
pytestmark = [*rtl_tools.needs("iverilog"), pytest.mark.filterwarnings("ignore")]
pytest.importorskip("cocotb_tools.runner", reason="cocotb is not installed")


def vectors(folder, name, rows=8):
    """Golden vectors of random weights and inputs, some large and some none."""
    macro = cimemu.Macro.model_validate(MACROS[name])
    rng = np.random.default_rng(5)
    outputs, ops = macro.outputs, 24
    weight = rng.integers(-8, 8, (outputs, rows)).astype(np.int16)
    weight[:1] = 7
    x = rng.integers(0, 2**macro.input.bits, (1, ops, rows)).astype(np.uint8)
    x[0, 3], x[0, 4] = 2**macro.input.bits - 1, 0
    layer = MacroLayer(
        name="fc", inputs=("x",), outputs=("y",), geometry=Geometry(rows, ops, 1, outputs, ops, 1),
        weight=weight[:, :, None, None], weight_zero_point=np.zeros(outputs, np.int64), input_zero_point=0,
        input_dtype="uint8", bias=np.zeros(outputs, np.int64), stage=Accumulator(),
        output_type=TensorType((ops, outputs), "int64"), layout="rows",
    )  # fmt: skip
    import nets

    network = nets.network("one", [layer], {"x": TensorType((ops, rows), "uint8")}, ["y"])
    made = layer_vectors(network, macro, x, None, ops)
    write_vectors(folder / "vectors", rtl_tools.arch_with(macro), "test", made, force=False)
    return folder / "vectors"


@pytest.mark.parametrize("name", MACROS)
def test_a_strangers_module_passes(tmp_path, name, capsys):
    folder = vectors(tmp_path, name)
    found = run_bench(FOREIGN / f"{name}.yaml", folder, tmp_path / "work")
    assert found.equal, found.difference
    assert found.files == len(read_bench(FOREIGN / f"{name}.yaml").results)
    words = ["rtl", "bench", str(FOREIGN / f"{name}.yaml"), str(folder), "--junit", str(tmp_path / "r.xml"), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["equal"]
    assert "<testsuite " in (tmp_path / "r.xml").read_text()


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught_and_decoded(tmp_path, bug):
    name, old, new, file = BUGS[bug]
    shutil.copy(FOREIGN / f"{name}.yaml", tmp_path)
    text = (FOREIGN / f"{name}.v").read_text()
    assert text.count(old) == 1
    (tmp_path / f"{name}.v").write_text(text.replace(old, new))
    found = run_bench(tmp_path / f"{name}.yaml", vectors(tmp_path, name), tmp_path / "work")
    assert not found.equal
    assert found.difference is not None
    assert found.difference.file == file
    assert {"output position", "output channel"} <= set(found.difference.terms)
    print(f"{bug}: {found.difference}")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"sources": ["nowhere.v"]}, "is no file"),
        ({"clock": None}, "a bus, start or done is given and no clock"),
        ({"bus": None}, "an address is given and no bus"),
        ({"inputs": {"bits": 6}}, "a port or an address is needed"),
        ({"speed": 3}, "speed"),
        ({"results": [{"value": "shift_add", "port": "ready", "bits": 70}]}, "must be <= 64"),
        ({"module": "cim_buss"}, "was not simulated"),
        ({"results": [{"value": "reference_codes", "address": 0, "bits": 4}]}, "has no reference_codes.hex"),
    ],
)  # fmt: skip
def test_a_wrong_bench_is_one_line(tmp_path, change, text, capsys):
    import yaml

    tree = yaml.safe_load((FOREIGN / "cim_bus.yaml").read_text()) | change
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump({k: v for k, v in tree.items() if v is not None}))
    shutil.copy(FOREIGN / "cim_bus.v", tmp_path)
    assert main(["rtl", "bench", str(tmp_path / "bench.yaml"), str(vectors(tmp_path, "cim_bus"))]) == 2
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
