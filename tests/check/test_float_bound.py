"""Floats agree within a derived bound: ONNX Runtime stays inside it, a wrong value does not, every operator has a rule."""

import importlib
import pkgutil

import numpy as np
import pytest
from small_nets import ARCH, images, node, product

import cimemu.layer
from cimemu.check.float_rules import SEVERAL, gamma
from cimemu.check.float_rules_more import OPEN
from cimemu.check.network import check_network
from cimemu.check.result_apart import ALL_EXACT, ALL_RULES
from cimemu.layer.base import Layer

WIDTH = 32
ONES = np.ones(WIDTH, np.float32)
# name -> (nodes from l [images, 32] to y, constants)
ISLANDS = {
    "Softmax": ([node("Softmax", ["l"], ["y"], axis=-1)], {}),
    "Sigmoid": ([node("Sigmoid", ["l"], ["y"])], {}),
    "Tanh": ([node("Tanh", ["l"], ["y"])], {}),
    "Exp": ([node("Exp", ["l"], ["y"])], {}),
    "Erf": ([node("Erf", ["l"], ["y"])], {}),
    "Gelu by Erf": (
        [
            node("Div", ["l", "root"], ["a"]), node("Erf", ["a"], ["b"]), node("Add", ["b", "one"], ["c"]),
            node("Mul", ["l", "c"], ["d"]), node("Mul", ["d", "half"], ["y"]),
        ],
        {"root": np.float32(1.4142135), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "Elu": ([node("Elu", ["l"], ["y"])], {}),
    "Softplus": ([node("Softplus", ["l"], ["y"])], {}),
    "HardSigmoid": ([node("HardSigmoid", ["l"], ["y"])], {}),
    "HardSwish": ([node("HardSwish", ["l"], ["y"])], {}),
    "LeakyRelu": ([node("LeakyRelu", ["l"], ["y"], alpha=0.13)], {}),
    "PRelu": ([node("PRelu", ["l", "slope"], ["y"])], {"slope": np.linspace(-2, 2, WIDTH).astype(np.float32)}),
    "Pow": ([node("Abs", ["l"], ["a"]), node("Pow", ["a", "p"], ["y"])], {"p": np.float32(1.7)}),
    "Sqrt, Div": (
        [node("Exp", ["l"], ["a"]), node("Sqrt", ["a"], ["b"]), node("Div", ["l", "b"], ["y"])], {},
    ),
    "Reciprocal": ([node("Exp", ["l"], ["a"]), node("Reciprocal", ["a"], ["y"])], {}),
    "ReduceMean": ([node("ReduceMean", ["l"], ["y"], axes=[1], keepdims=1)], {}),
    "ReduceSum": ([node("ReduceSum", ["l", "axes"], ["y"], keepdims=1)], {"axes": np.array([1])}),
    "ReduceL2": ([node("ReduceL2", ["l"], ["y"], axes=[1], keepdims=1)], {}),
    "ReduceMax": ([node("Exp", ["l"], ["a"]), node("ReduceMax", ["a"], ["y"], axes=[1], keepdims=1)], {}),
    "LayerNormalization": (
        [node("LayerNormalization", ["l", "scale", "bias"], ["y"], axis=-1)], {"scale": 3 * ONES, "bias": ONES},
    ),
    "decomposed normalisation": (
        [
            node("ReduceMean", ["l"], ["nm"], axes=[1], keepdims=1), node("Sub", ["l", "nm"], ["nc"]),
            node("Mul", ["nc", "nc"], ["ns"]), node("ReduceMean", ["ns"], ["nv"], axes=[1], keepdims=1),
            node("Add", ["nv", "eps"], ["nw"]), node("Sqrt", ["nw"], ["nr"]), node("Div", ["nc", "nr"], ["y"]),
        ],
        {"eps": np.float32(1e-5)},
    ),
    "MatMul of activations": (
        [
            node("Reshape", ["l", "grid"], ["g"]), node("Transpose", ["g"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["g", "t"], ["m"]), node("Softmax", ["m"], ["p"], axis=-1), node("MatMul", ["p", "g"], ["y"]),
        ],
        {"grid": np.array([-1, 4, 8])},
    ),
    "Clip, Concat": (
        [
            node("Tanh", ["l"], ["a"]), node("Clip", ["a", "low", "high"], ["b"]), node("Concat", ["a", "b"], ["y"], axis=1)
        ],
        {"low": np.float32(-0.3), "high": np.float32(0.4)},
    ),
    "Where": (
        [
            node("Tanh", ["l"], ["a"]), node("Greater", ["l", "zero"], ["c"]), node("Where", ["c", "a", "l"], ["y"]),
        ],
        {"zero": np.float32(0.01)},
    ),
    **{
        name: ([node(name, ["l"], ["y"])], {})
        for name in (
            "Atan", "Asinh", "Celu", "Cos", "LogSoftmax", "Selu", "Sin", "Softsign", "LpNormalization",
        )
    },
    "Log": ([node("Exp", ["l"], ["a"]), node("Log", ["a"], ["y"])], {}),
    "Mean": ([node("Sigmoid", ["l"], ["a"]), node("Mean", ["l", "a"], ["y"])], {}),
    "CumSum": ([node("CumSum", ["l", "at"], ["y"])], {"at": np.array(1)}),
    "ReduceL1": ([node("ReduceL1", ["l"], ["y"], axes=[1], keepdims=1)], {}),
    "ReduceSumSquare": ([node("ReduceSumSquare", ["l"], ["y"], axes=[1], keepdims=1)], {}),
    "ReduceLogSumExp": ([node("ReduceLogSumExp", ["l"], ["y"], axes=[1], keepdims=1)], {}),
    "InstanceNormalization": (
        [
            node("Reshape", ["l", "grid"], ["g"]), node("InstanceNormalization", ["g", "gs", "gb"], ["h"]),
            node("Reshape", ["h", "flat"], ["y"]),
        ],
        {"grid": np.array([-1, 4, 8]), "flat": np.array([-1, 32]), "gs": 3 * ONES[:4], "gb": ONES[:4]},
    ),
    "Min, Max, Sum": (
        [
            node("Tanh", ["l"], ["a"]), node("Sigmoid", ["l"], ["b"]), node("Min", ["a", "b"], ["c"]),
            node("Max", ["c", "l"], ["d"]), node("Sum", ["a", "b", "d"], ["y"]),
        ],
        {},
    ),
}  # fmt: skip


def islands(tmp_path, name, count=40, **scale):
    nodes, constants = ISLANDS[name]
    network = product(tmp_path / "n.onnx", rows=24, columns=WIDTH, behind=nodes, extra={**constants, **scale})
    return network, images(count, 24) * np.linspace(0.1, 6, count, dtype=np.float32)[:, None]


@pytest.mark.parametrize("scale", [0.01, 0.07, 1.3])
@pytest.mark.parametrize("name", ISLANDS)
def test_onnx_runtime_stays_within_the_bound_of_every_operator(tmp_path, name, scale):
    pytest.importorskip("onnxruntime")
    network, x = islands(tmp_path, name, y_s=np.float32(scale))
    found = check_network(network, ARCH.macro, x)
    row = found.tensors[-1]
    assert (row.name, row.kind) == ("y", "float")
    assert (found.status, found.integers.differing, row.differing) == ("agrees", 0, 0), row
    assert row.largest <= row.bound < np.inf


@pytest.mark.parametrize("name", ISLANDS)
def test_the_bound_is_near_float32s_own_rounding_and_a_value_beyond_it_differs(tmp_path, name):
    network, x = islands(tmp_path, name, count=8)
    from cimemu.check.network import lossless
    from cimemu.compute.forward import Emulator

    y = Emulator(network, lossless(ARCH.macro)).run([x]).tensors["y"]
    reach = max(float(np.abs(y).max()), 1e-3)
    wrong = y.copy()
    wrong[3] += np.float32(2e-3) * reach
    np.savez(tmp_path / "t.npz", y=wrong)
    found = check_network(network, ARCH.macro, x, against=str(tmp_path / "t.npz"))
    assert found.status == "differs"
    assert found.floats.differing >= 0.9 * y[3].size
    assert found.tensors[0].first[0] == 3
    np.savez(tmp_path / "t.npz", y=y.astype(np.float64))
    assert check_network(network, ARCH.macro, x, against=str(tmp_path / "t.npz")).status == "agrees"


def test_codes_that_a_float_operator_leaves_open_differ_all_the_same_and_are_counted(tmp_path):
    """The code of 0.5 steps is open after a Softmax: half of one, and its neighbour, are both right in float32."""
    from cimemu.check.compare import compare_tensor

    ours, theirs = np.array([[4, 7]], np.int8), np.array([[5, 9]], np.int8)
    found = compare_tensor("q", ours, theirs, slack=np.array([[1.0, 1.0]]))
    assert (found.differing, found.explained, found.within_bound) == (2, 1, 0)


def test_a_tensor_that_is_moved_only_has_no_bound(tmp_path):
    nodes = [node("Transpose", ["l"], ["y"], perm=[0, 1])]
    network = product(tmp_path / "n.onnx", behind=nodes)
    pytest.importorskip("onnxruntime")
    found = check_network(network, ARCH.macro, images(3, 12))
    assert (found.floats.bound, found.floats.within_bound, found.status) == (0, 0, "agrees")


def test_a_sum_of_n_terms_errs_by_n_roundings_on_either_side():
    rng = np.random.default_rng(0)
    for terms in (2, 17, 1000):
        x = rng.normal(size=(200, terms)).astype(np.float32)
        one, other = x.cumsum(axis=1, dtype=np.float32)[:, -1], x[:, ::-1].cumsum(axis=1, dtype=np.float32)[:, -1]
        distance = np.abs(one.astype(np.float64) - other)
        assert (distance <= gamma(terms) * np.abs(x).astype(np.float64).sum(axis=1)).all()
        assert distance.max() > 0 or terms == 2


def test_every_operator_has_a_rule_or_is_of_integers_alone():
    for module in pkgutil.walk_packages(cimemu.layer.__path__, "cimemu.layer."):
        importlib.import_module(module.name)

    def below(kind):
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    operators = {one.op for one in below(Layer) if one.op}
    assert operators == set(ALL_RULES) | ALL_EXACT | OPEN | set(SEVERAL)


def skip_connection(path, layers=3):
    """Normalised floats that are quantised for a product and go on beside it, as in a transformer."""
    rng = np.random.default_rng(3)
    nodes, constants, before = [], {"scale": 2 * ONES, "bias": ONES, "t_s": np.float32(0.05)}, "l"
    for number in range(layers):
        names = {key: f"{key}{number}" for key in ("n", "c", "d", "v", "w", "p", "a")}
        constants[names["w"]] = rng.integers(-99, 100, (WIDTH, WIDTH)).astype(np.int8)
        after = "y" if number == layers - 1 else names["a"]
        nodes += [
            node("LayerNormalization", [before, "scale", "bias"], [names["n"]], axis=-1),
            node("QuantizeLinear", [names["n"], "t_s", "z"], [names["c"]]),
            node("DequantizeLinear", [names["c"], "t_s", "z"], [names["d"]]),
            node("DequantizeLinear", [names["w"], "w_s", "z"], [names["v"]]),
            node("MatMul", [names["d"], names["v"]], [names["p"]]),
            node("Add", [names["p"], names["n"]], [after]),
        ]
        before = after
    return product(path, rows=24, columns=WIDTH, behind=nodes, extra=constants)


def test_floats_that_go_on_beside_their_codes_are_compared_and_keep_the_bound_small(tmp_path):
    pytest.importorskip("onnxruntime")
    network = skip_connection(tmp_path / "n.onnx")
    found = check_network(network, ARCH.macro, images(20, 24))
    rows = {diff.name: diff for diff in found.tensors}
    assert {"n0", "n1", "n2"} <= set(rows)
    assert found.status == "agrees"
    assert rows["y"].bound < 1e-3


def test_equal_codes_hold_floats_within_a_step_where_no_float_is_compared(tmp_path):
    """Without it the bound of this network grows beyond its values."""
    from cimemu.check.network import lossless
    from cimemu.compute.forward import Emulator

    network = skip_connection(tmp_path / "n.onnx", layers=9)
    x = images(6, 24)
    keep = frozenset(name for name, kind in network.types.items() if kind.dtype == "int8")
    ran = Emulator(network, lossless(ARCH.macro)).run([x], keep=keep).tensors
    np.savez(tmp_path / "t.npz", y=ran["y"])
    alone = check_network(network, ARCH.macro, x, against=str(tmp_path / "t.npz"))
    np.savez(tmp_path / "t.npz", **ran)
    held = check_network(network, ARCH.macro, x, against=str(tmp_path / "t.npz"))
    assert (held.status, alone.status) == ("agrees", "agrees")
    assert held.tensors[-1].bound < np.abs(ran["y"]).max()
    assert alone.tensors[-1].bound == 0 or alone.tensors[-1].bound > held.tensors[-1].bound
