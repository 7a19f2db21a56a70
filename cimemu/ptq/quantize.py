"""`quantize`: a float network becomes the QDQ graph that any ONNX runtime executes, then integer layers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.keywords import filled
from cimemu.layer.activation import Clip, Relu
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.execute import check_inputs, images_at_once, infer_types, run_float
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.layer.shape import Gather
from cimemu.lower import lower
from cimemu.ptq.ranges import Observer, Ranges, RangesKeywords, observe
from cimemu.ptq.weights import quantized_weight
from cimemu.ptq.widths import MOVES, Widths, tensor_bits
from cimemu.workload.network import Network

PRODUCTS = (Conv, Gemm, MatMul)
BIAS_LIMIT = 2.0**30
Step = tuple[np.float32, int]  # (scale, zero point) of a tensor
WeightRule = Callable[[Layer, NDArray[np.float32], int, NDArray[np.float64] | None], tuple[Array, NDArray[np.float32]]]


def quantize(
    network: Network,
    arch: Arch | Macro,
    calibration: Any = None,
    *,
    ranges: Ranges = Ranges(),
    weights: WeightRule | None = None,
    steps: Mapping[str, Step] | None = None,
    widths: Widths | None = None,
    **given: Unpack[RangesKeywords],
) -> Network:
    """Quantise a float network to the widths of `arch` and lower it to integer layers.

    Weights: symmetric int8 of `min(weight.bits, 8)` bits per output channel or per layer. Activations: asymmetric
    uint8 of `min(input.bits, 8)` bits (symmetric int8 for signed inputs), ranges from `calibration` (an array, a
    dict of arrays by input name, or an iterable of batches of either, as the float network takes them) by
    "minmax", "percentile" or "mse". `ranges`, or the keywords `weight_granularity`, `method` and `percentile`, say how
    scales are found. `weights` replaces the rule for weights: (layer, weight, output axis, smallest
    scales) -> (int8 values, scales [outputs] or [1]), `steps` the calibration: (scale, zero point) of every tensor that
    is quantised, by name. `widths` gives tensors bits by who reads them (none: those of `arch` everywhere). Of a
    transformer (attention or layer normalisation) only the operands of products with weights are quantised: softmax,
    normalisation, GELU and attention stay in float on the digital unit. A network that is quantised already passes
    through; `.qdq` of the result is the QDQ graph. Raises WorkloadError.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> [layer.name for layer in quantized.layers if layer.on_macros]
    ['stem', 'conv1', 'conv2', 'down', 'conv3', 'scores']
    """
    (ranges,) = filled("quantize", given, ranges)
    if network.is_quantized:
        return lower(network)
    macro = arch.macro if isinstance(arch, Arch) else arch
    if calibration is None and steps is None:
        raise WorkloadError(f"network {network.name}: is float, give calibration images to quantise it")
    names = [name for name, t in network.types.items() if t.dtype == "float32"]
    observers = observe(_run_calibration(network, calibration, names), ranges.method) if steps is None else {}
    rule = _plain_rule(macro, ranges.weight_granularity) if weights is None else weights
    return lower(_QdqBuilder(network, macro, observers, rule, ranges.method, ranges.percentile, steps, widths).build())


def _plain_rule(macro: Macro, granularity: str) -> WeightRule:
    """Symmetric integers from -(2^(bits-1)-1), a scale a channel or one for the layer."""

    def rule(
        layer: Layer, weight: NDArray[np.float32], axis: int, least: NDArray[np.float64] | None
    ) -> tuple[Array, NDArray[np.float32]]:
        bits = min(macro.weight.bits, 8)
        return quantized_weight(weight, bits, axis, per_channel=granularity == "channel", least=least)

    return rule


def _run_calibration(network: Network, calibration: Any, names: list[str]) -> Iterator[Mapping[str, Array]]:
    if isinstance(calibration, np.ndarray | Mapping):
        calibration = [calibration]
    if not isinstance(calibration, Iterable):
        raise WorkloadError(
            f"calibration: {type(calibration).__name__} given, give an array of images or batches of them"
        )
    step, seen = images_at_once(network), 0
    for batch in calibration:
        arrays = calibration_arrays(network, batch)
        images = len(arrays[network.inputs[0]])
        for first in range(0, images, step):
            part = {name: array[first : first + step] for name, array in arrays.items()}
            with np.errstate(over="ignore", invalid="ignore"):
                found = run_float(network, part, names)
            for name in names:
                _check_finite(
                    found[name], f"tensor {name} of the network, for", "train it again, or scale the images", seen
                )
            seen += len(next(iter(part.values())))
            yield found
    if not seen:
        raise WorkloadError("calibration: no image given, give at least one")


def calibration_arrays(network: Network, batch: Any) -> dict[str, Array]:
    """One batch of calibration images by input name, as the float network takes them. WorkloadError."""
    given = dict(batch) if isinstance(batch, Mapping) else {network.inputs[0]: batch}
    arrays: dict[str, Array] = {}
    for name, value in given.items():
        try:
            array = np.asarray(value)
        except ValueError:
            raise WorkloadError(f"calibration: {name} is no array of one shape, must be [images, ...]") from None
        arrays[name] = array.astype(np.float32) if array.dtype == np.float64 else array
        if array.dtype.kind == "f":
            _check_finite(array, f"input {name},", "replace it or leave the image out", 0)
    return check_inputs(network, arrays)


def _check_finite(array: Array, what: str, remedy: str, first: int) -> None:
    """WorkloadError that names the first image, place and value that is no finite number."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    where = [int(i) for i in np.argwhere(~np.isfinite(np.atleast_1d(array)))[0]]
    value = np.atleast_1d(array)[tuple(where)]
    raise WorkloadError(
        f"calibration: {what} image {first + where[0]}: {value} at {where[1:]}, must be a finite number: {remedy}"
    )


class _QdqBuilder:
    """Rewrites a float network with QuantizeLinear / DequantizeLinear around every operator."""

    def __init__(
        self,
        network: Network,
        macro: Macro,
        observers: Mapping[str, Observer],
        rule: WeightRule,
        method: str,
        percentile: float,
        steps: Mapping[str, Step] | None,
        widths: Widths | None,
    ) -> None:
        self.network, self.macro, self.observers, self.steps = network, macro, observers, steps
        self.rule, self.method, self.percentile = rule, method, percentile
        self.constants: dict[str, Array] = dict(network.constants)
        self.layers: list[Layer] = []
        self.parameters: dict[str, tuple[np.float32, int]] = {}  # of every quantised float tensor
        self.readers: dict[str, list[Layer]] = {}
        for layer in network.layers:
            for name in layer.inputs:
                self.readers.setdefault(name, []).append(layer)
        self.renamed: dict[str, str] = {}  # a float tensor -> what stands for it
        self.islands = mixes_tokens(network)
        bits = min(macro.input.bits, 8)
        self.bits = tensor_bits(network, widths or Widths(bits, bits, bits), self._is_product)

    def build(self) -> Network:
        """The QDQ network."""
        network = self.network
        for name in network.inputs:
            if network.types[name].dtype == "float32" and not self.islands:
                self._quantize(name)
        for layer in network.layers:
            self._layer(layer)
        outputs = network.outputs if self.islands else tuple(self.renamed.get(n, n) for n in network.outputs)
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
        )

    def _is_product(self, layer: Layer) -> bool:
        """Whether a macro multiplies by its weights."""
        return isinstance(layer, PRODUCTS) and len(layer.inputs) > 1 and layer.inputs[1] in self.network.constants

    def _layer(self, layer: Layer) -> None:
        if self._is_product(layer):
            self._product(layer)
            return
        if self.islands:
            self.layers.append(layer)
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

    def _product(self, layer: Layer) -> None:
        x = layer.inputs[0]
        if x not in self.parameters:
            self._quantize(x)
        weight = np.asarray(self.network.constants[layer.inputs[1]], dtype=np.float32)
        axis = 0 if isinstance(layer, Conv) or (isinstance(layer, Gemm) and layer.trans_b) else weight.ndim - 1
        if weight.ndim not in (2, 3, 4) or not np.isfinite(weight).all():
            raise layer.error(f"weight of shape {weight.shape}, must be finite with 2 to 4 axes")
        least = None
        if len(layer.inputs) > 2 and layer.inputs[2]:
            # A channel of tiny weights must not push its bias out of the 32-bit accumulator.
            bias = np.asarray(self.network.constants[layer.inputs[2]], dtype=np.float64).reshape(-1)
            least = np.abs(np.broadcast_to(bias, (weight.shape[axis],))) / (float(self.parameters[x][0]) * BIAS_LIMIT)
        values, scales = self.rule(layer, weight, axis, least)
        name = layer.inputs[1]
        inputs = [self.renamed[x], self._constant_dq(name, values, scales, axis, weight)]
        if len(layer.inputs) > 2 and layer.inputs[2]:
            inputs.append(self._bias(layer, scales, self.parameters[x][0]))
        self.layers.append(replace(layer, inputs=tuple(inputs)))
        if not self.islands:
            self._quantize_or_defer(layer.outputs[0], None)

    def _constant_dq(self, name: str, values: Array, scales: NDArray[np.float32], axis: int, like: Array) -> str:
        """A constant behind a DequantizeLinear; a weight that two layers share is written once."""
        output = f"{name}_DequantizeLinear"
        if output in self.constants:
            return output
        scale = scales.reshape(()) if scales.size == 1 else scales
        self.constants[f"{name}_quantized"] = values
        self.constants[f"{name}_scale"] = scale
        self.constants[f"{name}_zero_point"] = np.zeros(scale.shape, values.dtype)
        layer = DequantizeLinear(
            name=f"{name}_DequantizeLinear_node",
            inputs=(f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"),
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
            observer = self.observers[range_of or name]
            levels = high_q - low_q + 1
            low, high = observer.range(self.method, self.percentile, levels, self.macro.input.signed)
            if isinstance(bounds, Clip):
                low = low if bounds.low is None else max(low, min(bounds.low, 0.0))
                high = high if bounds.high is None else min(high, max(bounds.high, 0.0))
            shared = _parameters(low, high, low_q, high_q)
        scale, zero = shared
        dtype = "int8" if self.macro.input.signed else "uint8"
        self.constants[f"{name}_scale"] = np.array(scale, dtype=np.float32)
        self.constants[f"{name}_zero_point"] = np.array(zero, dtype=dtype)
        q, dq = f"{name}_QuantizeLinear_Output", f"{name}_DequantizeLinear_Output"
        parameters = (f"{name}_scale", f"{name}_zero_point")
        self.layers.append(
            QuantizeLinear(name=f"{name}_QuantizeLinear", inputs=(name, *parameters), outputs=(q,), axis=0, dtype=dtype)
        )
        full = (-128, 127) if dtype == "int8" else (0, 255)
        if (low_q, high_q) != full and not (dtype == "int8" and (low_q, high_q) == (-127, 127)):
            clipped = f"{name}_Clip_Output"
            self.layers.append(Clip(name=f"{name}_Clip", inputs=(q,), outputs=(clipped,), low=low_q, high=high_q))
            q = clipped
        self.layers.append(
            DequantizeLinear(name=f"{name}_DequantizeLinear", inputs=(q, *parameters), outputs=(dq,), axis=0)
        )
        self.parameters[name] = shared
        self.renamed[name] = dq


def mixes_tokens(network: Network) -> bool:
    """Whether a network has attention (products of two activations) or layer normalisation, as transformers have."""
    return any(
        layer.op == "LayerNormalization"
        or (isinstance(layer, MatMul) and not any(name in network.constants for name in layer.inputs))
        for layer in network.layers
    )


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
