"""Fits linear converters to the partial sums that calibration images really make (a step and a zero per layer, array or column)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import LinearAdc
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.errors import ArchError, WorkloadError
from cimemu.layer.execute import in_order, refuse_no_images
from cimemu.threads import one_blas_thread
from cimemu.workload.network import Network

GRANULARITIES = ("layer", "array", "column")
TRIED = 48  # clipping points tried between the whole range and an eighth of it


@one_blas_thread()
def calibrate_converters(
    network: Network,
    arch: Arch | Macro,
    calibration: Any,
    *,
    granularity: str = "layer",
    vectors: int = 2048,
) -> Network:
    """`network` with a linear converter per macro layer, of the arch's bits, fitted to calibration images.

    `granularity` "layer", "array" or "column": how many (lsb, zero) pairs a layer has. Each pair minimises the squared
    error of the values that go on, over the psums that `calibration` [images, ...] makes with a lossless converter,
    a psum weighed by the square of its place in the shift-add. The candidates are the same for every granularity of
    a layer, so a finer one never has a larger error. `lsb` and `zero` are in units of a psum; at most `vectors` input
    vectors of a layer are looked at. Raises ArchError for an arch without a linear converter, WorkloadError for another
    word, or for calibration images that the network does not take.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128", {"macro.adc.bits": 5})
    >>> network = cimemu.load_network(workload.network)
    >>> images = workload.calibration()[:16]
    >>> quantized = cimemu.quantize(network, arch, images)
    >>> fitted = cimemu.calibrate_converters(quantized, arch, images)
    >>> fitted.converters["conv1"].bits, len(fitted.converters)
    (5, 6)
    """
    from cimemu.compute.histograms import psum_histograms

    macro = arch.macro if isinstance(arch, Arch) else arch
    if granularity not in GRANULARITIES:
        raise WorkloadError(f"granularity = {granularity!r}, must be one of {', '.join(GRANULARITIES)}")
    if not isinstance(macro.adc, LinearAdc):
        raise ArchError(
            f"macro.adc.model = {getattr(macro.adc, 'model', '')}, converters are calibrated for model linear only"
        )
    for array in in_order(network, calibration):
        refuse_no_images(array)
    converters = {}
    for histogram in psum_histograms(network, macro, calibration, vectors=vectors):
        lsb, zero = fit_linear(
            histogram.counts,
            histogram.low,
            histogram.significance,
            histogram.columns_of_array,
            macro.adc.bits,
            granularity,
        )
        converters[histogram.layer] = macro.adc.model_copy(update={"lsb": lsb, "zero": zero})
    return replace(network, converters=converters)


def fit_linear(
    counts: NDArray[np.float64],
    low: int,
    significance: NDArray[np.float64],
    arrays: Sequence[tuple[int, int]],
    bits: int,
    granularity: str,
) -> tuple[Any, Any]:
    """(lsb, zero) as numbers, or lists [row blocks][arrays] or [row blocks][columns], for psum counts
    [row blocks, columns, values from `low`]."""
    lsbs, zeros = _candidates(counts.sum(axis=(0, 1)), low, bits)
    values = low + np.arange(counts.shape[2])
    codes = np.floor((values[None] - zeros[:, None]) / lsbs[:, None] + 0.5).clip(0, 2**bits - 1)
    squared = (zeros[:, None] + codes * lsbs[:, None] - values[None]) ** 2  # [candidates, values]
    weighed = counts * significance[None, :, None]
    if granularity == "layer":
        best = int((squared @ weighed.sum(axis=(0, 1))).argmin())
        return float(lsbs[best]), float(zeros[best])
    if granularity == "array":
        weighed = np.stack([weighed[:, first:last].sum(axis=1) for first, last in arrays], axis=1)
    elif granularity != "column":
        raise WorkloadError(f"granularity = {granularity!r}, must be layer, array or column")
    chosen = np.einsum("cv,rkv->rkc", squared, weighed, optimize=True).argmin(axis=2)
    return lsbs[chosen].tolist(), zeros[chosen].tolist()


def _candidates(total: NDArray[np.float64], low: int, bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and zeros tried: every clipping from the whole observed range inwards, and whole steps where they cover it."""
    seen = np.flatnonzero(total)
    first, last = low + int(seen[0]), low + int(seen[-1])
    mass = np.cumsum(total) / total.sum()
    middle = low + int(np.searchsorted(mass, 0.5))
    bottoms = np.unique(np.linspace(first, middle, TRIED // 2))
    tops = np.unique(np.linspace(middle, last, TRIED))
    pairs = np.array([(a, b) for a in bottoms for b in tops if b > a] or [(first, first + 1)], dtype=np.float64)
    lsbs = (pairs[:, 1] - pairs[:, 0]) / (2**bits - 1)
    zeros = pairs[:, 0]
    whole = np.arange(first, middle + 1, dtype=np.float64)  # lsb 1: exact where the range is covered
    return np.concatenate([np.ones(len(whole)), lsbs]), np.concatenate([whole, zeros])


def converters_of(network: Network) -> Mapping[str, Any]:
    """The fitted converters as plain values, by layer."""
    return {name: adc.model_dump(mode="json") for name, adc in network.converters.items()}
