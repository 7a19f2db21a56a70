"""Small networks that multiply activations, made of layers directly, and what the digital unit makes of them."""

from dataclasses import replace

import nets
import numpy as np
from hypothesis import strategies as st

from cimemu.layer.base import TensorType
from cimemu.layer.execute import infer_types
from cimemu.layer.integer_matmul import IntegerMatMul
from cimemu.layer.matmul import MatMul
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.shape import Reshape, Transpose
from cimemu.layer.tfl_products import TflBatchMatMul
from cimemu.layer.written_product import Factor, WrittenProduct
from cimemu.lower import lower
from cimemu.workload.network import Network

KINDS = ("integer", "tfl8", "tfl16", "float", "quantised", "float16")


def of_layers(layers, inputs, outputs, constants=None):
    """The network of `layers`, in order."""
    held = {} if constants is None else constants
    types = infer_types(layers, held, inputs)
    return Network("attention", tuple(layers), held, tuple(inputs), tuple(outputs), types)


def product_network(kind, a_shape, b_shape, dtypes=("uint8", "int8"), zeros=(3, -5), adjoint=(False, False)):
    """One product of inputs a and b [..., rows, columns] of an image; the output is y."""
    if kind == "integer":
        inputs = {
            "a": TensorType(a_shape, dtypes[0]),
            "b": TensorType(b_shape, dtypes[1]),
            "za": TensorType((), dtypes[0]),
            "zb": TensorType((), dtypes[1]),
        }
        return of_layers([IntegerMatMul("p", ("a", "b", "za", "zb"), ("y",))], inputs, ["y"])
    if kind.startswith("tfl"):
        dtype, real = {"tfl8": ("int8", 0.013), "tfl16": ("int16", 0.00002)}[kind]
        zeros = (*zeros, 7) if dtype == "int8" else (0, 0, 0)
        inputs = {"a": TensorType(a_shape, dtype), "b": TensorType(b_shape, dtype)}
        shapes = ((1, *a_shape), (1, *b_shape))
        layer = TflBatchMatMul("p", ("a", "b"), ("y",), shapes, adjoint, *zeros, quantize_multiplier(real))
        return of_layers([layer], inputs, ["y"])
    if kind == "float16":
        dtypes = ("uint16", "int16")
    inputs = {"a": TensorType(a_shape, dtypes[0]), "b": TensorType(b_shape, dtypes[1])}
    constants = {
        "sa": np.float32(0.25),
        "sb": np.float32(0.5),
        "za": np.array(zeros[0], dtypes[0]),
        "zb": np.array(zeros[1], dtypes[1]),
        "sy": np.float32(8.0),
        "zy": np.array(9, "uint8"),
    }
    layers = [
        DequantizeLinear("da", ("a", "sa", "za"), ("ra",)),
        DequantizeLinear("db", ("b", "sb", "zb"), ("rb",)),
        MatMul("p", ("ra", "rb"), ("y" if kind != "quantised" else "ry",)),
    ]
    if kind == "quantised":
        layers.append(QuantizeLinear("q", ("ry", "sy", "zy"), ("y",)))
    return of_layers(layers, inputs, ["y"], constants)


def on_digital(network, arrays):
    """Output y of the layers as they are, floats in float64 where they are exact there."""
    values = {**network.constants, **arrays}
    for layer in network.layers:
        made = layer.forward([np.asarray(values[name]) for name in layer.inputs])
        if layer.op == "MatMul":  # scales are powers of two: float64 holds the sum exactly
            real = [values[name].astype(np.float64) for name in layer.inputs]
            made = (np.matmul(*real).astype(np.float32),)
        values.update(zip(layer.outputs, made))
    return values["y"]


@st.composite
def cases(draw, kinds=KINDS):
    """(network lowered for macros, the same on the digital unit, arrays by input)."""
    kind = draw(st.sampled_from(kinds))
    rows, depth, columns = (draw(st.integers(1, 5)) for _ in range(3))
    depth = draw(st.sampled_from([depth, depth, 20]))
    fronts = [((), ()), ((2,), (2,)), ((3,), (1,)), ((1,), (2,)), ((2, 3), (2, 1)), ((1, 2), (3, 1))]
    fronts += [((2,), (3, 2)), ((3, 2), (2,))] if kind.startswith("tfl") else []
    front_a, front_b = draw(st.sampled_from(fronts))
    adjoint = (False, False)
    if kind.startswith("tfl"):
        adjoint = (draw(st.booleans()), draw(st.booleans()))
    a = (*front_a, *((depth, rows) if adjoint[0] else (rows, depth)))
    b = (*front_b, *((columns, depth) if adjoint[1] else (depth, columns)))
    dtypes = draw(st.sampled_from([("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")]))
    zeros = tuple(draw(st.integers(0, 127)) for _ in range(2))
    network = product_network(kind, a, b, dtypes, zeros, adjoint)
    images = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = {}
    for name, kindof in network.types.items():
        if name in network.inputs:
            limits = np.iinfo(kindof.dtype)
            ends = draw(st.booleans())
            shape = (images, *kindof.shape)
            values = (
                rng.choice([limits.min, limits.max], shape) if ends else rng.integers(limits.min, limits.max + 1, shape)
            )
            arrays[name] = values.astype(kindof.dtype)
    return lower(network, "macros"), network, arrays


def attention_network(tokens=3, heads=2, width=2, *, bits=8, own=True):
    """Self-attention of codes of `bits` bits on macros: three products with weights, scores, a mixture, one product more.

    `own` False leaves the products with weights out: inputs are q, k, v [heads, tokens, width].
    """
    high, whole = 2**bits - 1, heads * width
    rule = nets.requantize(bits)

    def factor(shape, *, transposed=False):
        return Factor(shape, transposed, 0, high, 2 ** (bits - 1))

    split = (heads, tokens, width)
    layers, inputs = [], {"x": TensorType((tokens, whole), "uint8")}
    for seed, name in enumerate("qkv"):
        if not own:
            inputs = {part: TensorType(split, "uint8") for part in "qkv"}
            break
        layers += [
            nets.matrix_layer(f"to_{name}", "x", f"{name}_flat", tokens, whole, whole, seed=seed, stage=rule),
            Reshape(f"cut_{name}", (f"{name}_flat",), (f"{name}_cut",), (tokens, heads, width)),
            Transpose(f"turn_{name}", (f"{name}_cut",), (name,), (0, 2, 1, 3)),
        ]
    square = (heads, tokens, tokens)
    layers += [
        WrittenProduct(
            "scores",
            ("q", "k"),
            ("s",),
            factor(split),
            factor(split, transposed=True),
            rule,
            TensorType(square, "uint8"),
        ),
        WrittenProduct("mixed", ("s", "v"), ("m",), factor(square), factor(split), rule, TensorType(split, "uint8")),
    ]
    if own:
        layers += [
            Transpose("back", ("m",), ("m_cut",), (0, 2, 1, 3)),
            Reshape("join", ("m_cut",), ("m_flat",), (tokens, whole)),
            nets.matrix_layer("out", "m_flat", "y", tokens, whole, 3, seed=4, stage=rule),
        ]
    made = of_layers(layers, inputs, ["y" if own else "m"])
    return replace(made, activations="macros")


@st.composite
def attention_networks(draw, bits):
    """An `attention_network` with inputs of `bits` bits."""
    sizes = (draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return attention_network(*sizes, bits=bits)


def on_macros(arch):
    """The chip with products of two activations on macros."""
    return arch.model_copy(update={"mapping": arch.mapping.model_copy(update={"activations": "macros"})})
