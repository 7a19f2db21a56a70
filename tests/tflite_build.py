"""Small TensorFlow Lite files for tests, and their values: LiteRT's reference kernels, and cimemu's layers."""

from pathlib import Path

import flatbuffers
import numpy as np
import pytest

from cimemu.importer import load_network

tf = pytest.importorskip("ai_edge_litert.schema_py_generated")
CODES = {
    "int8": tf.TensorType.INT8, "uint8": tf.TensorType.UINT8, "int16": tf.TensorType.INT16,
    "int32": tf.TensorType.INT32, "int64": tf.TensorType.INT64, "float32": tf.TensorType.FLOAT32,
    "float16": tf.TensorType.FLOAT16, "bool": tf.TensorType.BOOL, "resource": tf.TensorType.RESOURCE,
}  # fmt: skip
VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 5}
FIRST = (
    "RELU_N1_TO_1",
    "RELU_0_TO_1",
    "RESHAPE",
    "PRELU",
    "ELU",
    "HARD_SWISH",
    "SQUEEZE",
    "EXPAND_DIMS",
    "DEPTH_TO_SPACE",
    "DENSIFY",
    "SHAPE",
    "COS",
    "SQRT",
    "ABS",
    "CUMSUM",
    "SIN",
    "SQUARE",
    "ROUND",
    "NEG",
    "IF",
    "CALL_ONCE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "REVERSE_V2",
    "WHILE",
    "REDUCE_ANY",
    "REDUCE_ALL",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
)  # of version 1
PLAIN = (
    "LOGISTIC",
    "RELU",
    "RELU6",
    "RELU_N1_TO_1",
    "RELU_0_TO_1",
    "TANH",
    "PRELU",
    "ELU",
    "RSQRT",
    "SQRT",
    "DENSIFY",
    "SIN",
    "ROUND",
)


def options(kind):
    """The name of an operator's options, None where the file has none for it."""
    from cimemu.importer.tflite_file import OPTIONS

    words = "".join(word.capitalize() for word in kind.split("_"))
    special = {"PADV2": "PadV2Options", "MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions",
               "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions", "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
               "SPLIT_V": "SplitVOptions", "REVERSE_V2": "ReverseV2Options"}  # fmt: skip
    return None if kind in PLAIN else OPTIONS.get(kind) or special.get(kind) or f"{words}Options"


class TflBuilder:
    """A file, tensor by tensor and operator by operator."""

    def __init__(self, of=None):
        """A new file, or another subgraph `of` a builder's file."""
        self.model, self.graph = tf.ModelT() if of is None else of.model, tf.SubGraphT()
        if of is None:
            self.model.version, self.model.description = 3, "test"
            self.model.buffers, self.model.operatorCodes, self.model.subgraphs = [tf.BufferT()], [], []
        self.model.subgraphs.append(self.graph)
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name, shape, dtype, scale=None, zero=0, data=None, axis=0, signature=None, variable=False):
        """The number of a new tensor; `data` makes it a constant, `signature` leaves the sizes -1 open."""
        made = tf.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), CODES[dtype], 0
        made.shapeSignature, made.isVariable = signature, variable
        if data is not None:
            buffer = tf.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).astype(dtype).tobytes(), np.uint8)
            made.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale is not None:
            made.quantization = tf.QuantizationParametersT()
            made.quantization.scale = [float(np.float32(s)) for s in np.atleast_1d(scale)]
            made.quantization.zeroPoint = [int(z) for z in np.broadcast_to(zero, np.size(scale))]
            made.quantization.quantizedDimension = axis
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def op(self, kind, inputs, outputs, intermediates=None, **fields):
        """An operator and the fields of its options."""
        code, made = tf.OperatorCodeT(), tf.OperatorT()
        code.builtinCode = getattr(tf.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = (
            min(code.builtinCode, 127),
            VERSIONS.get(kind, 1 if kind in FIRST else 2),
        )
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes), list(inputs), list(outputs)
        made.intermediates = intermediates
        self.model.operatorCodes.append(code)
        name = options(kind)
        if name is not None:
            made.builtinOptionsType = getattr(tf.BuiltinOptions, name)
            made.builtinOptions = getattr(tf, f"{name}T")()
        for key, value in fields.items():
            assert hasattr(made.builtinOptions, key), key
            setattr(made.builtinOptions, key, value)
        self.graph.operators.append(made)

    def content(self, inputs, outputs) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        return packed(self.model)

    def ends(self, inputs, outputs):
        """The inputs and outputs of a subgraph that is not the main one."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)

    def save(self, path: Path, inputs, outputs) -> Path:
        """Write the file; its path."""
        path.write_bytes(self.content(inputs, outputs))
        return path


def packed(model) -> bytes:
    """The file of an object tree."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def unpacked(content: bytes):
    """The object tree of a file."""
    return tf.ModelT.InitFromObj(tf.Model.GetRootAs(content, 0))


def litert(content: bytes, *images):
    """The outputs of LiteRT's reference kernels for one image a network input, in order."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    run = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    run.allocate_tensors()
    for details, image in zip(run.get_input_details(), images):
        run.set_tensor(details["index"], image)
    run.invoke()
    return [run.get_tensor(details["index"]) for details in run.get_output_details()]


def digital(path: Path, *images):
    """The outputs of cimemu's layers of the digital unit, in order."""
    network = load_network(path)
    values = {**network.constants, **dict(zip(network.inputs, images))}
    for layer in network.layers:
        values.update(zip(layer.outputs, layer.forward([values[name] for name in layer.inputs])))
    return [values[name] for name in network.outputs]
