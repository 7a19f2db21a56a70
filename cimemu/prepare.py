"""From a workload and a chip to an integer network: load, quantise as the workload says, fit converters."""

from pathlib import Path
from typing import Any

from cimemu.arch.schema import Arch
from cimemu.importer import load_network
from cimemu.ptq import calibrate_converters, quantize
from cimemu.workload.manifest import Workload
from cimemu.workload.network import Network


def quantized_network(workload: Workload, arch: Arch, *, converters: str | None = None, module: Any = None) -> Network:
    """The workload's network for `arch`; an integer network passes through.

    `converters` "layer", "array" or "column" fits every layer's linear converter to the calibration images.
    `module` is for PyTorch weights, as in `load_network`.
    """
    shape = workload.inputs(1)[0].shape[1:] if module is not None else None
    network = load_network(workload.network, module=module, input_shape=shape)
    settings = workload.manifest.quantize
    images = workload.calibration() if not network.is_quantized or converters else None
    quantized = quantize(
        network,
        arch,
        calibration=images,
        weight_granularity=settings.weights,
        method=settings.activations,
        percentile=settings.percentile,
    )
    if converters is None:
        return quantized
    assert images is not None
    return calibrate_converters(quantized, arch, images[:64], granularity=converters)


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """A file name in `folder` that nothing has yet: stem, stem_2, stem_3 ..."""
    number = 1
    while True:
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}_{number}{suffix}")
        if not path.exists():
            return path
        number += 1
