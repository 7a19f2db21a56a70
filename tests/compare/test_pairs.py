"""`cimemu compare` and `cimemu quantize --scheme` on networks of several inputs, whose outputs are to find each other."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import cimemu
from cimemu.cli import main
from cimemu.compare import compare, grid_points, paired_difference, parse_axis
from cimemu.compare.table import from_hex
from cimemu.ptq.scheme import scheme_of
from cimemu.workload.metrics import pairs_found, retrieval_top1

PAIRS = 12


@pytest.fixture
def workload(tmp_path):
    """Two inputs, a product each, and their sum; the second of a pair is the first with a little noise."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(9, 7)).astype(np.float32) for name in "vw"}
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["p"], name="first"),
        helper.make_node("MatMul", ["y", "w"], ["q"], name="second"),
        helper.make_node("Add", ["p", "q"], ["z"]),
    ]
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in (("x", 9), ("y", 9), ("z", 7))
    ]
    given = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "pairs", shapes[:2], shapes[2:], given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    a, b = rng.random((2, PAIRS, 9), dtype=np.float32)
    near = [v + np.float32(0.1) * rng.random(v.shape, dtype=np.float32) for v in (a, b)]
    np.savez(tmp_path / "pairs.npz", a=a, b=b, c=near[0], d=near[1])
    source = "{file: pairs.npz, labels: null, tensors: {x: [a, c], y: [b, d]}}"
    (tmp_path / "workload.yaml").write_text(
        f"name: pairs\nsource: drawn\nnetwork: net.onnx\ninputs: {source}\ncalibration: {source}\nmetric: {{kind: retrieval}}\n"
    )
    return tmp_path


def test_a_pair_counts_as_one_and_the_row_says_which_were_found(workload, tmp_path):
    work = cimemu.load_workload(workload)
    points = grid_points([scheme_of("bs_kmq", {"converter.ramp": None})], [parse_axis("converter.bits=1,6")], {})
    rows = compare("rram_128", work, points, tmp_path / "t.csv", calibration=2 * PAIRS)
    for row, point in zip(rows, points):
        fitted = cimemu.apply_scheme(
            cimemu.load_network(work.network), cimemu.load_arch("rram_128"), work.calibration(), point.scheme
        )
        result = cimemu.run("rram_128", fitted.network, work.inputs()[0])
        assert row["images"] == str(PAIRS)
        assert (from_hex(row["correct"], PAIRS) == pairs_found(result.outputs)).all()
        assert float(row["accuracy"]) == pytest.approx(retrieval_top1(result.outputs), abs=1e-6)
        assert int(row["conversions_per_image"]) == round(result.conversions / (2 * PAIRS))
    assert float(rows[1]["accuracy"]) == 1
    assert float(rows[0]["psum_error"]) > float(rows[1]["psum_error"]) > 0
    assert paired_difference(rows[1], rows[0])[0] >= 0


def test_from_the_command_line(workload, tmp_path, capsys):
    given = ["--scheme", "layer", "--vary", "converter.bits=6", "-n", "6", "-o", str(tmp_path / "t.csv")]
    assert main(["compare", "rram_128", str(workload), *given]) == 0
    out = tmp_path / "q.onnx"
    assert main(["quantize", str(workload), "--scheme", "layer", "-o", str(out)]) == 0
    assert main(["run", "rram_128", str(workload), "--network", str(out), "--no-trace"]) == 0
    assert "100.00 %" in capsys.readouterr().out
    np.savez(tmp_path / "pairs.npz", **{name: np.zeros((0, 9), np.float32) for name in "abcd"})
    assert main(["compare", "rram_128", str(workload), *given[:-1], str(tmp_path / "u.csv")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_labels_and_without_pairs_there_is_no_accuracy(workload, tmp_path, capsys):
    text = (workload / "workload.yaml").read_text().replace("kind: retrieval", "kind: accuracy")
    (workload / "workload.yaml").write_text(text)
    assert main(["compare", "rram_128", str(workload), "-o", str(tmp_path / "t.csv")]) == 2
    assert "has no labels, accuracies need them" in capsys.readouterr().err
