"""The ONNX backend suite: nothing is wrong, nothing is a traceback, and the committed table is what it gives."""

import csv
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from cimemu.check.onnx_backend import HEADER, Case, run_suite, table, verdict

TABLE = Path(__file__).parents[2] / "workloads/studies/onnx_backend/results.csv"


def case(op, inputs, outputs, **attributes):
    names = [f"i{number}" for number in range(len(inputs))]
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, inputs)
    ]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)], "g", values,
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(outputs[0].dtype), outputs[0].shape)],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return Case(op, op, onnx.ModelProto.FromString(made.SerializeToString()), tuple(inputs), tuple(outputs), 1e-3, 1e-7)


def test_a_verdict_is_about_values_types_and_reasons():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    c = np.ones((1, 3), np.float32)
    assert verdict(case("Neg", [x], [-x])) == ("as it is", "")
    assert verdict(case("Neg", [x], [x]))[0] == "wrong"
    assert verdict(case("Neg", [x], [-x.astype(np.float64)]))[0] == "wrong"
    assert verdict(case("Add", [x, c], [x + c])) == ("with constants", "")
    power = np.exp(x - x.max(axis=0))
    assert verdict(case("Softmax", [x], [power / power.sum(axis=0)], axis=0)) == ("as one image", "")
    assert verdict(case("ReverseSequence", [x, np.array([1, 2, 1])], [x], batch_axis=1, time_axis=0))[0] == "batch axis"
    assert verdict(case("NonZero", [x], [x]))[0] == "operator"


def test_cases_out_of_scope_are_told_apart():
    x = np.ones(2, np.float32)
    assert case("Adam", [x], [x]).out_of_scope == "loss or training"
    assert case("Neg", [], [x]).out_of_scope == "no input"
    assert case("Neg", [x], [x]).out_of_scope == ""


def test_the_committed_table_has_nothing_wrong():
    with TABLE.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == HEADER
    sums = next(row for row in rows if row[0] == "all operators")
    assert [sums[HEADER.index(name)] for name in ("wrong", "tracebacks")] == ["0", "0"]


@pytest.mark.slow
def test_the_suite_gives_the_committed_table():
    found = run_suite()
    bad = [(case.name, kind, text) for case, kind, text in found if kind in ("wrong", "traceback")]
    assert not bad
    with TABLE.open(newline="", encoding="utf-8") as file:
        assert [list(HEADER), *table(found)] == list(csv.reader(file))
