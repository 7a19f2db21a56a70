"""A small float network for schemes: conv - relu - conv - add - relu - pool - product."""

import numpy as np

from cimemu.layer.activation import Relu
from cimemu.layer.arithmetic import Add
from cimemu.layer.base import TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_types
from cimemu.layer.matmul import Gemm
from cimemu.layer.pool import GlobalAveragePool
from cimemu.layer.shape import Reshape
from cimemu.workload.network import Network


def residual(groups=1, channels=6, classes=4, seed=0):
    rng = np.random.default_rng(seed)

    def w(*shape):
        spread = rng.uniform(0.3, 2.0, (shape[0], *[1] * (len(shape) - 1)))
        return (rng.normal(size=shape) * spread / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w1": w(channels, 3, 3, 3),
        "b1": w(channels),
        "w2": w(channels, channels // groups, 3, 3),
        "b2": w(channels),
        "w3": w(classes, channels),
        "b3": w(classes),
    }
    conv = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    layers = (
        Conv(name="conv1", inputs=("x", "w1", "b1"), outputs=("a",), **conv),
        Relu(name="relu1", inputs=("a",), outputs=("r",)),
        Conv(name="conv2", inputs=("r", "w2", "b2"), outputs=("c",), groups=groups, **conv),
        Add(name="add", inputs=("r", "c"), outputs=("s",)),
        Relu(name="relu2", inputs=("s",), outputs=("t",)),
        GlobalAveragePool(name="pool", inputs=("t",), outputs=("p",)),
        Reshape(name="flat", inputs=("p",), outputs=("f",), shape=(channels,)),
        Gemm(name="fc", inputs=("f", "w3", "b3"), outputs=("y",), trans_b=True),
    )
    inputs = {"x": TensorType((3, 5, 4), "float32")}
    return Network(
        name="residual",
        layers=layers,
        constants=constants,
        inputs=("x",),
        outputs=("y",),
        types=infer_types(layers, constants, inputs),
    )


def weights(network):
    return {
        layer.name: network.constants[layer.inputs[1]]
        .reshape(network.constants[layer.inputs[1]].shape[0], -1)
        .astype(np.float64)
        for layer in network.layers
        if layer.op in ("Conv", "Gemm")
    }
