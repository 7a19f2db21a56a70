"""`convert`: a float network becomes a torch module whose training forward meets the macro, and whose inference is the chip's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from cimemu.adapt.adapted import AdaptedModule, Products
from cimemu.adapt.digits import GRADIENTS
from cimemu.adapt.fake_digital import FakeDigital
from cimemu.adapt.fake_macro import FakeMacro
from cimemu.adapt.module import Trainable
from cimemu.adc import Adc, IdealAdc, LinearAdc, NonlinearAdc, plain
from cimemu.arch.load import load_arch
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.compute.matrix import LayerMatrix
from cimemu.errors import WorkloadError
from cimemu.importer import load_network
from cimemu.importer.fold import fold_batch_norm
from cimemu.importer.from_torch import network_of_module
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_types
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.lower.products import PRODUCTS
from cimemu.macro.drive import drive_offset
from cimemu.macro.references import make_references
from cimemu.mapping.layout import make_layout
from cimemu.ptq.apply import apply_scheme, calibration_samples, macro_of, with_converters
from cimemu.ptq.placed import placed
from cimemu.ptq.psum_fit import groups_of
from cimemu.ptq.roles import weighted_products
from cimemu.ptq.scheme import BinaryWeights, LinearConverter, Scheme, UniformWeights, scheme_of
from cimemu.ptq.written import of_two_activations
from cimemu.workload.network import Network


def convert(
    model: Any,
    arch: Arch | str | Path,
    scheme: Scheme | str | Mapping[str, Any],
    *,
    calibration: Any,
    gradient: str = "proper",
    code_parity: bool = False,
    smooth: bool = False,
) -> AdaptedModule:
    """`model` with `arch`'s macro and `scheme` in its forward: train it, then `cimemu.adapt.export` it.

    `model` is a float network's file, a Network, or a torch.nn.Module with its weights (exported by way of ONNX; one of
    `cimemu.adapt.from_network` as it is). First steps and levels are
    those of `apply_scheme` on `calibration` [images, ...] as the network takes them. In training mode the forward is
    differentiable (straight-through, `gradient` "proper" or "public", see `digits`; `smooth`: activations with the
    annealed slope of BWMA); in evaluation mode it is the chip, integer for integer. `code_parity` is ColumnQuant's
    public form, for comparison: every array sees all channels, which no chip can hold. Raises WorkloadError.
    """
    if gradient not in GRADIENTS:
        raise WorkloadError(f"gradient = {gradient!r}, must be one of {', '.join(GRADIENTS)}")
    chip, made = load_arch(arch), scheme_of(scheme) if not isinstance(scheme, Scheme) else scheme
    if isinstance(made.weights, BinaryWeights) and made.weights.method == "exact":
        raise WorkloadError("weights.method = exact has no gradient: train closed_form, centred or xnor")
    network = with_biases(_folded(_network_of(model, calibration)))
    by_layer = placed(made, network)
    _check(network, chip, by_layer.off_macros)
    images = np.asarray(calibration)
    fitted = apply_scheme(network, chip, images, made).network
    assert fitted.qdq is not None
    macro = macro_of(chip, made)
    if code_parity and macro.weight.correction == "reference_column":
        raise WorkloadError("code_parity with weight.correction = reference_column: public code has none, use digital")
    if macro.weight.column_flipping and not (isinstance(macro.adc, IdealAdc) and not fitted.converters):
        raise WorkloadError(
            "macro.weight.column_flipping = true with a converter that is not ideal: training has no columns that are "
            "stored inverted, and their psums are others; set it to false, or quantize without training"
        )
    _check_encoding(macro)
    if macro.accumulator_bits is not None:
        _check_accumulator(fitted, macro, made, code_parity)
    macros: dict[str, FakeMacro] = {}
    digital: dict[str, FakeDigital] = {}
    for layer in fitted.layers:
        if isinstance(layer, MacroLayer):
            product = next(p for p in network.layers if p.name == layer.name)
            weight = _as_rows(product, np.asarray(network.constants[product.inputs[1]], dtype=np.float32))
            macros[layer.name] = _fake(layer, fitted, macro, by_layer.of(layer.name), weight, gradient, code_parity)
    for product in weighted_products(network):
        if product.name in by_layer.off_macros:
            assert isinstance(product, Conv | Gemm)  # `_check`
            weight = torch.from_numpy(np.array(network.constants[product.inputs[1]], dtype=np.float32))
            norm = isinstance(product, Conv) and weight.ndim == 4
            digital[product.name] = FakeDigital(product, weight, by_layer.off_macros[product.name], norm=norm)
    module = AdaptedModule(network, fitted, chip, made, Products(macros, digital), smooth=smooth)
    if made.one_bit and not code_parity:
        module.set_norms(images)  # outputs as the float network's, so that converters are fitted to what they will meet
        module.first_converters = _refitted(module, images)
    for layer in fitted.layers:
        if isinstance(layer, MacroLayer):
            adc = module.first_converters.get(layer.name, macro.adc)
            own = by_layer.of(layer.name)
            _converter(macros[layer.name], layer, adc, macro, own, _input_step(layer, fitted))
    module.set_norms(images)
    return module


def _check_encoding(macro: Macro) -> None:
    """Training makes integers of either sign: an encoding (of a plug-in) that lacks some of them is refused."""
    bits, values = macro.weight.bits, macro.encoding.values(macro.weight.bits)
    top = max(1, 2 ** (bits - 1) - 1)
    wanted = range(-1, 2, 2) if bits == 1 else range(-top, top + 1)
    missing = next((w for w in wanted if w not in values), None)
    if missing is not None:
        raise WorkloadError(
            f"macro.weight.encoding = {macro.weight.encoding} has no weight {missing} at weight.bits = {bits}, and training "
            f"makes {'-1 and 1' if bits == 1 else f'every integer of {-top} .. {top}'}; train with an encoding that holds them"
        )


def _check_accumulator(fitted: Network, macro: Macro, scheme: Scheme, code_parity: bool) -> None:
    """The accumulator holds integers: converters whose steps are learned, and factors of columns, are refused."""
    if isinstance(scheme.converter, LinearConverter) or code_parity:
        what = "code_parity" if code_parity else "a converter whose steps are learned (converter.kind = linear)"
        raise WorkloadError(
            f"macro.accumulator_bits = {macro.accumulator_bits} with {what}: the accumulator holds integers; leave "
            "accumulator_bits out, or train with the chip's own converter (converter.kind = arch)"
        )
    for layer in fitted.layers:
        if isinstance(layer, MacroLayer):
            LayerMatrix(layer, macro, adc=fitted.converters.get(layer.name))


def _refitted(module: AdaptedModule, images: Any) -> dict[str, Adc]:
    """Converters fitted to the partial sums of the module's own integer network, which has none yet."""
    from cimemu.adapt.integers import integer_network

    module.first_converters = {}
    network = integer_network(module.parts())
    samples = calibration_samples(network, module.arch, module.scheme, images)
    by_layer = placed(module.scheme, module.source)
    return dict(with_converters(network, module.arch, by_layer, *samples, {}).network.converters)


def with_biases(network: Network) -> Network:
    """Every product with a bias, 0 where it had none: training gives it one."""
    layers, constants = [], dict(network.constants)
    for layer in network.layers:
        if (
            isinstance(layer, Conv | Gemm)
            and _weighted(layer, network)
            and not (len(layer.inputs) > 2 and layer.inputs[2])
        ):
            name = f"{layer.name}_bias"
            axis = 0 if isinstance(layer, Conv) or layer.trans_b else 1
            constants[name] = np.zeros(network.constants[layer.inputs[1]].shape[axis], np.float32)
            layer = replace(layer, inputs=(*layer.inputs[:2], name))
        layers.append(layer)
    types = infer_types(layers, constants, {name: network.types[name] for name in network.inputs})
    return replace(network, layers=tuple(layers), constants=constants, types=types)


def _network_of(model: Any, calibration: Any) -> Network:
    if isinstance(model, Network):
        return model
    if isinstance(model, Trainable):
        return model.network()
    if isinstance(model, str | Path):
        return load_network(model)
    if isinstance(model, torch.nn.Module):
        return network_of_module(model, np.asarray(calibration).shape[1:])
    raise WorkloadError(
        f"model: {type(model).__name__} given, must be a network's file, a Network or a torch.nn.Module"
    )


def _folded(network: Network) -> Network:
    """Batch normalisation in front of training goes into weights; the fake macro has one of its own."""
    if not any(layer.op == "BatchNormalization" for layer in network.layers):
        return network
    constants = dict(network.constants)
    layers = fold_batch_norm(network.layers, constants, network.outputs)
    types = infer_types(layers, constants, {name: network.types[name] for name in network.inputs})
    return replace(network, layers=tuple(layers), constants=constants, types=types)


def _weighted(layer: Any, network: Network) -> bool:
    return len(layer.inputs) > 1 and layer.inputs[1] in network.constants


def _check(network: Network, chip: Arch, off_macros: Mapping[str, Any]) -> None:
    for layer in network.layers:
        if chip.mapping.activations == "macros" and of_two_activations(layer, network):
            raise layer.error(
                "multiplies two activations, which are not trained for macros (mapping.activations = macros): train with "
                "mapping.activations = digital"
            )
        if not isinstance(layer, PRODUCTS) or not _weighted(layer, network):
            continue
        if isinstance(layer, Conv) and layer.groups > 1 and layer.name not in off_macros:
            raise layer.error(
                f"groups = {layer.groups}: grouped convolutions are not trained for macros; leave them to quantize, or place "
                "them on the digital unit"
            )
        if isinstance(layer, MatMul):
            raise layer.error("a MatMul has no bias to train: write it as Gemm")


def _as_rows(layer: Any, weight: Any) -> Any:
    """[N, K] of a product's weight constant."""
    if isinstance(layer, Gemm) and not layer.trans_b:
        weight = weight.T
    return torch.from_numpy(np.array(weight.reshape(len(weight), -1)))


def _fake(
    layer: MacroLayer, fitted: Network, macro: Any, scheme: Scheme, weight: Any, gradient: str, parity: bool
) -> FakeMacro:
    """One layer with the fitted network's steps, no converter yet."""
    made = FakeMacro(
        layer.geometry, macro, scheme, weight, gradient=gradient, parity=parity, norm=layer.layout == "nchw"
    )
    made.drive_offset = drive_offset(layer, macro.input)
    steps = _scales(layer, fitted)
    if made.weight_scale is not None:
        assert isinstance(scheme.weights, UniformWeights)
        conversions = macro.conversions_per_output
        by_column = np.ones((len(made.wiring.cut.row_starts), layer.geometry.channels_out * conversions))
        if layer.column_scale is not None and not parity:
            by_column = layer.column_scale.scale
        split = by_column.reshape(len(by_column), -1, conversions)
        real = torch.from_numpy(np.asarray(split[:, :, -1].T * steps[:, None], dtype=np.float32))  # [N, row blocks]
        real = real.repeat(made.copies, 1) if not parity else real[:, :1].repeat(made.copies, 1) / made.copies
        made.start_scale("weight_scale", _group_means(real, made.groups.by_block, made.groups.count))
        if made.slice_scale is not None and not parity:
            shares = torch.from_numpy((split / split[:, :, -1:]).transpose(1, 0, 2).astype(np.float32))
            means = [_group_means(shares[:, :, v], made.groups.by_block, made.groups.count) for v in range(conversions)]
            made.start_scale("slice_scale", torch.stack(means, dim=1))
    return made


def _scales(layer: MacroLayer, fitted: Network) -> Any:
    """The real weight of one integer, [N]: what the QDQ graph's DequantizeLinear of the weight has."""
    assert fitted.qdq is not None
    product = next(p for p in fitted.qdq.layers if p.name == layer.name)
    dequantize = next(d for d in fitted.qdq.layers if product.inputs[1] in d.outputs)
    scale = np.asarray(fitted.qdq.constants[dequantize.inputs[1]], dtype=np.float64).reshape(-1)
    return np.broadcast_to(scale, (layer.geometry.channels_out,))


def _input_step(layer: MacroLayer, fitted: Network) -> float:
    """What one input code stands for."""
    assert fitted.qdq is not None
    product = next(p for p in fitted.qdq.layers if p.name == layer.name)
    dequantize = next(d for d in fitted.qdq.layers if product.inputs[0] in d.outputs)
    return float(fitted.qdq.constants[dequantize.inputs[1]])


def _group_means(values: Any, numbers: Any, count: int) -> Any:
    total = torch.zeros(count).index_add(0, numbers.flatten(), values.flatten())
    return total / torch.bincount(numbers.flatten(), minlength=count).clamp(min=1)


def _converter(made: FakeMacro, layer: MacroLayer, adc: Adc, macro: Any, scheme: Scheme, input_step: float) -> None:
    """The layer's converter: learned steps for a fitted linear one, fixed tables for any other."""
    adc = plain(adc)
    if isinstance(adc, IdealAdc):
        return
    g = layer.geometry
    layout = make_layout(g.rows_per_group, g.channels_out, macro, g.kernel_area)
    bits = _threshold_bits(adc)
    references = make_references(adc, layout, macro.conversions_per_output, bits)
    assert references is not None
    columns = g.channels_out * macro.conversions_per_output

    def spread(values: Any) -> Any:
        return torch.from_numpy(np.stack([np.broadcast_to(v, (columns, *v.shape[1:])) for v in values]))

    spec = scheme.converter
    if isinstance(spec, LinearConverter):
        if isinstance(adc, NonlinearAdc):  # three levels
            tables = spread([r.levels for r in references])
            lsb, zero = tables[..., 1] - tables[..., 0], tables[..., 0]
        else:
            lsb, zero = spread([r.lsb for r in references]), spread([r.zero for r in references])
        where = SimpleNamespace(
            blocks=len(layout.row_blocks),
            columns=columns,
            arrays=[(a * macro.conversions_per_output, b * macro.conversions_per_output) for a, b in layout.col_blocks],
        )
        number = torch.from_numpy(groups_of(where, spec.granularity).astype(np.int64))  # type: ignore[arg-type]
        count = int(number.max()) + 1
        made.learn_steps(
            _group_means(lsb.float(), number, count),
            _group_means(zero.float(), number, count),
            number,
            spec.levels - 1,
            input_step,
        )
    elif isinstance(adc, LinearAdc):
        made.fix_steps(spread([r.lsb for r in references]), spread([r.zero for r in references]), 2**adc.bits - 1)
    else:
        thresholds = spread([r.thresholds / 2.0**bits for r in references])
        made.fix_table(thresholds, spread([r.levels for r in references]))


def _threshold_bits(adc: Any) -> int:
    """Fraction bits of thresholds that float32 holds exactly, 14 at most, as a chip's varied cells have.

    Rounded up to a whole psum they are those of ideal cells alone: with 7.5 as 8 a psum of 7.999 falls to the code below.
    """
    if not isinstance(adc, NonlinearAdc):
        return 0
    flat = np.concatenate([np.ravel(np.asarray(adc.thresholds, dtype=np.float64)), [1.0]])
    return max(0, min(14, 23 - int(np.ceil(np.log2(np.abs(flat).max() + 1)))))
