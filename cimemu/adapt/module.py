"""A float network as a torch module whose weights and normalisations are trained, and back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cimemu.adapt.one_pixel import met
from cimemu.layer.activation import Clip, LeakyRelu, Relu
from cimemu.layer.arithmetic import Elementwise
from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm
from cimemu.layer.norm import BatchNormalization
from cimemu.layer.pool import AveragePool, GlobalAveragePool, MaxPool
from cimemu.layer.reduce import ReduceMean
from cimemu.layer.shape import Concat, Identity, Pad, Reshape, Slice, Transpose
from cimemu.workload.network import Network

Values = list[Any]


class Trainable(torch.nn.Module):
    """A network whose constants of products and normalisations are parameters, in the order of the layers.

    A normalisation's mean and variance are buffers that follow the batches in training.
    """

    def __init__(self, network: Network) -> None:
        """Raises WorkloadError for an operator without a twin here."""
        super().__init__()
        self.source = network
        self.places: dict[str, str] = {}  # constant -> parameter or buffer
        for layer in network.layers:
            if not isinstance(layer, tuple(TWINS)):
                raise layer.error(f"cannot be trained; operators that can: {', '.join(sorted(OPS))}")
            statistics = layer.inputs[3:] if isinstance(layer, BatchNormalization) else ()
            for name in layer.inputs:
                if name in network.constants and name not in self.places:
                    self._own(name, network.constants[name], name not in statistics)

    def _own(self, name: str, value: Any, learned: bool) -> None:
        place = f"c{len(self.places)}"
        tensor = torch.tensor(np.asarray(value))
        if learned and tensor.is_floating_point():
            self.register_parameter(place, torch.nn.Parameter(tensor))
        else:
            self.register_buffer(place, tensor)
        self.places[name] = place

    def value(self, name: str) -> Any:
        """The parameter or buffer of a constant."""
        return getattr(self, self.places[name])

    def forward(self, x: Any) -> Any:
        """The network's first output of its first input."""
        known = {self.source.inputs[0]: x}
        for layer in self.source.layers:
            operands = [known[n] if n in known else self.value(n) for n in layer.inputs]
            known[layer.outputs[0]] = twin(layer)(torch, self, layer, operands)
        return known[self.source.outputs[0]]

    def network(self) -> Network:
        """The network with the present values."""
        values = {name: self.value(name).detach().cpu().numpy().copy() for name in self.places}
        return replace(self.source, constants={**self.source.constants, **values})


def from_network(network: Network) -> Trainable:
    """A torch.nn.Module that computes the float `network`; `.network()` is the network of the present weights."""
    return Trainable(network)


def twin(layer: Layer) -> Callable[[Any, Any, Any, Values], Any]:
    """What computes a layer: (torch, module, layer, operands) -> its output."""
    return next(twin for kind, twin in TWINS.items() if isinstance(layer, kind))


def _conv(torch: Any, module: Any, layer: Conv, v: Values) -> Any:
    top, left, bottom, right = layer.pads
    f = torch.nn.functional
    bias = v[2] if len(v) > 2 else None
    if v[0].ndim == 3:
        high = [v[0][:, :, None], v[1][:, :, None], *v[2:]]  # [images, channels, 1, width]
        return _conv(torch, module, layer, high).squeeze(2)
    if (top, left) == (bottom, right) and layer.kernel_shape != (1, 1):
        return f.conv2d(v[0], v[1], bias, layer.strides, (top, left), layer.dilations, layer.groups)
    padded, strides = met(f.pad(v[0], (left, right, top, bottom)), layer.kernel_shape, layer.strides)
    return f.conv2d(padded, v[1], bias, strides, 0, layer.dilations, layer.groups)


def _gemm(torch: Any, module: Any, layer: Gemm, v: Values) -> Any:
    out = layer.alpha * (v[0] @ (v[1].T if layer.trans_b else v[1]))
    return out if len(v) < 3 else out + layer.beta * v[2]


def _norm(torch: Any, module: Any, layer: BatchNormalization, v: Values) -> Any:
    return torch.nn.functional.batch_norm(v[0], v[3], v[4], v[1], v[2], module.training, 0.1, layer.epsilon)


def _add(torch: Any, module: Any, layer: Elementwise, v: Values) -> Any:
    functions = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}
    if layer.op not in functions:
        raise layer.error("cannot be trained; arithmetic that can: Add, Sub, Mul")
    out = v[0]
    for other in v[1:]:
        out = functions[layer.op](out, other)
    return out


def _average(torch: Any, module: Any, layer: AveragePool, v: Values) -> Any:
    top, left, bottom, right = layer.pads
    if (top, left) != (bottom, right) or layer.dilations != (1, 1):
        raise layer.error(f"pads = {layer.pads}, dilations = {layer.dilations}: cannot be trained, must be even and 1")
    return torch.nn.functional.avg_pool2d(
        v[0], layer.kernel_shape, layer.strides, (top, left), layer.ceil_mode, layer.count_include_pad
    )


def _largest(torch: Any, module: Any, layer: MaxPool, v: Values) -> Any:
    top, left, bottom, right = layer.pads
    if (top, left) != (bottom, right):
        raise layer.error(f"pads = {layer.pads}: cannot be trained, must be the same on both sides")
    return torch.nn.functional.max_pool2d(
        v[0], layer.kernel_shape, layer.strides, (top, left), layer.dilations, layer.ceil_mode
    )


def _slice(torch: Any, module: Any, layer: Slice, v: Values) -> Any:
    window = [slice(None)] * v[0].ndim
    for axis, start, end, step in zip(layer.axes, layer.starts, layer.ends, layer.steps):
        if step < 0:
            raise layer.error(f"step {step}: cannot be trained, must be above 0")
        window[axis] = slice(start, end, step)
    return v[0][tuple(window)]


def _pad(torch: Any, module: Any, layer: Pad, v: Values) -> Any:
    if layer.mode != "constant":
        raise layer.error(f"mode = {layer.mode}: cannot be trained, must be constant")
    margins = [margin for pair in reversed(layer.pads) for margin in pair]
    return torch.nn.functional.pad(v[0], margins, value=layer.value)


TWINS: dict[type[Layer], Callable[[Any, Any, Any, Values], Any]] = {
    Conv: _conv,
    Gemm: _gemm,
    BatchNormalization: _norm,
    Relu: lambda torch, module, layer, v: torch.relu(v[0]),
    LeakyRelu: lambda torch, module, layer, v: torch.nn.functional.leaky_relu(v[0], layer.alpha),
    Clip: lambda torch, module, layer, v: torch.clamp(v[0], layer.low, layer.high),
    Elementwise: _add,
    AveragePool: _average,
    MaxPool: _largest,
    GlobalAveragePool: lambda torch, module, layer, v: v[0].mean(dim=tuple(range(2, v[0].ndim)), keepdim=True),
    ReduceMean: lambda torch, module, layer, v: v[0].mean(dim=layer.axes, keepdim=layer.keepdims),
    Slice: _slice,
    Pad: _pad,
    Concat: lambda torch, module, layer, v: torch.cat(v, layer.axis),
    Reshape: lambda torch, module, layer, v: v[0].reshape(len(v[0]), *layer.shape),
    Transpose: lambda torch, module, layer, v: v[0].permute(layer.perm),
    Identity: lambda torch, module, layer, v: v[0],
}
OPS = {kind.op or "Add" for kind in TWINS}
