"""Where a layer's activation lives in partial sums: a ramp between these bounds applies ReLU and clamp by itself."""

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.compute.psum_samples import PsumSamples
from cimemu.encoding import UNCORRECTED
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.requantize import FixedPoint, Fp32HalfEven, Fp64HalfAway
from cimemu.ptq.levels import fit_levels, thresholds_of
from cimemu.ptq.psum_fit import BINS, View, groups_of
from cimemu.ptq.scheme import NonlinearConverter

Floats = NDArray[np.float64]


def fold(layer: MacroLayer, samples: PsumSamples, macro: Macro) -> View | None:
    """How a psum is the activation (codes from the zero point), None where a psum is not the whole accumulator."""
    stage = layer.stage
    whole = samples.steps_per_output == 1 and macro.correction == UNCORRECTED
    if not whole or not isinstance(stage, Fp32HalfEven | Fp64HalfAway | FixedPoint) or layer.column_scale is not None:
        return None
    if bool((samples.place != 1).any()) or layer.weight_zero_point.any():
        return None
    gain = np.broadcast_to(_gain(stage), (samples.columns,))
    return View(
        gain=gain,
        shift=gain * samples.zero,
        low=float(stage.low - stage.zero_point),
        high=float(stage.high - stage.zero_point),
    )


def _gain(stage: Fp32HalfEven | Fp64HalfAway | FixedPoint) -> Floats:
    """Codes of the activation a unit of the accumulator, [1] or [channels_out]."""
    if not isinstance(stage, FixedPoint):
        return np.asarray(stage.multiplier, dtype=np.float64)
    return np.asarray(np.ldexp(stage.q31.astype(np.float64), stage.shift - 31))


def fit_activations(samples: PsumSamples, folded: View, spec: NonlinearConverter) -> tuple[Floats, Floats]:
    """(thresholds, levels) [row blocks, columns, ...] in psums, from levels fitted to the activations."""
    values = folded.low + (folded.high - folded.low) * np.linspace(0, 1, BINS)
    groups = groups_of(samples, spec.granularity)
    weights = np.zeros((int(groups.max()) + 1, BINS))
    for step in samples.steps:
        columns = slice(step.first, step.first + step.psums.shape[1])
        real = step.psums * folded.gain[columns] - folded.shift[columns]
        share = (np.clip(real, folded.low, folded.high) - folded.low) / max(folded.high - folded.low, 1e-12)
        index = np.rint(share * (BINS - 1)).astype(np.int64)
        base = np.arange(index.shape[1]) * BINS
        hits = np.bincount((index + base).ravel(), minlength=BINS * index.shape[1]).reshape(-1, BINS)
        np.add.at(weights, groups[step.block, columns], hits)
    levels = fit_levels(values, weights, 2**spec.bits, spec.method)[groups]
    gain, shift = folded.gain[None, :, None], folded.shift[None, :, None]
    return (thresholds_of(levels) + shift) / gain, (levels + shift) / gain
