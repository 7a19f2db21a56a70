"""A product that a scheme leaves on the digital unit, in training: float32, or weights of 8 bits with a scale an output."""

from typing import Any

import torch

from cimemu.adapt.module import twin
from cimemu.adapt.rounding import rounded
from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm
from cimemu.ptq.widths import Off

TOP = 127  # of 8-bit weights, as `cimemu.ptq.weights` makes them
TINY = 1e-12


class FakeDigital(torch.nn.Module):
    """`forward(x)`: real outputs of real inputs. Parameters: `weight` as the layer has it, a normalisation or bias behind it."""

    def __init__(self, layer: Conv | Gemm, weight: Any, kind: Off, *, norm: bool) -> None:
        """`kind` is what the digital unit multiplies."""
        super().__init__()
        self.layer, self.kind = layer, kind
        self.axis = 0 if isinstance(layer, Conv) or layer.trans_b else 1  # that of outputs
        self.weight = torch.nn.Parameter(weight.detach().clone())
        outputs = weight.shape[self.axis]
        self.norm = torch.nn.BatchNorm2d(outputs) if norm else None
        if norm:
            self.register_parameter("bias", None)
        else:
            self.bias = torch.nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Any) -> Any:
        """[images, ...]."""
        plain: Layer = self.layer
        y = twin(plain)(torch, self, plain, [x, self.used()])
        if self.norm is not None:
            return self.norm(y)
        return y + self.bias.reshape(-1, *(1,) * (y.ndim - 2))

    def used(self) -> Any:
        """The weight as it is multiplied; rounding passes gradients straight through."""
        if self.kind == "float":
            return self.weight
        others = [axis for axis in range(self.weight.ndim) if axis != self.axis]
        step = self.weight.detach().abs().amax(dim=others, keepdim=True).clamp(min=TINY) / TOP
        return rounded(self.weight / step) * step

    def keep_in_bounds(self) -> None:
        """Gains, which the network has >= 0, are put on their bound."""
        if self.norm is not None:
            self.norm.weight.data.clamp_(min=0)
