"""Small ONNX files for tests, and the two ways to run them: ONNX Runtime and cimemu's float path."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cimemu.check.ort_session import make_session
from cimemu.importer import load_network
from cimemu.layer.execute import run_float

BATCHES = (1, 3)


def node(op, inputs, outputs, **attributes):
    """A node; inputs and outputs are names in one string."""
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def model(nodes, inputs, outputs, constants: Mapping[str, np.ndarray] | None = None, opset=18, batch="N"):
    """A model; `inputs` name -> per-image shape (float32) or (dtype, shape); outputs are names."""
    values = []
    for name, given in inputs.items():
        dtype, shape = given if given and isinstance(given[0], str) else ("float32", given)
        values.append(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [batch, *shape])
        )
    graph = helper.make_graph(
        list(nodes),
        "test",
        values,
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)
    # ONNX Runtime and the checker want the outputs' element types.
    for output in inferred.graph.output:
        if not output.type.tensor_type.elem_type:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    return inferred


def save(folder: Path, made: onnx.ModelProto, name="net.onnx") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def feeds_for(network, images: int, seed=0, whole=("indices",)):
    """Random inputs: normal floats, small integers."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name in network.inputs:
        expected = network.types[name]
        shape = (images, *expected.shape)
        if expected.dtype == "bool":
            feeds[name] = rng.random(shape) < 0.5
        elif np.dtype(expected.dtype).kind in "iu":
            feeds[name] = rng.integers(0, 5, shape).astype(expected.dtype)
        else:
            feeds[name] = (2 * rng.standard_normal(shape)).astype(expected.dtype)
    return feeds


def reference(path: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]):
    """ONNX Runtime's outputs, without its graph rewrites."""
    session = make_session(path.read_bytes(), rewrites=False)
    return session.run(list(outputs), dict(feeds))


def compare(path: Path, tolerance: float = 1e-5, batches=BATCHES):
    """Assert that cimemu and ONNX Runtime agree in shape, type and value; gives the network."""
    network = load_network(path)
    for images in batches:
        feeds = feeds_for(network, images)
        ours = run_float(network, feeds)
        for name, expected in zip(network.outputs, reference(path, feeds, network.outputs)):
            got = ours[name]
            assert got.shape == expected.shape
            assert got.shape[1:] == network.types[name].shape
            assert got.dtype == expected.dtype == network.types[name].dtype
            if tolerance:
                np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(got, expected)
    return network
