"""Small integer networks for tests, made of layers directly."""

import numpy as np

from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.q_arith import QAdd, Scale
from cimemu.layer.q_pool import QGlobalAveragePool
from cimemu.layer.requantize import Accumulator, Fp32HalfEven
from cimemu.workload.network import Network


def matrix_layer(name, source, target, positions, rows, outputs, *, weight_limit=1, seed=0, stage=None):
    rng = np.random.default_rng(seed)
    dtype = "int64" if stage is None else "uint8"
    return MacroLayer(
        name=name,
        inputs=(source,),
        outputs=(target,),
        geometry=Geometry(rows, positions, 1, outputs, positions, 1),
        weight=rng.integers(-weight_limit, weight_limit + 1, (outputs, rows, 1, 1)).astype(np.int16),
        weight_zero_point=np.zeros(outputs, dtype=np.int64),
        input_zero_point=0,
        input_dtype="uint8",
        bias=np.zeros(outputs, dtype=np.int64),
        stage=Accumulator() if stage is None else stage,
        output_type=TensorType((positions, outputs), dtype),
        layout="rows",
    )


def requantize(bits=8):
    return Fp32HalfEven(
        multiplier=np.array([0.05], dtype=np.float32),
        zero_point=2 ** (bits - 1),
        low=0,
        high=2**bits - 1,
        dtype="uint8",
    )


def conv_layer(
    name,
    source,
    target,
    height,
    width,
    channels_in,
    channels_out,
    *,
    kernel=3,
    stride=1,
    groups=1,
    bits=8,
    weight_limit=1,
    seed=0,
):
    rng = np.random.default_rng(seed)
    pad = kernel // 2
    height_out, width_out = (
        (height + 2 * pad - kernel) // stride + 1,
        (width + 2 * pad - kernel) // stride + 1,
    )
    return MacroLayer(
        name=name,
        inputs=(source,),
        outputs=(target,),
        geometry=Geometry(
            channels_in,
            height,
            width,
            channels_out,
            height_out,
            width_out,
            kernel,
            kernel,
            stride,
            stride,
            pad,
            pad,
            pad,
            pad,
            1,
            1,
            groups,
        ),
        weight=rng.integers(
            -weight_limit, weight_limit + 1, (channels_out, channels_in // groups, kernel, kernel)
        ).astype(np.int16),
        weight_zero_point=np.zeros(channels_out, dtype=np.int64),
        input_zero_point=2 ** (bits - 1),
        input_dtype="uint8",
        bias=rng.integers(-5, 6, channels_out).astype(np.int64),
        stage=requantize(bits),
        output_type=TensorType((channels_out, height_out, width_out), "uint8"),
    )


def network(name, layers, inputs, outputs):
    types = dict(inputs)
    for layer in layers:
        types.update(zip(layer.outputs, layer.infer([types[n] for n in layer.inputs])))
    return Network(
        name=name,
        layers=tuple(layers),
        constants={},
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        types=types,
    )


def residual_network(height=5, width=4, channels=3, classes=3, *, kernel=3, stride=1, groups=1, bits=8, weight_limit=1):
    """conv - conv - add - global average pool - matrix product."""
    s = Scale(np.float32(0.1), 2 ** (bits - 1))
    high = 2**bits - 1
    first = conv_layer(
        "conv1",
        "x",
        "a",
        height,
        width,
        channels,
        channels,
        kernel=kernel,
        stride=stride,
        bits=bits,
        weight_limit=weight_limit,
        seed=1,
    )
    h, w = first.geometry.height_out, first.geometry.width_out
    layers = [
        first,
        conv_layer(
            "conv2",
            "a",
            "b",
            h,
            w,
            channels,
            channels,
            kernel=kernel,
            groups=groups,
            bits=bits,
            weight_limit=weight_limit,
            seed=2,
        ),
        QAdd(name="add", inputs=("a", "b"), outputs=("c",), a=s, b=s, y=s, low=0, high=high, dtype="uint8"),
        QGlobalAveragePool(
            name="pool",
            inputs=("c",),
            outputs=("d",),
            x=s,
            y=s,
            low=0,
            high=high,
            dtype="uint8",
            keep_axes=False,
        ),
        matrix_layer("fc", "d", "y", 1, channels, classes, weight_limit=weight_limit, seed=3),
    ]
    layers[-1] = with_output(layers[-1], (classes,))
    return network("residual", layers, {"x": TensorType((channels, height, width), "uint8")}, ["y"])


def with_output(layer, shape):
    from dataclasses import replace

    return replace(layer, output_type=TensorType(shape, layer.output_type.dtype))
