"""From trained parameters to the integer network: the one source of what inference computes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adapt.fake_digital import FakeDigital
from cimemu.adapt.fake_macro import FakeMacro
from cimemu.adc import Adc
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.layer.base import Array, Layer
from cimemu.layer.matmul import Gemm
from cimemu.lower.products import PRODUCTS
from cimemu.mapping.layout import make_layout
from cimemu.ptq.apply import with_column_scales
from cimemu.ptq.cut import Cut
from cimemu.ptq.placed import placed
from cimemu.ptq.psum_fit import linear_adc
from cimemu.ptq.qdq import Step
from cimemu.ptq.quantize import quantize
from cimemu.ptq.scheme import LinearConverter, Scheme, UniformWeights
from cimemu.ptq.weight_rule import SchemeWeights
from cimemu.ptq.weight_scales import codes
from cimemu.workload.network import Network

Floats = NDArray[np.float64]
SMALLEST_GAIN = 1e-4


@dataclass(frozen=True, eq=False)
class TrainedParts:
    """What an adapted module has learned, and what it was made of."""

    source: Network  # float
    arch: Arch
    scheme: Scheme
    chosen: Macro  # as the scheme has it
    macros: Mapping[str, FakeMacro]  # by layer
    digital: Mapping[str, FakeDigital]  # by layer, those that no macro multiplies
    steps: Mapping[str, Step]  # by tensor
    first_converters: Mapping[str, Adc]  # by layer, where none is learned


class LearnedWeights(SchemeWeights):
    """The rule of a scheme with learned steps in the place of fitted ones."""

    def __init__(self, parts: TrainedParts) -> None:
        """For the scheme of `parts`."""
        super().__init__(parts.scheme.weight_rule, parts.chosen, rules=placed(parts.scheme, parts.source).rules)
        self.layers: Mapping[str, Any] = parts.macros

    def __call__(
        self, layer: Layer, weight: NDArray[np.float32], axis: int, least: Floats | None
    ) -> tuple[Array, NDArray[np.float32]]:
        """Integers and scales; an output's gain behind the macro is part of its scale."""
        gain = gains(self.layers[layer.name])[0]
        values, scales = super().__call__(layer, weight, axis, None)
        if bool((gain == 1).all()):
            return values, scales
        return values, (np.broadcast_to(scales, gain.shape) * gain).astype(np.float32)

    def _uniform(
        self, layer: Layer, w: Floats, cut: Cut, rule: UniformWeights
    ) -> tuple[NDArray[np.int64], Floats, Floats | None]:
        macro = self.layers[layer.name]
        numbers = macro.groups.by_block.numpy()
        learned = macro.bounded_scale("weight_scale").cpu().double().numpy()
        scales = learned[numbers]
        factors = None
        if macro.slice_scale is not None:
            shares = macro.slice_factors().detach().cpu().double().numpy()[numbers]  # [N, row blocks, conversions]
            # the scale of a row block is that of its top slice, which the encoding's correction has too
            factors, scales = shares / shares[:, :, -1:], scales * shares[:, :, -1]
        return codes(w, learned[numbers], cut, rule.bits), scales, factors


def gains(macro: FakeMacro | FakeDigital) -> tuple[Floats, Floats]:
    """(gain, bias) [N] behind a macro: a normalisation by its running statistics."""
    if macro.norm is None:
        bias = macro.bias.detach().cpu().double().numpy()
        return np.ones(len(bias)), bias
    norm = macro.norm
    mean, variance, weight, bias = (
        v.detach().cpu().double().numpy() for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    gain = np.maximum(weight / np.sqrt(variance + norm.eps), SMALLEST_GAIN)
    return gain, bias - gain * mean


def integer_network(parts: TrainedParts) -> Network:
    """The integer network with its converters. WorkloadError for a module in parity with public code."""
    if any(macro.parity for macro in parts.macros.values()):
        raise WorkloadError(
            "code_parity = true: every array sees all channels, which no chip can hold; train without it"
        )
    source, constants = parts.source, dict(parts.source.constants)
    by_layer, layers = placed(parts.scheme, source), parts.macros
    for layer in source.layers:
        if layer.name in parts.digital:
            product = parts.digital[layer.name]
            gain, bias = gains(product)
            w = product.weight.detach().cpu().double().numpy()
            along = [-1 if axis == product.axis else 1 for axis in range(w.ndim)]
            constants[layer.inputs[1]] = (w * gain.reshape(along)).astype(np.float32)
            constants[layer.inputs[2]] = bias.astype(np.float32).reshape(constants[layer.inputs[2]].shape)
        if isinstance(layer, PRODUCTS) and layer.name in layers:
            w = layers[layer.name].weight.detach().cpu().numpy()
            like = constants[layer.inputs[1]]
            rows = w.T if isinstance(layer, Gemm) and not layer.trans_b else w
            constants[layer.inputs[1]] = np.ascontiguousarray(rows.reshape(like.shape), dtype=np.float32)
            constants[layer.inputs[2]] = (
                gains(layers[layer.name])[1].astype(np.float32).reshape(constants[layer.inputs[2]].shape)
            )
    rule, widths = LearnedWeights(parts), by_layer.widths
    made = quantize(replace(source, constants=constants), parts.chosen, weights=rule, steps=parts.steps, widths=widths)
    network = with_column_scales(made, parts.arch, parts.scheme, rule)
    specs = {name: by_layer.of(name).converter for name in layers}
    converters = {
        name: _converter(macro, parts.chosen, specs[name]) or parts.first_converters.get(name)
        for name, macro in layers.items()
    }
    return replace(network, converters={name: adc for name, adc in converters.items() if adc is not None})


def _converter(macro: FakeMacro, chosen: Macro, spec: Any) -> Adc | None:
    """The converter of learned steps by `spec` of the scheme; None where the first one stays."""
    if macro.converter != "learned" or not isinstance(spec, LinearConverter):
        return None
    lsb, zero = (v.detach().cpu().double().numpy() for v in macro.learned_steps())
    g = macro.geometry
    layout = make_layout(g.rows_per_group, g.channels_out, chosen, g.kernel_area)
    per_output = chosen.conversions_per_output
    arrays = [(a * per_output, b * per_output) for a, b in layout.col_blocks]
    circuit = "sar" if chosen.adc.model == "ideal" else chosen.adc.circuit  # type: ignore[union-attr]
    return linear_adc(lsb, zero, SimpleNamespace(arrays=arrays), spec, circuit)  # type: ignore[arg-type]
