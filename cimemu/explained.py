"""Which engine computes each layer, and why each faster one does not (`cimemu.explain`, `cimemu run --explain`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cimemu import bounds
from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.compute.matrix import LayerMatrix
from cimemu.engines.choose import engines_of
from cimemu.layer.base import Layer
from cimemu.layer.digital_product import DigitalProduct
from cimemu.lower.products import PRODUCTS
from cimemu.mapping.place import make_plan
from cimemu.options import Draws
from cimemu.workload.network import Network

DIGITAL = "digital unit, float32"
DIGITAL_BYTES = "digital unit, 8-bit integers"
WRITTEN = "macros, an engine chosen for every image: its right operand is written into cells"


@dataclass(frozen=True)
class LayerEngine:
    """The engine of some matrices of one layer: `matrices` of its `of` (units of grouped layers, replicas).

    `passed_over` are the faster engines in order, each with the reason why it does not run. A product that no macro
    makes has the engine "digital unit, float32". The cells of a product of two activations on macros are each image's own,
    and so is the engine.
    """

    layer: str
    engine: str
    passed_over: tuple[tuple[str, str], ...]
    matrices: int
    of: int

    def __str__(self) -> str:
        share = "" if self.matrices == self.of else f" ({self.matrices} of {self.of} matrices)"
        lines = [f"{self.layer}{share}: {self.engine}"]
        return "\n".join(lines + [f"  not {name}: {reason}" for name, reason in self.passed_over])


def explain(
    arch: Arch,
    network: Network,
    *,
    images: int = 64,
    path: str = "auto",
    vary: Sequence[Any] = (),
    seed: int = 0,
    trial: int = 0,
) -> tuple[LayerEngine, ...]:
    """The engines that run `network` (integer, see `cimemu.quantize`) on `arch`, layer by layer.

    `images` is how many images run: what takes time to prepare pays from some inputs on. `path`, `vary`, `seed` and
    `trial` are those of `cimemu.run`. Nothing is run, but cells are drawn and tables are made. Raises MappingError,
    WorkloadError or ArchError as `cimemu.run` would.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> print(cimemu.explain(arch, quantized, images=1, path="serial")[-1])
    scores: packed
      not exact: path = serial is asked for
      not planes: its preparation pays from 320 inputs on, the matrix has had 1
      not lookup: its preparation pays from 512 inputs on, the matrix has had 1
    """
    draws = Draws(seed=seed, trial=trial, vary=vary)
    bounds.whole("images", images, 1, bounds.MOST_IMAGES)
    engines_of(path)
    emulator = Emulator(network, arch.macro, path=path)
    if len(draws.vary):
        emulator.program(make_plan(network, arch), draws.vary, draws.seed, draws.trial)
    found: list[LayerEngine] = []
    for layer in network.layers:
        if layer.name in emulator.matrices:
            found += _of_layer(emulator.matrices[layer.name], path, images)
        elif layer.name in emulator.products:
            matrices = len(emulator.products[layer.name].cut.units)
            found.append(LayerEngine(layer.name, WRITTEN, (), matrices, matrices))
        elif isinstance(layer, (*PRODUCTS, DigitalProduct)):
            what = DIGITAL_BYTES if isinstance(layer, DigitalProduct) else DIGITAL
            found.append(LayerEngine(layer.name, what, (("macros", _why_digital(layer, network)),), 1, 1))
    return tuple(found)


def _why_digital(layer: Layer, network: Network) -> str:
    """Why a product of a lowered network is not on macros."""
    if isinstance(layer, DigitalProduct):
        return "the scheme leaves it on the digital unit, in 8 bits (layers: place = digital)"
    if network.scheme is not None and network.scheme.get("layers"):
        return "the scheme leaves it on the digital unit, in float32 (layers: place = digital)"
    if not any(name in network.constants for name in layer.inputs[:2]):
        if network.activations == "macros":
            return "it multiplies two activations that are not both integers"
        return "it multiplies two activations (mapping.activations = macros writes the right one into cells)"
    if layer.inputs[1] not in network.constants:
        return "its first operand is the constant, macros hold the second"
    return "the file leaves it in float (float_layers: quantize puts it on macros)"


def _of_layer(matrix: LayerMatrix, path: str, images: int) -> Sequence[LayerEngine]:
    """Matrices of one layer by what runs them."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    positions = -(-matrix.layer.geometry.positions // len(matrix.replicas))
    for units in matrix.replicas:
        for programmed in units:
            if path == "naive":
                made: tuple[str, tuple[tuple[str, str], ...]] = ("naive", ())
            else:
                choice = programmed.choose(path, inputs=images * positions)
                made = (choice.engine.name, choice.passed_over)
            found[made] = found.get(made, 0) + 1
    every = sum(found.values())
    return [LayerEngine(matrix.layer.name, name, passed, count, every) for (name, passed), count in found.items()]
