"""The forms of ONNX Runtime's kernels: told apart by probes, named by a check where they are not cimemu's."""

import numpy as np
import pytest
from onnx import helper

from cimemu.check import ort_form
from cimemu.check.ort_form import ADD, PAIRS, PROBED, is_known, kernel_forms, ort_add_form
from cimemu.layer.float32 import to_int32
from cimemu.layer.q_arith import add_values_fma, add_values_sse2
from cimemu.layer.sum_order import depends_on_batch, ordered_sum


@pytest.fixture
def fresh():
    ort_add_form.cache_clear()
    is_known.cache_clear()
    yield
    ort_add_form.cache_clear()
    is_known.cache_clear()


def codes(values):
    a, b = (grid.astype(np.int32) for grid in PAIRS)
    return np.clip(to_int32(values(a, b, *ADD)), 0, 255).astype(np.uint8)


def test_the_probe_of_additions_tells_the_forms_apart(monkeypatch, fresh):
    assert (codes(add_values_fma) != codes(add_values_sse2)).sum() == 9345
    for name, values in (("fma", add_values_fma), ("sse2", add_values_sse2)):
        monkeypatch.setattr(ort_form, "_qlinear", lambda *_, made=values: codes(made))
        ort_add_form.cache_clear()
        assert ort_add_form() == name
    monkeypatch.setattr(ort_form, "_qlinear", lambda *_: codes(add_values_fma) ^ 1)
    ort_add_form.cache_clear()
    assert ort_add_form() == "another"


def graph(*nodes):
    return helper.make_model(helper.make_graph(nodes, "g", [], []))


def test_tensors_of_a_graph_get_the_form_of_their_kernel(monkeypatch, fresh):
    made = graph(
        helper.make_node("QLinearAdd", ["a"], ["sum"]),
        helper.make_node("ReduceMean", ["sum"], ["mean"]),
        helper.make_node("QuantizeLinear", ["mean"], ["codes"]),
        helper.make_node("Relu", ["codes"], ["out"]),
    )
    monkeypatch.setattr(ort_form, "ort_add_form", lambda: "sse2")
    monkeypatch.setattr(ort_form, "is_known", lambda operator: False)
    found = kernel_forms(made)
    assert found["sum"] == ("its sse2 form", False)
    assert found["codes"] == found["mean"] == (ort_form.OTHER, False)
    assert "out" not in found
    monkeypatch.setattr(ort_form, "ort_add_form", lambda: "fma")
    monkeypatch.setattr(ort_form, "is_known", lambda operator: True)
    assert kernel_forms(made) == {"sum": ("its fma form", True)}


def test_this_machine_has_the_forms_that_cimemu_reproduces(fresh):
    pytest.importorskip("onnxruntime")
    known = {operator: is_known(operator) for operator in PROBED}
    if ort_add_form() != "fma" or not all(known.values()):
        pytest.skip(f"another processor or ONNX Runtime: QLinearAdd {ort_add_form()}, {known}")
    assert all(kernel_forms(graph(helper.make_node(op, ["x"], ["y"]))) == {} for op in PROBED)


def test_a_probe_notices_one_step(monkeypatch, fresh):
    """Every probe compares what it should: with one code of ONNX Runtime's answer changed, it says no."""
    pytest.importorskip("onnxruntime")
    run = ort_form._run

    def off_by_one(nodes, feeds, constants):
        given = run(nodes, feeds, constants).copy()
        flat = given.reshape(-1).view(np.uint8 if given.dtype.itemsize == 1 else np.uint32)
        flat[len(flat) // 2] ^= 1
        return given

    monkeypatch.setattr(ort_form, "_run", off_by_one)
    assert not any(PROBED[operator]() for operator in PROBED)
    assert ort_add_form() == "another"


IMAGE = (5, 6, 7)
SHAPES = [
    *((IMAGE, axes) for axes in ((1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3))),
    *(((3, 4), (2,)), ((3, 5), (2,)), ((8, 30, 1), (2,)), ((1, 9, 4), (2,)), ((4, 300), (2,)), ((300,), (1,))),
]


def _by_hand(values):
    total = values[0]
    for value in values[1:]:
        total = np.float32(total + value)
    return total


def test_sums_in_their_stated_orders():
    big = np.float32(2**24)  # adding 1 to it is lost
    x = np.array([[[1, 1, big, 1, 1, 1, -big, 1, 1]]], np.float32)
    # Lanes 0..3: two vectors, added pairwise: (2, 2, 0, 2), whole (2 + 0) + (2 + 2), then the last element.
    assert ordered_sum(x, (2,)).item() == 7
    # One by one: big + 3 rounds to big + 4, big + 2 ...
    column = x.transpose(0, 2, 1)
    assert ordered_sum(column, (1,)).item() == _by_hand(x.reshape(-1))
    # Blocks of 4, then 1, behind other kept axes: (1 + 1 + big + 1) + (1 + 1 - big + 1) + 1.
    rows = np.repeat(x.reshape(1, 1, 9, 1), 2, axis=1)
    blocks = [_by_hand(x.reshape(-1)[0:4]), _by_hand(x.reshape(-1)[4:8]), np.float32(1)]
    assert ordered_sum(rows, (2,)).reshape(-1).tolist() == [_by_hand(blocks)] * 2


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_sums_are_those_of_onnx_runtime(shape, axes):
    pytest.importorskip("onnxruntime")
    if not is_known("ReduceSum"):
        pytest.skip("another processor: sums take another order")
    rng = np.random.default_rng(1)
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    for images in (1, 4):
        x = (rng.normal(size=(images, *shape)) ** 3).astype(np.float32)
        theirs = ort_form._run([node], {"x": x}, {"axes": np.array(axes)})
        if images == 1 or not depends_on_batch(shape, axes):
            assert np.array_equal(theirs, ordered_sum(x, axes))
        alone = np.concatenate([ordered_sum(image[None], axes) for image in x])
        assert np.array_equal(alone, ordered_sum(x, axes))  # an image's bits do not depend on its batch
