"""Every float operator in front of a product: quantised, run on a chip with a trace, checked against ONNX Runtime."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "importer"))
from onnx_build import feeds_for, model, node, save
from test_float_operators import CASES, f32, i64

import cimemu
from cimemu.check.network import check_network

ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})


def beside_a_product(folder, name):
    """The operator of a case between a product of its input, by a factor, and a product of its result."""
    nodes, shape, constants, opset = CASES[name]
    given = {**constants, "size": i64(-1, int(np.prod(shape))), "back": i64(-1, *shape)}
    given["before"] = np.eye(int(np.prod(shape)), dtype=np.float32) + 0.1 * f32(
        int(np.prod(shape)), int(np.prod(shape))
    )
    front = [
        node("Reshape", "image size", "flat"), node("MatMul", "flat before", "made"), node("Reshape", "made back", "x"),
        *nodes, node("Cast", "y", "real", to=1), node("Flatten", "real", "rows"),
    ]  # fmt: skip
    width = (
        cimemu.load_network(save(folder, model(nodes, {"x": shape}, ["y"], constants, opset=opset))).types["y"].elements
    )
    given["behind"] = f32(width, 3)
    made = model([*front, node("MatMul", "rows behind", "z")], {"image": shape}, ["z"], given, opset=opset)
    return cimemu.load_network(save(folder, made, "both.onnx"))


# ONNX Runtime 1.32 makes an integer operator of it that it does not take itself.
REFUSED = {"AveragePool of a volume"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CASES) - REFUSED))
def test_an_operator_runs_on_a_chip_and_its_integers_are_the_runtimes(tmp_path, name):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    network = beside_a_product(tmp_path, name)
    images = feeds_for(network, 4)["image"]
    quantized = cimemu.quantize(network, ARCH, images)
    result = cimemu.run(ARCH, quantized, images, detail="ops")
    assert result.cycles > 0
    found = check_network(quantized, ARCH.macro, images)
    assert found.status == "agrees", [row for row in found.tensors if row.differing]
