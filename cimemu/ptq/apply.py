"""`apply_scheme`: a float network and a scheme become an integer network with converters, ready for the emulator."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, NonlinearAdc
from cimemu.adc.ramp import ramp_cells, ramp_thresholds
from cimemu.arch.load import load_arch
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.compute.psum_samples import PsumSamples, input_moments, psum_samples
from cimemu.errors import WorkloadError
from cimemu.layer.execute import in_order, refuse_no_images, some_images
from cimemu.layer.macro_layer import MacroLayer
from cimemu.lower import lower
from cimemu.ptq.folded import fit_activations, fold
from cimemu.ptq.levels import thresholds_of
from cimemu.ptq.placed import Placed, placed
from cimemu.ptq.psum_fit import View, errors_of, fit_linear, fit_table, grid, linear_adc, span_of
from cimemu.ptq.quantize import quantize
from cimemu.ptq.scheme import ArchConverter, GivenWeights, LinearConverter, NonlinearConverter, Scheme
from cimemu.ptq.weight_rule import SchemeWeights
from cimemu.threads import one_blas_thread
from cimemu.workload.network import Network

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LayerFit:
    """Errors of one layer's fit."""

    layer: str
    weight_error: float | None  # squared error / sum of squared weights
    psum_error: float | None = None  # squared error / variance on held-out images
    interior_error: float | None = None  # the same without the samples at the edges of the range
    folded: bool = False  # the converter applies the activation
    granularity: str = "layer"  # what shares levels


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network made by a scheme, and how well it was fitted."""

    network: Network
    layers: tuple[LayerFit, ...]


@one_blas_thread()
def apply_scheme(network: Network, arch: Arch, calibration: Any, scheme: Scheme) -> Fitted:
    """Quantise the float `network` by `scheme` for `arch` and fit its converters to `calibration`, [images, ...] or a dict of
    such arrays by input name.

    With `weights.kind` "given" the network is a quantised one, and converters alone are fitted.

    Converters are fitted on the first half of the calibration images, errors are measured on the second half. Raises
    WorkloadError or ArchError in one line.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> scheme = cimemu.read_scheme("layer")
    >>> fitted = cimemu.apply_scheme(network, arch, workload.calibration()[:16], scheme)
    >>> [fit.layer for fit in fitted.layers]
    ['stem', 'conv1', 'conv2', 'down', 'conv3', 'scores']
    >>> fitted.network.converters["stem"].bits
    6
    """
    images = calibration if isinstance(calibration, Mapping) else np.asarray(calibration)
    weighted, errors = quantized_weights(network, arch, images, scheme)
    samples = calibration_samples(weighted, arch, scheme, images)
    return with_converters(weighted, arch, placed(scheme, network), *samples, errors)


def quantized_weights(
    network: Network, arch: Arch, calibration: Any, scheme: Scheme
) -> tuple[Network, Mapping[str, float]]:
    """The integer network of `scheme` without converters, and its weight errors by layer."""
    for array in in_order(network, calibration):
        refuse_no_images(array)
    if isinstance(scheme.weights, GivenWeights):
        if not network.is_quantized:
            raise WorkloadError(
                f"network {network.name}: is float, weights.kind = given needs a quantised one; give uniform or binary"
            )
        return quantize(network, arch), {}
    if network.is_quantized:
        raise WorkloadError(
            f"network {network.name}: is quantised already, a scheme starts from the float network; leave --scheme out, "
            "or fit converters alone with weights.kind = given"
        )
    chip = load_arch(arch, scheme.overrides(arch.macro))
    macro, by_layer = chip.macro, placed(scheme, network)
    given = scheme.activations
    settings: dict[str, Any] = {"method": given.method, "percentile": given.percentile, "widths": by_layer.widths}
    moments = None
    if "output" in {getattr(one.weights, "method", "") for one in (scheme, *by_layer.own.values())}:
        plain = scheme.weights.model_copy(update={"method": "mse", "granularity": "channel", "slice_scales": False})
        first = quantize(network, chip, calibration, weights=SchemeWeights(plain, macro), **settings)
        moments = input_moments(first, macro, calibration)
    rule = SchemeWeights(scheme.weight_rule, macro, moments, by_layer.rules)
    made = quantize(network, chip, calibration, weights=rule, **settings)
    return with_column_scales(made, arch, scheme, rule), rule.errors


def with_column_scales(made: Network, arch: Arch, scheme: Scheme, rule: SchemeWeights) -> Network:
    """`made`, of weights by `rule`, with what its QDQ graph cannot say: finer scales, widths of the arch, the scheme."""
    assert made.qdq is not None
    return lower(
        replace(
            made.qdq,
            column_scales=rule.scaled,
            overrides=scheme.overrides(arch.macro),
            scheme=scheme.model_dump(mode="json"),
        ),
        arch.mapping.activations,
    )


def macro_of(arch: Arch, scheme: Scheme) -> Macro:
    """The arch's macro with the scheme's widths, encoding and converter."""
    return load_arch(arch, scheme.overrides(arch.macro)).macro


def calibration_samples(
    network: Network, arch: Arch, scheme: Scheme, images: Any
) -> tuple[list[PsumSamples], list[PsumSamples]]:
    """Partial sums of the first and of the second half of `images`, an array or a dict (the same where there is one image)."""
    if isinstance(scheme.converter, ArchConverter):
        return [], []
    macro = macro_of(arch, scheme)
    count = len(in_order(network, images)[0])
    half = max(1, count // 2)
    first, held_out = some_images(images, slice(half)), some_images(images, slice(half if count > 1 else 0, None))
    return list(psum_samples(network, macro, first)), list(psum_samples(network, macro, held_out, seed=1))


def with_converters(
    network: Network,
    arch: Arch,
    by_layer: Placed,
    samples: Iterable[PsumSamples],
    held_out: Iterable[PsumSamples],
    weight_errors: Mapping[str, float],
) -> Fitted:
    """`network` with the scheme's converter of every macro layer, fitted to `samples` and measured on `held_out`.

    `by_layer` is the scheme on the float network.
    """
    scheme = by_layer.scheme
    macro = macro_of(arch, scheme)
    network = replace(network, overrides=scheme.overrides(arch.macro), scheme=scheme.model_dump(mode="json"))
    layers = {layer.name: layer for layer in network.layers if isinstance(layer, MacroLayer)}
    if isinstance(scheme.converter, ArchConverter):
        return Fitted(network, tuple(LayerFit(name, weight_errors.get(name)) for name in layers))
    converters, fits = {}, []
    for seen, other in zip(samples, held_out):
        folded, spec = None, by_layer.of(seen.layer).converter
        assert not isinstance(spec, ArchConverter)  # a layer's own keys leave the kind as it is
        if isinstance(spec, LinearConverter):
            adc = linear_adc(*fit_linear(seen, spec), seen, spec, macro.adc.circuit)  # type: ignore[union-attr]
        else:
            if spec.source == "activations":
                folded = fold(layers[seen.layer], seen, macro)
            adc = _table(seen, spec, folded)
        every, inside = errors_of(other, adc, folded)
        converters[seen.layer] = adc
        shared = spec.granularity if folded is None else "column"
        fits.append(LayerFit(seen.layer, weight_errors.get(seen.layer), every, inside, folded is not None, shared))
    return Fitted(replace(network, converters=converters), tuple(fits))


def _table(samples: PsumSamples, spec: NonlinearConverter, folded: View | None) -> Adc:
    """A nonlinear converter of fitted levels, its thresholds as the ramp makes them."""
    granularity: str = spec.granularity
    if folded is None:
        levels = fit_table(samples, spec)
        thresholds = thresholds_of(levels)
    else:
        thresholds, levels = fit_activations(samples, folded, spec)
        granularity = "column"  # biases and channel scales place every column's ramp elsewhere
    cells = None
    if spec.ramp is not None:
        thresholds, cells = _ramped(samples, thresholds, levels[..., 0], spec, granularity)
    return NonlinearAdc(
        circuit="ramp",
        bits=spec.bits,
        thresholds=grid(thresholds, samples, "array" if granularity == "layer" and spec.ramp else granularity),
        levels=grid(levels, samples, "array" if granularity == "layer" and spec.ramp else granularity),
        ramp_cells=cells,
    )


def _ramped(
    samples: PsumSamples, thresholds: Floats, lowest: Floats, spec: NonlinearConverter, granularity: str
) -> tuple[Floats, int]:
    """Thresholds [row blocks, columns, T] of whole reference cells: a ramp an array, or a column where these differ."""
    ramp = spec.ramp
    assert ramp is not None
    low, high = span_of(samples)
    delta = ramp.cell_psum or max(1e-9, (high - low) / 1023)
    by_array = [first for first, _ in samples.arrays]  # one ramp serves a layer's arrays one by one
    columns = {"column": list(range(samples.columns)), "array": by_array, "layer": by_array}[granularity]
    wanted = thresholds[:, columns].reshape(-1, thresholds.shape[2])
    # a ramp starts on the grid of its bias cells, at or below the lowest level
    start = np.floor(np.minimum(lowest[:, columns].reshape(-1), wanted[:, 0]) / delta) * delta
    counts = ramp_cells(wanted, start, delta)
    made = ramp_thresholds(counts, start, delta, ramp.mismatch, ramp.seed, samples.layer)
    made = made.reshape(samples.blocks, len(columns), -1)
    if granularity != "column":
        repeats = [last - first for first, last in samples.arrays]
        made = np.repeat(made, repeats, axis=1)
    return made, int(counts.sum(axis=1).max())
