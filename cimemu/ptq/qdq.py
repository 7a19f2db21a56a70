"""The QDQ graph of a float network: QuantizeLinear and DequantizeLinear around every operator."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.layer.activation import Clip, Relu
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_types
from cimemu.layer.matmul import Gemm
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.layer.shape import Gather
from cimemu.lower.products import PRODUCTS
from cimemu.ptq.gates import gate_layers, one_range
from cimemu.ptq.ranges import Observer, Ranges
from cimemu.ptq.weights import quantized_weight
from cimemu.ptq.widths import MOVES, Widths, tensor_bits
from cimemu.ptq.written import Written, of_two_activations
from cimemu.workload.network import Network

BIAS_LIMIT = 2.0**30
Step = tuple[np.float32, int]  # (scale, zero point) of a tensor
WeightRule = Callable[[Layer, NDArray[np.float32], int, NDArray[np.float64] | None], tuple[Array, NDArray[np.float32]]]


class QdqBuilder:
    """Rewrites a float network with QuantizeLinear / DequantizeLinear around every operator."""

    def __init__(
        self,
        network: Network,
        macro: Macro,
        observers: Mapping[str, Observer],
        rule: WeightRule,
        ranges: Ranges,
        steps: Mapping[str, Step] | None,
        widths: Widths | None,
        activations: str = "digital",
    ) -> None:
        self.network, self.macro, self.observers, self.steps = network, macro, observers, steps
        self.rule, self.ranges, self.written = rule, ranges, Written.of(network, activations)
        self.constants: dict[str, Array] = dict(network.constants)
        self.layers: list[Layer] = []
        self.parameters: dict[str, tuple[np.float32, int]] = {}  # of every quantised float tensor
        self.readers: dict[str, list[Layer]] = {}
        for layer in network.layers:
            for name in layer.inputs:
                self.readers.setdefault(name, []).append(layer)
        self.renamed: dict[str, str] = {}  # a float tensor -> what stands for it
        self.islands = mixes_tokens(network)
        self.gates = gate_layers(network)
        self.alias = one_range(network)
        bits = min(macro.input.bits, 8)
        chosen = widths or Widths(bits, bits, bits)
        self.off_macros = chosen.off_macros
        self.real = self._real_alone()
        self.bits = tensor_bits(network, chosen, self._taken)

    def build(self) -> Network:
        """The QDQ network."""
        network = self.network
        for name in network.inputs:
            if network.types[name].dtype == "float32" and not self.islands and name not in self.real:
                self._quantize(name)
        for layer in network.layers:
            self._layer(layer)
        outputs = network.outputs if self.islands else tuple(map(self._kept, network.outputs))
        layers = tuple(self.layers)
        if outputs != network.outputs:  # the network's outputs keep their names
            back = {new: old for old, new in zip(network.outputs, outputs) if old != new}
            taken = {old: f"{old}_float" for old in back.values()}
            layers = tuple(_renamed(layer, {**taken, **back}) for layer in layers)
        inputs = {name: network.types[name] for name in network.inputs}
        used = {name for layer in layers for name in layer.inputs}
        constants = {
            name: value
            for name, value in self.constants.items()
            if name in used or any(name in layer.outputs for layer in layers)
        }
        return Network(
            name=network.name,
            layers=layers,
            constants=constants,
            inputs=network.inputs,
            outputs=network.outputs,
            types=infer_types(layers, constants, inputs),
            digital=frozenset(name for name, kind in self.off_macros.items() if kind == 8),
        )

    def _real_alone(self) -> set[str]:
        """Tensors that stay float: products in float32 alone read them, as they are or moved, or make the network's outputs."""
        floats = {name for name, kind in self.off_macros.items() if kind == "float"}
        outputs, found = set(self.network.outputs), set[str]()
        for layer in reversed(self.network.layers):
            if layer.name in floats and outputs.issuperset(layer.outputs) and layer.outputs[0] not in self.readers:
                found |= set(layer.outputs)
            for name in layer.inputs:
                after = self.readers[name]
                if name not in outputs and all(
                    one.name in floats or (one.op in MOVES and found.issuperset(one.outputs)) for one in after
                ):
                    found.add(name)
        return found

    def _kept(self, output: str) -> str:
        """What stands for an output; an input that is returned stands for itself."""
        return output if output in self.network.inputs else self.renamed.get(output, output)

    def _is_product(self, layer: Layer) -> bool:
        """Whether a macro multiplies by its weights."""
        return isinstance(layer, PRODUCTS) and len(layer.inputs) > 1 and layer.inputs[1] in self.network.constants

    def _taken(self, layer: Layer) -> tuple[str, ...]:
        """The activations of a layer that macros take."""
        if layer.name in self.off_macros:
            return ()
        if self._is_product(layer):
            return layer.inputs[:1]
        return layer.inputs[:2] if layer.name in self.written.products else ()

    def _layer(self, layer: Layer) -> None:
        if self.off_macros.get(layer.name) == "float":
            self.layers.append(self._with_inputs(layer))
            if not self.islands:
                self._quantize_or_defer(layer.outputs[0], None)
            return
        if self._is_product(layer):
            self._product(layer)
            return
        if self.islands:
            self.layers.append(self._of_integers(layer) if layer.name in self.written.layers else layer)
            return
        if layer.name in self.gates:  # states and gates keep their precision on the digital unit
            self.layers.append(self._with_inputs(layer))
            return
        if isinstance(layer, PRODUCTS):  # activations times activations: on the digital unit, in float
            self.layers.append(self._with_inputs(layer))
            return
        before = layer.inputs[0] if layer.inputs else ""
        redundant = isinstance(layer, Relu | Clip) and self._folds(layer, before)
        if redundant:
            self.renamed[layer.outputs[0]] = self.renamed.get(before, before)
            if before in self.parameters:
                self.parameters[layer.outputs[0]] = self.parameters[before]
            return
        self.layers.append(self._with_inputs(layer))
        shared = self.parameters.get(before) if layer.op in MOVES else None
        if not self._float_only(layer):
            for name in layer.outputs:
                if self.network.types[name].dtype == "float32":
                    self._quantize_or_defer(name, shared)

    def _float_only(self, layer: Layer) -> bool:
        """Operators whose results stay float until a product needs them (Softmax and the like keep precision)."""
        return layer.op in ("Shape", "Cast", "Equal", "Less", "Greater", "Not") or isinstance(layer, Gather)

    def _with_inputs(self, layer: Layer) -> Layer:
        return replace(layer, inputs=tuple(self.renamed.get(name, name) for name in layer.inputs))

    def _of_integers(self, layer: Layer) -> Layer:
        """A product of two activations with both of them quantised, whose result stays float; or a move of one of them."""
        is_product = layer.name in self.written.products
        operands = layer.inputs if is_product else layer.inputs[:1]
        for name in operands:
            if name not in self.parameters:
                self._quantize(name)
        if not is_product:
            self.parameters[layer.outputs[0]] = self.parameters[operands[0]]
            self.renamed[layer.outputs[0]] = layer.outputs[0]
        return replace(layer, inputs=(*(self.renamed[name] for name in operands), *layer.inputs[len(operands) :]))

    def _product(self, layer: Layer) -> None:
        x = layer.inputs[0]
        if x not in self.parameters:
            self._quantize(x)
        weight = np.asarray(self.network.constants[layer.inputs[1]], dtype=np.float32)
        axis = 0 if isinstance(layer, Conv) or (isinstance(layer, Gemm) and layer.trans_b) else weight.ndim - 1
        if weight.ndim not in (2, 3, 4) or not np.isfinite(weight).all():
            raise layer.error(f"weight of shape {weight.shape}, must be finite with 2 to 4 axes")
        least = None
        biased = len(layer.inputs) > 2 and layer.inputs[2] in self.network.constants
        if biased:
            # A channel of tiny weights must not push its bias out of the 32-bit accumulator.
            bias = np.asarray(self.network.constants[layer.inputs[2]], dtype=np.float64).reshape(-1)
            least = np.abs(np.broadcast_to(bias, (weight.shape[axis],))) / (float(self.parameters[x][0]) * BIAS_LIMIT)
        name, scales = self._weight(layer, weight, axis, least)
        third = (self._bias(layer, scales, self.parameters[x][0]),) if biased else layer.inputs[2:]
        self.layers.append(replace(layer, inputs=(self.renamed[x], name, *third)))
        if not self.islands and layer.name not in self.gates:
            self._quantize_or_defer(layer.outputs[0], None)

    def _weight(
        self, layer: Layer, weight: Array, axis: int, least: NDArray[np.float64] | None
    ) -> tuple[str, NDArray[np.float32]]:
        """(the dequantised weight, its scales)."""
        if self.off_macros.get(layer.name) == 8:
            values, scales = quantized_weight(weight, 8, axis, per_channel=True, least=least)
        else:
            values, scales = self.rule(layer, weight, axis, least)
        return self._constant_dq(layer.inputs[1], values, scales, axis, weight), scales

    def _name(self, name: str) -> str:
        """The name of a tensor that is added to the network."""
        return name

    def _constant_dq(self, name: str, values: Array, scales: NDArray[np.float32], axis: int, like: Array) -> str:
        """A constant behind a DequantizeLinear; a weight that two layers share is written once."""
        output, integers, own, zero = (
            self._name(f"{name}_{what}") for what in ("DequantizeLinear", "quantized", "scale", "zero_point")
        )
        if output in self.constants:
            return output
        scale = scales.reshape(()) if scales.size == 1 else scales
        self.constants[integers] = values
        self.constants[own] = scale
        self.constants[zero] = np.zeros(scale.shape, values.dtype)
        layer = DequantizeLinear(
            name=self._name(f"{name}_DequantizeLinear_node"),
            inputs=(integers, own, zero),
            outputs=(output,),
            axis=axis if scales.size > 1 else 0,
        )
        self.constants[output] = layer.forward([self.constants[i] for i in layer.inputs])[0].reshape(like.shape)
        self.layers.append(layer)
        return output

    def _bias(self, layer: Layer, scales: NDArray[np.float32], x_scale: np.float32) -> str:
        name = layer.inputs[2]
        bias = np.asarray(self.network.constants[name], dtype=np.float64).reshape(-1)
        outputs = self.network.types[layer.outputs[0]].shape[0 if isinstance(layer, Conv) else -1]
        bias = np.broadcast_to(bias, (outputs,))
        scale = (x_scale * np.broadcast_to(scales, (outputs,))).astype(np.float32)
        limit = 2**31 - 1
        values = np.clip(np.rint(bias / scale.astype(np.float64)), -limit, limit).astype(np.int32)
        used = scale if scales.size > 1 else scale[:1]
        return self._constant_dq(f"{name}_{layer.name}", values, used, 0, values)

    def _folds(self, layer: Layer, before: str) -> bool:
        """Whether a Relu or Clip does nothing any more, because the QuantizeLinear in front of it saturates alike."""
        if before not in self.parameters or before not in self.renamed:
            return False
        scale, zero = self.parameters[before]
        low, high = self._limits(before)
        real_low, real_high = (low - zero) * float(scale), (high - zero) * float(scale)
        if isinstance(layer, Relu):
            return real_low >= 0
        assert isinstance(layer, Clip)
        return (layer.low is None or real_low >= layer.low) and (
            layer.high is None or real_high <= layer.high * (1 + 1e-6)
        )

    def _limits(self, name: str) -> tuple[int, int]:
        bits = self.bits[name]
        if self.macro.input.signed:
            return -(2 ** (bits - 1)) + (1 if bits > 1 else 0), 2 ** (bits - 1) - 1
        return 0, 2**bits - 1

    def _quantize_or_defer(self, name: str, shared: tuple[np.float32, int] | None) -> None:
        """Quantise a layer's output; one whose only reader is an activation takes that activation's range at once."""
        if name in self.real:
            return
        readers = self.readers.get(name, [])
        only = readers[0] if len(readers) == 1 and name not in self.network.outputs else None
        if isinstance(only, Relu | Clip) and not self.macro.input.signed:
            self._quantize(name, shared, range_of=only.outputs[0], bounds=only)
        elif isinstance(only, Relu | Clip):
            return  # signed outputs: the activation stays, and is quantised behind it
        else:
            self._quantize(name, shared)

    def _quantize(
        self,
        name: str,
        shared: tuple[np.float32, int] | None = None,
        range_of: str | None = None,
        bounds: Layer | None = None,
    ) -> None:
        """QuantizeLinear, an integer Clip for fewer than 8 bits, DequantizeLinear behind float tensor `name`."""
        low_q, high_q = self._limits(name)
        if self.steps is not None:
            shared = self.steps[name]
        if shared is None:
            observer = self.observers[self.alias.get(range_of or name, range_of or name)]
            levels = high_q - low_q + 1
            low, high = observer.range(self.ranges.method, self.ranges.percentile, levels, self.macro.input.signed)
            if isinstance(bounds, Clip):
                low = low if bounds.low is None else max(low, min(bounds.low, 0.0))
                high = high if bounds.high is None else min(high, max(bounds.high, 0.0))
            shared = _parameters(low, high, low_q, high_q)
        scale, zero = shared
        dtype = "int8" if self.macro.input.signed else "uint8"
        parameters = (self._name(f"{name}_scale"), self._name(f"{name}_zero_point"))
        self.constants[parameters[0]] = np.array(scale, dtype=np.float32)
        self.constants[parameters[1]] = np.array(zero, dtype=dtype)
        q, dq = self._name(f"{name}_QuantizeLinear_Output"), self._name(f"{name}_DequantizeLinear_Output")
        self.layers.append(
            QuantizeLinear(
                name=self._name(f"{name}_QuantizeLinear"), inputs=(name, *parameters), outputs=(q,), axis=0, dtype=dtype
            )
        )
        full = (-128, 127) if dtype == "int8" else (0, 255)
        if (low_q, high_q) != full and not (dtype == "int8" and (low_q, high_q) == (-127, 127)):
            clipped = self._name(f"{name}_Clip_Output")
            self.layers.append(
                Clip(name=self._name(f"{name}_Clip"), inputs=(q,), outputs=(clipped,), low=low_q, high=high_q)
            )
            q = clipped
        self.layers.append(
            DequantizeLinear(
                name=self._name(f"{name}_DequantizeLinear"), inputs=(q, *parameters), outputs=(dq,), axis=0
            )
        )
        self.parameters[name] = shared
        self.renamed[name] = dq


def mixes_tokens(network: Network) -> bool:
    """Whether a network has attention (products of two activations) or layer normalisation, as transformers have."""
    return any(layer.op == "LayerNormalization" or of_two_activations(layer, network) for layer in network.layers)


def _parameters(low: float, high: float, low_q: int, high_q: int) -> tuple[np.float32, int]:
    """Scale and zero point of real low .. high (zero inside) on integers low_q .. high_q; zero is exact."""
    span = max(high - low, 1e-8)
    scale = np.float32(span / (high_q - low_q))
    if low_q < 0:  # symmetric: zero point 0
        return np.float32(max(high, -low, 1e-8) / high_q), 0
    zero = int(np.clip(np.rint(low_q - low / float(scale)), low_q, high_q))
    return scale, zero


def _renamed(layer: Layer, names: Mapping[str, str]) -> Layer:
    return replace(
        layer,
        inputs=tuple(names.get(name, name) for name in layer.inputs),
        outputs=tuple(names.get(name, name) for name in layer.outputs),
    )
