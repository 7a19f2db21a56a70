"""Operators whose broadcasting older operator sets have otherwise."""

import numpy as np
import pytest
from onnx_build import model, node, save

import cimemu
from cimemu.layer.execute import run_float


def f32(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("opset", [6, 7])
def test_slopes_of_prelu_belong_to_the_channels_before_operator_set_7(tmp_path, opset, width):
    slope = np.array([0.5, 0.25, 2.0], np.float32)
    x = f32(2, 3, 4, width)
    path = save(tmp_path, model([node("PRelu", "x s", "y")], {"x": (3, 4, width)}, ["y"], {"s": slope}, opset))
    if opset == 7 and width == 5:
        with pytest.raises(cimemu.WorkloadError, match="do not broadcast"):
            cimemu.load_network(path)
        return
    along = slope[:, None, None] if opset == 6 else slope
    got = run_float(cimemu.load_network(path), x)["y"]
    assert np.array_equal(got, np.where(x >= 0, x, along * x))


def test_a_slope_may_not_widen_the_image(tmp_path):
    path = save(tmp_path, model([node("PRelu", "x s", "y")], {"x": (3, 1, 4)}, ["y"], {"s": f32(3, 2, 4)}))
    with pytest.raises(cimemu.WorkloadError, match="does not broadcast to images of"):
        cimemu.load_network(path)
