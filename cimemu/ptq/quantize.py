"""`quantize`: a float network becomes the QDQ graph that any ONNX runtime executes, then integer layers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.errors import WorkloadError
from cimemu.keywords import filled
from cimemu.layer.base import Array, Layer
from cimemu.layer.execute import check_inputs, images_at_once, run_float
from cimemu.lower import left_in_float, lower
from cimemu.lower.products import PRODUCTS
from cimemu.ptq.gates import one_range
from cimemu.ptq.partly import PartlyBuilder
from cimemu.ptq.qdq import QdqBuilder, Step, WeightRule, mixes_tokens
from cimemu.ptq.ranges import Observed, Observer, Ranges, RangesKeywords, observe
from cimemu.ptq.weights import quantized_weight
from cimemu.ptq.widths import Widths
from cimemu.ptq.written import Written
from cimemu.workload.network import Network

FLOAT_LAYERS = ("digital", "quantize")


def quantize(
    network: Network,
    arch: Arch | Macro,
    calibration: Any = None,
    *,
    ranges: Ranges = Ranges(),
    weights: WeightRule | None = None,
    steps: Mapping[str, Step] | None = None,
    widths: Widths | None = None,
    float_layers: str = "digital",
    **given: Unpack[RangesKeywords],
) -> Network:
    """Quantise a float network to the widths of `arch` and lower it to integer layers.

    Weights: symmetric int8 of `min(weight.bits, 8)` bits per output channel or per layer. Activations: asymmetric
    uint8 of `min(input.bits, 8)` bits (symmetric int8 for signed inputs), ranges from `calibration` (an array, a
    dict of arrays by input name, or an iterable of batches of either, as the float network takes them) by
    "minmax", "percentile" or "mse", or `Observed` before. `ranges`, or the keywords `weight_granularity`, `method` and
    `percentile`, say how scales are found. `weights` replaces the rule for weights: (layer, weight, output axis, smallest
    scales) -> (int8 values, scales [outputs] or [1]), `steps` the calibration: (scale, zero point) of every tensor that
    is quantised, by name. `widths` gives tensors bits by who reads them (none: those of `arch` everywhere). Of a
    transformer (attention or layer normalisation) only the operands of products with weights are quantised: softmax,
    normalisation, GELU and attention stay in float on the digital unit. With `mapping.activations: macros` the operands of
    attention's products are quantised too. So do the gates and states of a recurrent network;
    the states that its products take have one range for all steps. A network that is quantised already is
    lowered as it is. Products that it leaves in float run in float32 on the digital unit (`float_layers` "digital"), or
    ("quantize") are quantised as those of a float network. `.qdq` of the result is the QDQ graph. Raises WorkloadError.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> [layer.name for layer in quantized.layers if layer.on_macros]
    ['stem', 'conv1', 'conv2', 'down', 'conv3', 'scores']
    """
    (ranges,) = filled("quantize", given, ranges)
    if float_layers not in FLOAT_LAYERS:
        raise WorkloadError(f"float_layers = {float_layers!r:.60}, must be digital or quantize")
    activations = arch.mapping.activations if isinstance(arch, Arch) else "digital"
    if activations == "macros" and not network.is_quantized:
        lowered = lower(network, activations)
        if lowered.is_integer:  # integer products of activations alone
            return lowered
    left = left_in_float(network) if network.is_quantized else ()
    if network.is_quantized and (float_layers == "digital" or not left):
        return _as_it_is(network, left, activations)
    macro = arch.macro if isinstance(arch, Arch) else arch
    if calibration is None and steps is None:
        what = f"leaves {left[0].name} in float" if left else "is float"
        raise WorkloadError(f"network {network.name}: {what}, give calibration images to quantise it")
    names = quantised_tensors(network, activations, left)
    observers: Mapping[str, Observer] = {}
    if isinstance(calibration, Observed):
        observers = calibration.observers
    elif steps is None:
        seen = _run_calibration(network, macro, calibration, names)
        observers = observe(seen, ranges.method, one_range(network))
    rule = _plain_rule(macro, ranges.weight_granularity) if weights is None else weights
    recipe = (network, macro, observers, rule, ranges, steps, widths)
    if left:
        return lower(replace(PartlyBuilder(*recipe, left=left).build(), whole=network.whole), activations)
    return lower(QdqBuilder(*recipe, activations).build(), activations)


def _as_it_is(network: Network, left: Sequence[Layer], activations: str) -> Network:
    """A quantised network lowered, with the products `left` in float on the digital unit."""
    made = lower(network, activations)
    if left and not made.is_integer:
        raise WorkloadError(
            f"network {network.name}: none of its products has an input and a weight of integers, so macros would do "
            "nothing; quantise what it leaves in float: --float-layers quantize (float_layers in Python)"
        )
    return made


def quantised_tensors(network: Network, activations: str, left: Sequence[Layer] = ()) -> list[str]:
    """The float tensors that get integers: of a transformer the operands of products that run on macros, else every one.

    Those that stay in float may be infinite, as scores behind a mask are. `left` are the products that a quantised network
    leaves in float.
    """
    if left:
        return list(dict.fromkeys(layer.inputs[0] for layer in left))
    names = [name for name, kind in network.types.items() if kind.dtype == "float32"]
    if not mixes_tokens(network):
        return names
    taken = {
        layer.inputs[0]
        for layer in network.layers
        if isinstance(layer, PRODUCTS) and len(layer.inputs) > 1 and layer.inputs[1] in network.constants
    }
    taken |= Written.of(network, activations).operands
    return [name for name in names if name in taken or name in network.outputs]


def _plain_rule(macro: Macro, granularity: str) -> WeightRule:
    """Symmetric integers from -(2^(bits-1)-1), a scale a channel or one for the layer."""

    def rule(
        layer: Layer, weight: NDArray[np.float32], axis: int, least: NDArray[np.float64] | None
    ) -> tuple[Array, NDArray[np.float32]]:
        bits = min(macro.weight.bits, 8)
        return quantized_weight(weight, bits, axis, per_channel=granularity == "channel", least=least)

    return rule


def _run_calibration(
    network: Network, macro: Macro, calibration: Any, names: list[str]
) -> Iterator[Mapping[str, Array]]:
    """Float tensors `names` of every batch; of a partly quantised network as its integers make them."""
    if isinstance(calibration, np.ndarray | Mapping):
        calibration = [calibration]
    if not isinstance(calibration, Iterable):
        raise WorkloadError(
            f"calibration: {type(calibration).__name__} given, give an array of images or batches of them"
        )
    step, seen = images_at_once(network), 0
    lowered = lower(network) if network.is_quantized else network
    emulator = None
    if lowered.is_integer:
        emulator = Emulator(lowered, macro.model_copy(update={"adc": IdealAdc(), "accumulator_bits": None}), adcs={})
    for batch in calibration:
        arrays = calibration_arrays(network, batch)
        images = len(arrays[network.inputs[0]])
        for first in range(0, images, step):
            part = {name: array[first : first + step] for name, array in arrays.items()}
            with np.errstate(over="ignore", invalid="ignore"):
                if emulator is None:
                    found: Mapping[str, Array] = run_float(lowered, part, names)
                else:
                    found = emulator.run([part[name] for name in network.inputs], frozenset(names)).tensors
            for name in names:
                _check_finite(
                    found[name], f"tensor {name} of the network, for", "train it again, or scale the images", seen
                )
            seen += len(next(iter(part.values())))
            yield {name: found[name] for name in names}
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
