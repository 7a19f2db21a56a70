"""From a workload and a chip to an integer network: load, quantise as the workload says, fit converters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.importer import load_network
from cimemu.layer.execute import first_images
from cimemu.ptq import calibrate_converters, quantize
from cimemu.workload.manifest import QuantizeSettings, Workload
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class Recipe:
    """A loaded network and all that quantising it for a chip needs; no file is read any more."""

    network: Network
    settings: QuantizeSettings
    calibration: Any  # an array, a dict of arrays by input name, or None

    def for_arch(self, arch: Arch, *, converters: str | None = None) -> Network:
        """The network for `arch`; an integer network passes through.

        `converters` "layer", "array" or "column" fits every layer's linear converter to the calibration images.
        """
        quantized = quantize(
            self.network,
            arch,
            calibration=self.calibration,
            weight_granularity=self.settings.weights,
            method=self.settings.activations,
            percentile=self.settings.percentile,
        )
        if converters is None:
            return quantized
        if self.calibration is None:
            raise WorkloadError(f"network {self.network.name}: has no calibration images, converters cannot be fitted")
        return calibrate_converters(quantized, arch, first_images(self.calibration, 64), granularity=converters)


def load_recipe(workload: Workload, *, module: Any = None, calibrate: bool = False) -> Recipe:
    """The workload's network and settings, with calibration images where it is float or `calibrate` asks for them.

    `module` is for PyTorch weights, as in `load_network`.
    """
    shape = workload.inputs(1)[0].shape[1:] if module is not None else None
    network = load_network(workload.network, module=module, input_shape=shape)
    images = workload.calibration() if calibrate or not network.is_quantized else None
    return Recipe(network, workload.manifest.quantize, images)


def quantized_network(workload: Workload, arch: Arch, *, converters: str | None = None, module: Any = None) -> Network:
    """The workload's network for `arch`: `Recipe.for_arch` of `load_recipe`."""
    recipe = load_recipe(workload, module=module, calibrate=converters is not None)
    return recipe.for_arch(arch, converters=converters)


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """A file name in `folder` that nothing has yet: stem, stem_2, stem_3 ..."""
    number = 1
    while True:
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}_{number}{suffix}")
        if not path.exists():
            return path
        number += 1
