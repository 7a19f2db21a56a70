"""Files of float operators with one attribute or constant changed: they load and run, or one line says why not."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_build import feeds_for, model, save
from test_float_operators import CASES

from cimemu.errors import CimemuError
from cimemu.importer import load_network
from cimemu.layer.execute import run_float

INTS = (-9, -1, 0, 1, 2, 7, 1 << 40)
FLOATS = (0.0, -1.0, 1e30, float("nan"), float("inf"))


def attributes(made):
    """The model with every attribute of every node changed, one at a time."""
    for index, proto in enumerate(made.graph.node):
        for place, attribute in enumerate(proto.attribute):
            changes = {
                onnx.AttributeProto.INT: [("i", value) for value in INTS],
                onnx.AttributeProto.FLOAT: [("f", value) for value in FLOATS],
                onnx.AttributeProto.STRING: [("s", b"other")],
                onnx.AttributeProto.INTS: [("ints", values) for values in lists(attribute.ints)],
            }[attribute.type]
            for key, value in changes:
                changed = onnx.ModelProto.FromString(made.SerializeToString())
                target = changed.graph.node[index].attribute[place]
                if key == "ints":
                    del target.ints[:]
                    target.ints.extend(value)
                else:
                    setattr(target, key, value)
                yield changed


def lists(values):
    values = list(values)
    yield []
    yield values[:-1]
    yield [*values, 1]
    for number in INTS:
        yield [number, *values[1:]]


def constants(made):
    """The model with every constant changed, one at a time."""
    for index, tensor in enumerate(made.graph.initializer):
        array = numpy_helper.to_array(tensor)
        other = np.float32 if array.dtype.kind in "iub" else np.int64
        changes = [
            array.reshape(-1),
            array[None],
            array.astype(other),
            array.reshape(-1)[:0],
            -array if array.dtype != bool else ~array,
        ]
        if array.ndim:
            changes.append(array[:-1])
        if array.dtype.kind in "iu":
            changes += [np.full_like(array, 1 << 20), np.zeros_like(array)]
        for value in changes:
            changed = onnx.ModelProto.FromString(made.SerializeToString())
            changed.graph.initializer[index].CopyFrom(numpy_helper.from_array(np.asarray(value), tensor.name))
            yield changed


@pytest.mark.parametrize("name", CASES)
def test_a_changed_file_runs_or_is_refused_in_one_line(tmp_path, name):
    nodes, shape, given, opset = CASES[name]
    made = model(nodes, {"x": shape}, ["y"], given, opset=opset)
    for number, changed in enumerate([*attributes(made), *constants(made)]):
        del changed.graph.value_info[:]
        path = save(tmp_path, changed, f"{number}.onnx")
        said = complaint(path)
        assert "\n" not in said, said


def complaint(path):
    """What cimemu says of a file that it refuses; "" where it runs. No other exception, no warning."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            network = load_network(path)
            if max(kind.elements for kind in network.types.values()) < 1 << 22:
                run_float(network, feeds_for(network, 2))
    except CimemuError as error:
        return str(error)
    return ""
