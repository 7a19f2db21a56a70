"""Rules of `float_rules` for the operators that are functions of elements, of axes, of windows, and for normalisations."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cimemu.check.float_rules import TINY, Floats, Rule, U, averaged, compared, gamma, largest, monotone, rounded, steep


def settled(ulps: float = 0.0) -> Rule:
    """Equal operands give results `ulps` roundings apart; operands that are apart leave the result open."""

    def rule(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
        open_ends = any(d.any() for d in apart)
        return np.full(y.shape, np.inf) if open_ends else (rounded(y, ulps) if ulps else np.zeros(y.shape))

    return rule


def laid_out(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Elements of the first operand change their places only; the others are numbers of places."""
    if any(d.any() for d in apart[1:]):
        return np.full(y.shape, np.inf)
    return np.asarray(layer.forward([apart[0], *(v.astype(np.int64) for v in x[1:])])[0])


def put(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Updates at places: exact where nothing is apart and nothing is added."""
    return settled(0.0 if getattr(layer, "reduction", "none") == "none" else 64.0)(layer, x, apart, y)


def scaled_sums(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Equal sums times two scales, and a bias: four roundings."""
    largest_term = np.abs(y) + float(np.abs(layer.bias).max())
    return np.full(y.shape, np.inf) if any(d.any() for d in apart) else rounded(largest_term, 4)


def flips(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A truth value may flip where an operand is apart."""
    return np.asarray(sum(np.broadcast_to(d, y.shape) for d in apart) > 0, dtype=np.float64)


def signed(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A sign may turn where the operand's interval holds 0."""
    return np.where((apart[0] > 0) & (np.abs(x[0]) <= apart[0]), 2.0, 0.0)


def jumping(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Slope 1, and a jump at a threshold."""
    v, d = x[0], apart[0]
    shrinks = layer.op == "Shrink"
    from_it = np.abs(np.abs(v) - layer.lambd) if shrinks else np.abs(v - layer.alpha)
    jump = np.where((d > 0) & (from_it <= d), np.abs(v) + (abs(layer.bias) if shrinks else 0.0), 0.0)
    return d + jump + (rounded(y) if shrinks else 0.0)


def celu(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Slope 1; the exponential less 1 to a few units of 1, times alpha."""
    return apart[0] + rounded(y, 8, abs(layer.alpha) * 2.0**-22)


def mean_of_all(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A sum of operands over their number."""
    magnitude = sum(np.abs(v) for v in x)
    return np.asarray((sum(apart) + gamma(len(x) + 1) * magnitude) / len(x) + TINY)


def log_softmax(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """The logit below the largest, and the logarithm of a sum that softmax's own analysis bounds."""
    axis = layer.axis % x[0].ndim
    axes = tuple(range(axis, x[0].ndim)) if layer.flatten else (axis,)
    terms = float(np.prod([x[0].shape[a] for a in axes]))
    below = x[0].max(axis=axes, keepdims=True) - x[0]
    worst = apart[0].max(axis=axes, keepdims=True)
    exponential = 4 * worst + 8 * U * np.minimum(below.max(axis=axes, keepdims=True), 104.0) + 16 * U
    return np.asarray(apart[0] + worst + np.expm1(exponential) + gamma(terms + 2) + 4 * U * below + rounded(y, 8))


def running(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Sums of up to as many terms as the axis has."""
    terms = float(x[0].shape[layer.axis])
    return np.asarray(layer.forward([apart[0]])[0] + gamma(terms) * layer.forward([np.abs(x[0])])[0] + TINY)


def product(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Products of many factors: open where a factor is apart."""
    terms = x[0].size / max(1, y.size) if y.size < x[0].size else float(max(x[0].shape))
    return settled(terms)(layer, x, apart, y)


def squares(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A sum of squares."""
    terms = x[0].size / y.size
    moved = (2 * np.abs(x[0]) * apart[0] + apart[0] ** 2).sum(axis=layer.axes, keepdims=layer.keepdims)
    return np.asarray(moved + gamma(terms + 2) * np.abs(y) + TINY)


def log_of_sum(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """The logarithm of a sum: the sum's relative error."""
    terms = x[0].size / y.size
    over = {"axis": layer.axes, "keepdims": layer.keepdims}
    total = np.abs(x[0].sum(**over))
    error = apart[0].sum(**over) + gamma(terms) * np.abs(x[0]).sum(**over)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(error < total, -np.log1p(-np.minimum(error / total, 1.0)), np.inf)
    return np.asarray(relative + rounded(y, 8, 2.0**-23))


def log_of_powers(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """The logarithm of a sum of exponentials moves no further than the largest operand's distance."""
    terms = x[0].size / y.size
    reach = np.abs(x[0]).max(axis=layer.axes, keepdims=layer.keepdims)
    moved = apart[0].max(axis=layer.axes, keepdims=layer.keepdims)
    return np.asarray(moved + 8 * U * np.minimum(2 * reach, 208.0) + gamma(terms + 8) + rounded(y, 8))


def centred(v: Floats, d: Floats, axes: tuple[int, ...], epsilon: float) -> tuple[Floats, Floats]:
    """(error of (v - mean) / deviation, 1 / deviation): `normalised` of float_rules without the scale."""
    terms = float(np.prod([v.shape[a] for a in axes]))
    mean, square = v.mean(axis=axes, keepdims=True), np.square(v).mean(axis=axes, keepdims=True)
    variance = np.square(v - mean).mean(axis=axes, keepdims=True) + epsilon
    mean_error = d.mean(axis=axes, keepdims=True) + gamma(terms + 1) * np.abs(v).mean(axis=axes, keepdims=True)
    square_error = (2 * np.abs(v - mean) * d + d * d).mean(axis=axes, keepdims=True) + 2 * gamma(terms + 3) * square
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = _of_root((square_error + 2 * np.square(mean_error)) / variance)
        factor = 1 / np.sqrt(variance)
    error = (d + mean_error + 2 * U * (np.abs(v) + np.abs(mean))) * (1 + relative)
    return factor * (error + np.abs(v - mean) * (relative + 10 * U)), factor


def by_groups(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Normalisation of groups of channels, then scale and bias."""
    v, channels = x[0], x[0].shape[1]
    rows = (len(v), layer.groups or channels, -1)
    error, _ = centred(v.reshape(rows), np.asarray(apart[0]).reshape(rows), (2,), layer.epsilon)
    shape = (channels,) + (1,) * (v.ndim - 2)
    scale, bias = (np.abs(np.repeat(p, channels // p.size).reshape(shape)) for p in x[1:])
    return np.asarray(scale * error.reshape(v.shape) + rounded(y, 2) + 2 * U * bias)


def by_axes(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Normalisation over axes, without scale and bias."""
    return np.asarray(centred(x[0], apart[0], layer.axes, 0.0)[0] + rounded(y, 2))


def by_root(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """An element over a root of a mean of squares, or over a norm, times a scale."""
    v, d = x[0], apart[0]
    root = layer.op == "RMSNormalization"
    axes = tuple(range(layer.axis % v.ndim, v.ndim)) if root else (layer.axis % v.ndim,)
    terms = float(np.prod([v.shape[a] for a in axes]))
    order = 2 if root else layer.p
    size = (np.abs(v) ** order).mean(axis=axes, keepdims=True) + (layer.epsilon if root else 0.0)
    moved = (2 * np.abs(v) * d + d * d) if order == 2 else d
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = _of_root(moved.mean(axis=axes, keepdims=True) / size + gamma(terms + 4)) * (3 - order)
        share = np.abs(y) / np.where(v == 0, 1.0, np.abs(v))
        share = np.where(v == 0, np.max(share, axis=axes, keepdims=True), share)
    return np.asarray(share * (d * (1 + relative) + np.abs(v) * (relative + 8 * U)) + rounded(y, 2))


def by_neighbours(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """An element over a power of a sum of squares near it."""
    if apart[0].any():
        return np.full(y.shape, np.inf)
    return rounded(y, 16 + layer.beta * (layer.size + 8))


def of_windows(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Means and norms of windows, and sums of overlapping ones: as many terms as a window has elements."""
    if layer.op == "Fold":
        terms = float(np.prod(layer.windows.kernel))
    else:
        terms = float(np.prod(x[0].shape[2:] if layer.op == "GlobalLpPool" else layer.kernel_shape))
    return np.asarray(layer.forward([apart[0]])[0] + gamma(terms + 8) * layer.forward([np.abs(x[0])])[0] + TINY)


def looked_up(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Weights of a few elements near a place: the place itself errs by a few units of the image's size in float32."""
    if any(d.any() for d in apart[1:]):
        return np.full(y.shape, np.inf)
    mode = layer.rule.mode if layer.op == "Resize" else layer.mode
    # Weights of a line are at least 0 and add up to 1; those of a cubic one may be negative, of 2 in all at most.
    carried = (
        layer.forward([apart[0], *x[1:]])[0] if mode != "cubic" else np.full(y.shape, 2 * apart[0].max(initial=0.0))
    )
    reach = np.abs(x[0]).max(initial=0.0)
    size = float(max(x[0].shape[2:], default=1))
    return np.asarray(np.abs(carried) + (0.0 if mode == "nearest" else 64 * U * reach * (size + 16) + TINY))


def summed(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Products of operands summed: open where an operand is apart."""
    if any(d.any() for d in apart):
        return np.full(y.shape, np.inf)
    terms = max(1.0, float(np.prod([v.size for v in x])) / max(1, y.size))
    return np.asarray(gamma(min(terms, 2.0**20) + len(x)) * layer.forward([np.abs(v) for v in x])[0] + TINY)


def spread(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A Fourier transform: every result is a sum of all elements along the axis."""
    total = (np.abs(x[0]).sum(axis=layer.axis, keepdims=True)).max(axis=-1, keepdims=True)
    moved = (apart[0].sum(axis=layer.axis, keepdims=True)).max(axis=-1, keepdims=True)
    return np.broadcast_to(2 * moved + 2 * gamma(x[0].shape[layer.axis] + 16) * total + TINY, y.shape)


def turned(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Two products and their sum, of elements of one head."""
    tables = max(float(np.abs(x[1]).max(initial=0.0)), float(np.abs(x[2]).max(initial=0.0)))
    reach = np.abs(x[0]).max(axis=-1, keepdims=True)
    moved = apart[0].max(axis=-1, keepdims=True) + 8 * U * reach
    return np.broadcast_to(2 * tables * moved + TINY, y.shape)


def _of_root(share: Floats) -> Floats:
    """Relative error of 1 / sqrt(v) where v has the relative error `share`."""
    return np.where(share < 0.5, 1 / np.sqrt(1 - np.minimum(share, 0.5)) - 1, np.inf)


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Tile", "Trilu", "DepthToSpace", "SpaceToDepth", "ReverseSequence", "Unfold", "GatherElements", "GatherND"),
        laid_out,
    ),
    **dict.fromkeys(("ScatterElements", "ScatterND"), put),
    **dict.fromkeys(("Hardmax", "ArgMax", "ArgMin", "OneHot", "Mod"), settled()),
    **dict.fromkeys(("GreaterOrEqual", "LessOrEqual"), compared),
    **dict.fromkeys(("Xor", "IsNaN", "IsInf"), flips),
    **dict.fromkeys(("ThresholdedRelu", "Shrink"), jumping),
    **dict.fromkeys(("CumProd", "ReduceProd"), product),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization"), by_groups),
    **dict.fromkeys(("RMSNormalization", "LpNormalization"), by_root),
    **dict.fromkeys(("AveragePool3d", "LpPool", "GlobalLpPool", "Fold"), of_windows),
    **dict.fromkeys(("Sin", "Cos", "Atan", "Asinh"), steep(1.0, 8, absolute=2.0**-23)),
    **dict.fromkeys(("Asin", "Acos", "Sinh", "Cosh", "Atanh", "Log"), monotone(8, 2.0**-22)),
    **dict.fromkeys(("Mish", "Swish"), steep(1.1, 8, per_x=2.0**-22)),
    **dict.fromkeys(("Resize", "GridSample"), looked_up),
    "AffineGrid": settled(64),
    "Einsum": summed,
    "Acosh": monotone(8, 2.0**-22, low=1.0),
    "Tan": settled(16),
    "SwiGLU": settled(32),
    "DFT": spread,
    "TensorScatter": put,
    "Det": settled(1e6),
    "Selu": steep(1.7581, 8, absolute=2.0**-21),
    "Celu": celu,
    "Softsign": steep(1.0, 4),
    "Sign": signed,
    "Mean": mean_of_all,
    "LogSoftmax": log_softmax,
    "CumSum": running,
    "ReduceL1": averaged,
    "ReduceSumSquare": squares,
    "ReduceLogSum": log_of_sum,
    "ReduceLogSumExp": log_of_powers,
    "MeanVarianceNormalization": by_axes,
    "LRN": by_neighbours,
    "MaxPool3d": largest,
    "RotaryEmbedding": turned,
    "HybridScale": scaled_sums,
}
EXACT = {"BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}  # operators of integers alone
OPEN = {"Attention", "TopK"}  # of several outputs, without a bound: their floats are compared and not judged
