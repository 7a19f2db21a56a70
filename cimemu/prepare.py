"""From a workload and a chip to an integer network: load, quantise as the workload says, fit converters."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.layer.execute import first_images
from cimemu.loading.bare import BareWorkload
from cimemu.loading.load import load_workload, network_of
from cimemu.lower import left_in_float
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
            float_layers=self.settings.float_layers,
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
    network, settings = network_of(workload, module), workload.manifest.quantize
    ranges = not network.is_quantized or (settings.float_layers == "quantize" and bool(left_in_float(network)))
    return Recipe(network, settings, workload.calibration() if calibrate or ranges else None)


def quantized_network(workload: Workload, arch: Arch, *, converters: str | None = None, module: Any = None) -> Network:
    """The workload's network for `arch`: `Recipe.for_arch` of `load_recipe`."""
    recipe = load_recipe(workload, module=module, calibrate=converters is not None)
    return recipe.for_arch(arch, converters=converters)


def ready(arch: Any, network: Any, inputs: Any, labels: Any) -> tuple[Arch, Network, Any, Any]:
    """(arch, integer network, inputs, labels) where any may be named instead: what `cimemu.run` makes of its arguments.

    `arch` a preset's name or YAML file; `network` a workload's name or folder, or a network file; `inputs` None: the workload's
    images, or random ones of a network file. A float network file is calibrated on the inputs.
    """
    arch = load_arch(arch) if isinstance(arch, str | Path) else arch
    if not isinstance(network, str | Path):
        if inputs is None:
            raise WorkloadError("inputs: none given, give an array [images, ...] or a dict of arrays by input name")
        return arch, network, inputs, labels
    work = load_workload(network)
    recipe = load_recipe(work)
    if inputs is None:
        inputs, labels = work.inputs()
    elif isinstance(work, BareWorkload) and not recipe.network.is_quantized:
        recipe = replace(recipe, calibration=inputs)
    return arch, recipe.for_arch(arch), inputs, labels


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """A file name in `folder` that nothing has yet: stem, stem_2, stem_3 ..."""
    number = 1
    while True:
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}_{number}{suffix}")
        if not path.exists():
            return path
        number += 1
