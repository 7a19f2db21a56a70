"""Mutants of small network files: one stored parameter changed, parts of the structure, or bytes; the same for each number."""

import copy
import itertools
import struct

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from small_files import onnx_files, tflite_files
from tflite_build import packed, unpacked

FACTORS = (0.5, 1.37, 2.0**-7, 200.0, -1.0, 0.0, np.nan, np.inf, 1e-38)
TYPES = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.FLOAT,
         TensorProto.INT64, TensorProto.INT4, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.STRING, 99)  # fmt: skip


def changed_arrays(array):
    """(what, array): a stored tensor with other values, types or shapes."""
    rng = np.random.default_rng(array.size)
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            for factor in FACTORS:
                yield f"times {factor:g}", (array * np.float32(factor)).astype(array.dtype)
            yield "another per element", (array * rng.uniform(0.5, 2, array.shape)).astype(array.dtype)
    else:
        limits = np.iinfo(array.dtype)
        for value in (1, 7, int(limits.min), int(limits.max)):
            yield f"is {value}", np.full(array.shape, value, array.dtype)
        yield "plus 3", (array + np.array(3, array.dtype)).astype(array.dtype)
        yield "drawn", rng.integers(limits.min, int(limits.max) + 1, array.shape).astype(array.dtype)
        for kind in ("int8", "uint8", "int16", "int32"):
            if kind != array.dtype.name:
                yield f"as {kind}", array.astype(kind)
    yield "one axis more", array[None]
    yield "flat", array.reshape(-1)
    yield "twice", np.stack([array, array])
    if array.ndim:
        yield "one left out", array[:-1]
        yield "the first alone", array.reshape(-1)[0]


def changed_attributes(attribute):
    """(what, attribute or None): its value changed, or left out."""
    yield "left out", None
    value = helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.FLOAT:
        for other in (value * 0.5, -value, 0.0, float("nan"), 3.0):
            yield f"is {other:g}", helper.make_attribute(attribute.name, float(other))
    elif attribute.type == onnx.AttributeProto.INT:
        for other in (value + 1, value - 1, 0, 1, -7, 1 << 40):
            yield f"is {other}", helper.make_attribute(attribute.name, int(other))
    elif attribute.type == onnx.AttributeProto.INTS:
        for place in range(len(value)):
            for step in (1, -1, 5, 1 << 33):
                other = list(value)
                other[place] += step
                yield f"[{place}] plus {step}", helper.make_attribute(attribute.name, other)
        yield "shorter", helper.make_attribute(attribute.name, [*value][:-1] or [1])


MORE = (  # attributes that a node does not have
    ("axis", 0), ("axis", 1), ("axis", -1), ("alpha", 0.5), ("beta", 0.5), ("channels_last", 1), ("group", 2), ("transB", 1),
    ("auto_pad", "SAME_LOWER"), ("ceil_mode", 1), ("count_include_pad", 1), ("block_size", 2), ("saturate", 0),
    ("dilations", [2, 2]), ("unknown", 1),
)  # fmt: skip


def onnx_parameters(model, skipped=()):
    """(what, function that makes it) for every stored tensor, optional input and attribute of `model`.

    Tensors and nodes whose names begin with `skipped` are left as they are.
    """

    def made(change):
        mutant = copy.deepcopy(model)
        change(mutant.graph)
        return mutant.SerializeToString()

    def with_array(place, name, array):
        return lambda: made(lambda g: g.initializer[place].CopyFrom(numpy_helper.from_array(np.asarray(array), name)))

    def with_attribute(place, number, attribute):
        def change(graph):
            if number is not None:
                del graph.node[place].attribute[number]
            if attribute is not None:
                graph.node[place].attribute.append(attribute)

        return lambda: made(change)

    def without_input(place, number):
        def change(graph):
            graph.node[place].input[number] = ""

        return lambda: made(change)

    for place, tensor in enumerate(model.graph.initializer):
        if tensor.name.startswith(skipped):
            continue
        for what, array in changed_arrays(numpy_helper.to_array(tensor)):
            yield f"{tensor.name} {what}", with_array(place, tensor.name, array)
    for place, node in enumerate(model.graph.node):
        if node.name.startswith(tuple(f"node_{name}" for name in skipped)):
            continue
        for number, attribute in enumerate(node.attribute):
            for what, other in changed_attributes(attribute):
                yield f"{node.name}.{attribute.name} {what}", with_attribute(place, number, other)
        for name, value in MORE:
            if all(a.name != name for a in node.attribute):
                attribute = helper.make_attribute(name, value)
                yield f"{node.name}.{name} = {value}", with_attribute(place, None, attribute)
        for number in range(1, len(node.input)):
            yield f"{node.name} without input {number}", without_input(place, number)


def tflite_parameters(content):
    """(what, function that makes it) for every stored scale, zero point, axis, type, shape, constant and option."""
    graph = unpacked(content).subgraphs[0]

    def made(change):
        def make():
            mutant = unpacked(content)
            change(mutant)
            return packed(mutant)

        return make

    def tensor_field(place, key, value):
        return made(lambda m: setattr(m.subgraphs[0].tensors[place], key, value))

    def quantization(place, key, value):
        return made(lambda m: setattr(m.subgraphs[0].tensors[place].quantization, key, value))

    def option(place, key, value):
        return made(lambda m: setattr(m.subgraphs[0].operators[place].builtinOptions, key, value))

    def buffer(place, array):
        return made(lambda m: setattr(m.buffers[place], "data", np.frombuffer(array.tobytes(), np.uint8)))

    for place, tensor in enumerate(graph.tensors):
        name = tensor.name.decode() if isinstance(tensor.name, bytes) else tensor.name
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            scale, zero = np.asarray(tensor.quantization.scale), np.asarray(tensor.quantization.zeroPoint)
            with np.errstate(all="ignore"):
                scales = [(f"times {factor:g}", (scale * np.float32(factor)).tolist()) for factor in FACTORS]
            scales += [("one more", [*scale, scale[0]]), ("drawn", (scale * np.linspace(0.5, 2, len(scale))).tolist())]
            for what, value in scales:
                yield f"scale of {name} {what}", quantization(place, "scale", value)
            for change in (zero + 1, zero - 9, zero * 0 + 500, zero * 0 - 128):
                yield f"zero point of {name} {change[:1]}", quantization(place, "zeroPoint", change.tolist())
            for value in (0, 1, 3, 9):
                yield f"axis of {name} {value}", quantization(place, "quantizedDimension", value)
        for value in (0, 2, 3, 4, 7, 9):
            yield f"type of {name} {value}", tensor_field(place, "type", value)
        for axis in range(len(tensor.shape)):
            for step in (-1, 1):
                shape = [int(n) + step * (axis == k) for k, n in enumerate(tensor.shape)]
                yield f"shape of {name} {shape}", tensor_field(place, "shape", shape)
        if tensor.buffer:
            size = int(np.prod(tensor.shape)) * (4 if tensor.type == 2 else 1)
            rng = np.random.default_rng(place)
            for count in (size, size // 2):
                yield f"data of {name} {count}", buffer(tensor.buffer, rng.integers(0, 256, count).astype(np.uint8))
    for place, operator in enumerate(graph.operators):
        for key, value in vars(operator.builtinOptions).items():
            if isinstance(value, bool):
                others = [not value]
            elif isinstance(value, float):
                others = [value * 0.5, -value, 0.0, float("nan")]
            elif isinstance(value, int):
                others = [value + 1, max(value - 1, 0), 3, 7]
            else:
                others = [[1, 32, 2], [-1], [1, -1]] if key == "newShape" else []
            for other in others:
                yield f"operator {place} {key} = {other}", option(place, key, other)


def onnx_structure(rng, model, other):
    """A model with one to three parts of its structure changed."""
    made = copy.deepcopy(model)
    for _ in range(int(rng.integers(1, 4))):
        nodes, stored = made.graph.node, made.graph.initializer
        node = nodes[int(rng.integers(len(nodes)))] if nodes else None
        tensor = stored[int(rng.integers(len(stored)))] if stored else None
        names = [name for n in nodes for name in (*n.input, *n.output)] + ["x", "", "nothing"]
        choice = int(rng.integers(14))
        if node is None or tensor is None:
            break
        if choice == 0:
            nodes.remove(node)
        elif choice == 1:
            nodes.append(copy.deepcopy(node))
        elif choice == 2 and node.input:
            node.input[int(rng.integers(len(node.input)))] = names[int(rng.integers(len(names)))]
        elif choice == 3 and node.input:
            del node.input[int(rng.integers(len(node.input)))]
        elif choice == 4:
            node.output[0] = names[int(rng.integers(len(names)))] or "again"
        elif choice == 5:
            node.op_type = other.graph.node[int(rng.integers(len(other.graph.node)))].op_type
        elif choice == 6:
            node.domain = ["", "com.microsoft", "ai.onnx", "elsewhere"][int(rng.integers(4))]
        elif choice == 7:
            tensor.data_type = int(TYPES[int(rng.integers(len(TYPES)))])
        elif choice == 8:
            del tensor.dims[:]
            tensor.dims.extend([[], [1], [0], [2, 2], [1 << 40], [-1], [3, 1 << 20]][int(rng.integers(7))])
        elif choice == 9:
            tensor.raw_data = rng.bytes(int(rng.integers(0, 40)))
        elif choice == 10:
            made.opset_import[0].version = int(rng.integers(1, 30))
        elif choice == 11:
            dim = made.graph.input[0].type.tensor_type.shape.dim[
                int(rng.integers(len(made.graph.input[0].type.tensor_type.shape.dim)))
            ]
            dim.dim_value = int([0, 1, 2, 5, -1, 1 << 20][int(rng.integers(6))])
        elif choice == 12:
            made.graph.output[0].name = names[int(rng.integers(len(names)))]
        else:
            node.attribute.extend(
                copy.deepcopy(a) for a in other.graph.node[int(rng.integers(len(other.graph.node)))].attribute
            )
    return made.SerializeToString()


def tflite_structure(rng, content, other):
    """A file with one to three parts of its structure changed."""
    made, donor = unpacked(content), unpacked(other)
    graph = made.subgraphs[0]
    for _ in range(int(rng.integers(1, 4))):
        tensor = graph.tensors[int(rng.integers(len(graph.tensors)))]
        operator = graph.operators[int(rng.integers(len(graph.operators)))]
        number = int(rng.integers(-2, len(graph.tensors) + 2))
        choice = int(rng.integers(13))
        if choice == 0:
            operator.inputs = [number if rng.random() < 0.5 else int(i) for i in operator.inputs]
        elif choice == 1:
            operator.outputs = [number]
        elif choice == 2:
            operator.opcodeIndex = int(rng.integers(0, len(made.operatorCodes) + 1))
        elif choice == 3:
            code = made.operatorCodes[int(rng.integers(len(made.operatorCodes)))]
            code.builtinCode = int(rng.integers(0, 150))
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        elif choice == 4:
            tensor.shape = [int(n) for n in rng.integers(-1, 6, int(rng.integers(0, 6)))]
        elif choice == 5:
            tensor.type = int(rng.integers(0, 19))
        elif choice == 6:
            tensor.buffer = int(rng.integers(0, len(made.buffers) + 1))
        elif choice == 7:
            made.buffers[int(rng.integers(len(made.buffers)))].data = np.frombuffer(
                rng.bytes(int(rng.integers(0, 60))), np.uint8
            )
        elif choice == 8:
            tensor.quantization = None
        elif choice == 9:
            graph.inputs = [number]
        elif choice == 10:
            graph.outputs = [number]
        elif choice == 11:
            operator.builtinOptions, operator.builtinOptionsType = None, 0
        else:
            operator.inputs = [int(i) for i in donor.subgraphs[0].operators[0].inputs]
    return packed(made)


def damaged_bytes(rng, content):
    """A file with bits, bytes or whole parts changed."""
    made = bytearray(content)
    choice = int(rng.integers(4))
    if choice == 0:
        for place in rng.integers(0, len(made), int(rng.integers(1, 5))):
            made[place] ^= 1 << int(rng.integers(8))
    elif choice == 1:
        for place in rng.integers(0, len(made), int(rng.integers(1, 9))):
            made[place] = int(rng.integers(256))
    elif choice == 2:
        del made[int(rng.integers(len(made))) :]
    else:
        first, second, length = (int(n) for n in rng.integers(0, len(made), 3))
        made[first : first + length % 50] = made[second : second + length % 50]
    return bytes(made)


SHARED = ("a_w", "a_b", "a_r", "b_w", "b_b", "b_r", "x")  # the convolutions in front: changed in the files of one alone


def parameter_mutants():
    """(suffix, what, function): every stored parameter of every file, changed in every way."""
    for name, model in onnx_files().items():
        skipped = () if name.split()[0] in ("Conv", "QLinearConv", "ConvInteger", "MatMulInteger") else SHARED
        for what, make in onnx_parameters(model, skipped):
            yield "onnx", f"{name}: {what}", make
    for name, content in tflite_files().items():
        for what, make in tflite_parameters(content):
            yield "tflite", f"{name}: {what}", make


def fuzz_mutants(seed):
    """(suffix, what, function), without end: structures and bytes of ONNX and TensorFlow Lite files in turn."""
    models, files = onnx_files(), tflite_files()

    def make(number):
        rng = np.random.default_rng([seed, number])
        onnx_turn = number % 2 == 0
        source = models if onnx_turn else files
        name, other = (list(source)[int(rng.integers(len(source)))] for _ in range(2))
        plain = models[name].SerializeToString() if onnx_turn else files[name]
        if rng.random() < 0.35:
            return damaged_bytes(rng, plain)
        try:
            return (onnx_structure if onnx_turn else tflite_structure)(rng, source[name], source[other])
        except (
            TypeError,
            ValueError,
            OverflowError,
            AttributeError,
            struct.error,
        ):  # the format itself has no such file
            return damaged_bytes(rng, plain)

    for number in itertools.count():
        yield "onnx" if number % 2 == 0 else "tflite", f"mutant {number} of seed {seed}", lambda n=number: make(n)
