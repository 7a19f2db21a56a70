"""BS-KMQ's system claim (arXiv 2603.10540): ResNet-18 at 6/2/3 bits with an in-memory nonlinear converter against a
linear SAR of the same array, node and weights, at equal measured error on the psums of ResNet-20."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.claims.resnet import resnet18
from cimemu.compute.histograms import psum_histograms
from cimemu.emulate import run
from cimemu.errors import WorkloadError
from cimemu.ptq import quantize
from cimemu.ptq.levels import fit_levels, squared_error, thresholds_of
from cimemu.workload.network import Network

BASE = "cityu_imadc_2026"
METHODS = ("linear", "linear_mse", "bs_kmq_pin", "bs_kmq_drop", "kmeans")
INPUT_BITS, WEIGHT_BITS, NONLINEAR_BITS = 6, 2, 3
MOST_BITS = 7
LINEAR = ("linear", "linear_mse")  # over the whole range seen, and clipped for the least squared error


@dataclass(frozen=True)
class Choice:
    """A converter of the comparison."""

    name: str
    overrides: dict[str, Any]


@dataclass(frozen=True)
class ErrorRow:
    """Squared error of one way of choosing levels, over all psums of a network's macro layers, relative to their power."""

    method: str
    bits: int
    relative_error: float


def psum_errors(network: Network, arch: Arch, images: NDArray[Any], *, vectors: int = 256) -> list[ErrorRow]:
    """Errors of 3-bit levels by every method and of linear levels of more bits; a set of levels a layer.

    `network` is float; it is quantised to the arch's bits with `images` [images, ...], whose psums are measured too.
    """
    quantized = quantize(network, arch, calibration=images)
    wanted = [(method, NONLINEAR_BITS) for method in METHODS]
    wanted += [(method, bits) for bits in range(NONLINEAR_BITS + 1, MOST_BITS + 1) for method in LINEAR]
    errors = dict.fromkeys(wanted, 0.0)
    power = 0.0
    for histogram in psum_histograms(quantized, arch.macro, images, vectors=vectors):
        weights = histogram.counts.sum(axis=(0, 1))[None]
        values = histogram.low + np.arange(weights.shape[1], dtype=np.float64)
        seen = np.flatnonzero(weights[0])
        weights, values = weights[:, seen[0] : seen[-1] + 1], values[seen[0] : seen[-1] + 1]
        power += float((weights * values**2).sum())
        for method, bits in wanted:
            levels = fit_levels(values, weights, 2**bits, method)
            errors[method, bits] += float(squared_error(values, weights, levels).sum())
    if power == 0:
        raise WorkloadError("images: every partial sum is zero, give images of the data set")
    return [ErrorRow(method, bits, error / power) for (method, bits), error in errors.items()]


def equal_bits(rows: list[ErrorRow], method: str) -> tuple[int, int]:
    """Bits that linear levels (over the whole range, clipped) need for no larger an error than 3-bit `method`."""
    limit = next(row.relative_error for row in rows if (row.method, row.bits) == (method, NONLINEAR_BITS))
    needed = []
    for linear in LINEAR:
        enough = [row.bits for row in rows if row.method == linear and row.relative_error <= limit]
        if not enough:
            raise WorkloadError(f"{linear} levels of {MOST_BITS} bits err more than {method} of {NONLINEAR_BITS}")
        needed.append(min(enough))
    return needed[0], needed[1]


def layer_levels(network: Network, arch: Arch, images: NDArray[Any], method: str) -> tuple[list[float], list[float]]:
    """Thresholds and levels of the layer with the most conversions, scaled to whole psums: the ramp that is built."""
    quantized = quantize(network, arch, calibration=images)
    histogram = max(psum_histograms(quantized, arch.macro, images, vectors=256), key=lambda h: h.counts.sum())
    weights = histogram.counts.sum(axis=(0, 1))[None]
    values = histogram.low + np.arange(weights.shape[1], dtype=np.float64)
    levels = np.rint(fit_levels(values, weights, 2**NONLINEAR_BITS, method))
    return thresholds_of(levels)[0].tolist(), levels[0].tolist()


def base_arch() -> Arch:
    """The array of both: 256 x 128 ternary cells at 65 nm, 6-bit inputs, 2-bit weights, room for all of ResNet-18."""
    return load_arch(BASE, _common({"model": "ideal"}))


def _common(adc: dict[str, Any], dac_bits: int = INPUT_BITS) -> dict[str, Any]:
    pulses = full_scale_pulses(dac_bits)
    return {
        "chip.tiles": 64,
        "tile.macros": 8,
        "tile.input_buffer.size_kib": 64,
        "tile.output_buffer.size_kib": 16,
        "macro.weight.bits": WEIGHT_BITS,
        "macro.input": {"bits": INPUT_BITS, "dac_bits": dac_bits},
        "macro.timing.wordline_cycles": dac_bits,
        "macro.adc": adc,
        "costs.wordline.energy_scale": pulses,
        "costs.cell_level.estimator.ff": 0.3 * pulses,
    }


def full_scale_pulses(bits: int) -> float:
    """Pulses that a slice of `bits` at full scale stands for, where the chip drives one for every bit that is 1.

    Slices are counted with their squares; of uniform values they come to bits / 2 pulses in the mean.
    """
    top = 2**bits - 1
    mean_square = (2 * top + 1) / (6 * top)  # of 0 .. top, over top^2
    made: float = bits / 2 / mean_square
    return made


def choices(thresholds: list[float], levels: list[float], linear_bits: int) -> list[Choice]:
    """The nonlinear in-memory ramp, and linear SARs of `linear_bits` that eight columns share."""
    nonlinear = {
        "model": "nonlinear", "circuit": "ramp", "bits": NONLINEAR_BITS, "thresholds": thresholds, "levels": levels,
    }  # fmt: skip
    span = levels[-1] - levels[0]
    linear = {
        "model": "linear",
        "circuit": "sar",
        "bits": linear_bits,
        "lsb": span / (2**linear_bits - 1),
        "zero": levels[0],
    }
    ours = Choice(f"nonlinear ramp, {NONLINEAR_BITS} bits, a column", _common(nonlinear))
    made = [ours]
    for dac_bits, inputs in ((INPUT_BITS, "inputs weighed before it"), (1, "a bit of the input a conversion")):
        for estimator, what in (({"model": "sar"}, "same comparator"), ({"model": "survey"}, "survey")):
            shared = {"macro.columns_per_adc": 8, "costs.adc.estimator": estimator}
            name = f"SAR, {linear_bits} bits for 8 columns, {what}, {inputs}"
            made.append(Choice(name, {**_common(linear, dac_bits), **shared}))
    return made


@dataclass(frozen=True)
class SystemRow:
    """ResNet-18 on one chip, one image after another."""

    converter: str
    latency_us: float
    energy_uj: float
    adc_uj: float
    macro_uj: float  # converters, wordlines, cells and shift-adds: counted events alone
    leakage_uj: float  # of the whole chip
    adc_mm2: float
    chip_mm2: float


def system_rows(chosen: list[Choice], *, side: int = 64, seed: int = 0) -> list[SystemRow]:
    """One random image through ResNet-18's shapes on every chip."""
    network = resnet18(INPUT_BITS, WEIGHT_BITS, side=side, seed=seed)
    image = np.random.default_rng(seed + 1).integers(0, 2**INPUT_BITS, (1, 3, side, side)).astype(np.uint8)
    rows = []
    for choice in chosen:
        arch = load_arch(BASE, choice.overrides)
        result = run(arch, network, image)
        tally = result.tally
        assert tally is not None
        assert result.latency_us is not None
        energy = dict(zip(tally.components, tally.energy_pj[:-1].sum(axis=0) / 1e6))
        leakage = float(tally.energy_pj[-1].sum()) / 1e6
        area = dict(zip(tally.components, tally.area_um2 / 1e6))
        macro = sum(energy[name] for name in ("adc", "wordline", "cell", "cell_level", "shift_add", "sample_hold"))
        rows.append(
            SystemRow(
                converter=choice.name,
                latency_us=result.latency_us,
                energy_uj=float(sum(energy.values())) + leakage,
                adc_uj=float(energy["adc"]),
                macro_uj=float(macro),
                leakage_uj=leakage,
                adc_mm2=float(area["adc"]),
                chip_mm2=float(sum(area.values())),
            )
        )
    return rows
