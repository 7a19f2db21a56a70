"""BWMA's hardware claim (arXiv 2508.21524): with binary weights, 4-bit activations are best. Under which cost model?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.load import load_arch
from cimemu.claims.resnet import resnet20
from cimemu.emulate import run
from cimemu.ptq import quantize
from cimemu.workload.network import Network

BITS = (1, 2, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class BitsRow:
    """Binary-weight ResNet-20 with activations of `bits`, one image."""

    bits: int
    energy_nj: float
    latency_us: float
    area_mm2: float
    conversions: int
    accuracy: float | None = None  # of a trained ResNet-20 with activations of so many bits, weights of 8, exact sums


def binary_chip(bits: int, *, multibit_dac: bool = False) -> dict[str, Any]:
    """128 x 128 binary cells, a 5-bit SAR for 8 columns, inputs bit by bit or in one slice."""
    dac_bits = bits if multibit_dac else 1
    top = 128 * (2**dac_bits - 1)
    return {
        "macro.weight": {"bits": 1, "encoding": "binary"},
        "macro.input": {"bits": bits, "dac_bits": dac_bits},
        "macro.adc": {"model": "linear", "circuit": "sar", "bits": 5, "lsb": top / 2 / 31},
    }


def bits_rows(
    *, multibit_dac: bool = False, images: int = 1, seed: int = 0, accuracies: Mapping[int, float] | None = None
) -> list[BitsRow]:
    """A row a width, every one a run of ResNet-20's shapes with random binary weights on `rram_128` turned binary.

    `accuracies` by bits (see `accuracies_by_bits`) are put beside.
    """
    rows = []
    for bits in BITS:
        arch = load_arch("rram_128", binary_chip(bits, multibit_dac=multibit_dac))
        network = resnet20(bits, 1, seed=seed)
        inputs = np.random.default_rng(seed + 1).integers(0, 2**bits, (images, 3, 32, 32)).astype(np.uint8)
        result = run(arch, network, inputs)
        assert result.energy_uj is not None
        assert result.latency_us is not None
        assert result.tally is not None
        rows.append(
            BitsRow(
                bits=bits,
                energy_nj=1000 * result.energy_uj / images,
                latency_us=result.latency_us / images,
                area_mm2=float(result.tally.area_um2.sum()) / 1e6,
                conversions=result.conversions // images,
                accuracy=None if accuracies is None else accuracies[bits],
            )
        )
    return rows


def accuracies_by_bits(
    network: Network, calibration: NDArray[Any], images: NDArray[Any], labels: NDArray[Any]
) -> dict[int, float]:
    """Accuracy of a trained float `network` whose activations have so many bits (8-bit weights, exact sums)."""
    found = {}
    for bits in BITS:
        arch = load_arch("rram_128", {"macro.input.bits": bits, "macro.adc": "ideal"})
        quantized = quantize(network, arch, calibration=calibration, method="mse")
        accuracy = run(arch, quantized, images, labels, detail=None).accuracy
        assert accuracy is not None
        found[bits] = accuracy
    return found


MEASURES: dict[str, Callable[[BitsRow], float]] = {
    "energy": lambda row: row.energy_nj,
    "energy x latency": lambda row: row.energy_nj * row.latency_us,
    "energy x latency x area": lambda row: row.energy_nj * row.latency_us * row.area_mm2,
    "energy a correct image": lambda row: row.energy_nj / max(1e-9, row.accuracy or 0.0),
    "energy x error rate": lambda row: row.energy_nj * (1 - (row.accuracy or 0.0)),
    "energy x error rate^2": lambda row: row.energy_nj * (1 - (row.accuracy or 0.0)) ** 2,
    "least bits within 1 point": lambda row: row.bits,
}


def best_bits(rows: list[BitsRow]) -> dict[str, int]:
    """The width that each cost model calls best; those with accuracy only where it is known."""
    known = rows[0].accuracy is not None
    best = {}
    for name, measure in MEASURES.items():
        if ("image" in name or "rate" in name or "point" in name) and not known:
            continue
        among = rows
        if "point" in name:
            top = max(row.accuracy or 0.0 for row in rows)
            among = [row for row in rows if (row.accuracy or 0.0) >= top - 0.01]
        best[name] = min(among, key=measure).bits
    return best
