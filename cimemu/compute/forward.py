"""A whole network on macros: every layer in order, outputs and what was counted on the way."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc
from cimemu.arch.load import macro_for
from cimemu.arch.macro import Macro
from cimemu.compute.batch import MatrixResult
from cimemu.compute.matrix import CellSource, LayerMatrix
from cimemu.compute.product import ProductMatrix, ProductResult
from cimemu.engines.lookup.prepare import bytes_a_cell
from cimemu.errors import CimemuError, WorkloadError
from cimemu.events import Counter, Pulses
from cimemu.layer.base import Array, Layer
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.written_product import WrittenProduct
from cimemu.macro.sites import planned_sites
from cimemu.macro.spares import has_spares
from cimemu.macro.vary import share_arrays, varied_macro
from cimemu.mapping.plan import Plan
from cimemu.mapping.shared import cells_of, earlier_positions
from cimemu.options import BUDGET_BYTES
from cimemu.threads import on_threads, one_blas_thread
from cimemu.variation.compose import Variations, compose
from cimemu.workload.network import Network

DIGITAL_BYTES = 96  # that an integer operator works with at once, an element of its largest tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """What one batch of images gave."""

    tensors: Mapping[str, Array]  # the network's outputs and the tensors asked for, [images, *shape]
    counts: NDArray[np.int64]  # [images, layers, len(Counter)]
    nonzero: Mapping[int, tuple[NDArray[np.bool_], ...]]  # by layer index, per unit [images * positions, groups, I]
    paths: Mapping[str, frozenset[str]]  # by macro layer name: which kernels ran
    pulses: Mapping[
        int, NDArray[np.int64]
    ]  # by layer index, of products of two activations: [images, blocks] rows' pulses


class Emulator:
    """A lowered network with its weights written into macros, ready for images."""

    def __init__(
        self,
        network: Network,
        macro: Macro,
        *,
        path: str = "auto",
        threads: int | None = None,
        budget_bytes: int = BUDGET_BYTES,
        adcs: Mapping[str, Adc] | None = None,
        cells: Mapping[str, CellSource] | None = None,
        plan: Plan | None = None,
    ) -> None:
        """Write every macro layer's weights.

        `path` "auto" may use an exact integer product where it is proven equal, "serial" never does.
        `adcs` (default: the network's own) and `cells` give converters and effective cell levels by layer name. `plan`
        is the network's plan on the chip: its cut of every layer is used again, and the replicas that it gives a layer
        share its positions, which what digital cells change by depends on (none: every layer is cut here, one replica).
        """
        if not network.is_integer:
            raise WorkloadError(
                f"network {network.name}: has no integer layers, quantise it first: cimemu.quantize(network, arch, calibration=x)"
            )
        macro = macro_for(macro, network.overrides)
        self.network, self.macro, self.planned = network, macro, plan is not None
        self.path, self.threads, self.budget_bytes = path, threads, budget_bytes
        chosen = network.converters if adcs is None else adcs
        planned = {} if plan is None else {layer.name: layer for layer in plan.layers}
        self.cells_of = cells_of(network.layers)
        earlier = earlier_positions(network.layers)
        self.matrices: dict[str, LayerMatrix] = {}
        self.products: dict[str, ProductMatrix] = {}  # of two activations: cells are written for every image
        for layer in network.layers:
            if isinstance(layer, WrittenProduct):
                cut = planned[layer.name].cut if planned else None
                self.products[layer.name] = ProductMatrix(layer, macro, cut)
            if not isinstance(layer, MacroLayer):
                continue
            owner = self.cells_of[layer.name]
            self.matrices[layer.name] = LayerMatrix(
                layer,
                macro,
                adc=chosen.get(owner),
                cells=None if cells is None else cells.get(owner),
                cut=planned[layer.name].cut if planned else None,
                like=self.matrices.get(owner),
            )
            self.matrices[layer.name].first_position = earlier[layer.name]
        self.sharing = {name for name, count in Tally(self.cells_of.values()).items() if count > 1}
        self.copies = {name: layer.replicas for name, layer in planned.items()}
        self.last_use = _last_uses(network)
        self._elements: dict[tuple[str, ...], int] = {}  # by outputs of a digital layer: see `_largest`
        self.live: dict[frozenset[str], int] = {}  # by the tensors kept: see `live_bytes`
        self.writes: dict[tuple[str, int, int, int, int], Pulses] = {}  # (layer, replica, unit, row, column block)

    def forget_inputs(self) -> None:
        """Begin anew to count what the matrices have had, which engines are chosen by: as after writing the cells."""
        for matrix in self.matrices.values():
            for programmed in matrix.programmed:
                programmed.inputs = 0

    def varied_bytes(self, variations: Variations) -> int:
        """What drawn cells take, with what the engines make of them: nearly, as no cell is drawn yet."""
        bits = varied_macro(self.macro, variations).cell.fraction_bits + self.macro.cell.bits
        each = (2 if bits < 16 else 4) + bytes_a_cell(bits)
        cells = 0
        for name, matrix in self.matrices.items():
            if self.cells_of[name] == name:
                shapes = [programmed.matrix.layout for programmed in matrix.programmed]
                own = sum(layout.rows * layout.outputs for layout in shapes) * self.macro.columns_per_output
                cells += own * self.copies.get(name, 1)
        return cells * each

    def program(
        self, plan: Plan, vary: Iterable[Any] = (), seed: int = 0, trial: int = 0, *, threads: int | None = None
    ) -> Variations:
        """Draw the cells of one trial at the plan's places; plan, weights and layouts are used again.

        `vary` are variation models in order, `threads` how many write blocks at a time (default: the emulator's).
        Without active models the cells are ideal again. Returns what was drawn; `self.writes` counts write pulses.
        """
        variations = compose(vary, seed, trial)
        self.writes = {}
        if not variations:
            for matrix in self.matrices.values():
                matrix.take([])
            for product in self.products.values():
                product.vary(None)
            return variations
        sites = planned_sites(plan)
        if self.products and variations.at("calibration"):
            raise CimemuError(
                f"--calibrate chip: layer {next(iter(self.products))}: its cells are written for every image, no calibration "
                "lasts; set mapping.activations digital"
            )
        if self.products and has_spares(self.macro):
            raise CimemuError(
                f"macro.repair: layer {next(iter(self.products))}: its cells are written for every image, spare "
                "lines are chosen for weights that stay; set mapping.activations digital"
            )
        for name, product in self.products.items():
            product.vary(variations, sites[name][0], plan.phases)
        owner = {layer.name: plan.layers[layer.cells_of].name for layer in plan.layers if layer.name in self.matrices}
        drafts = {
            name: matrix.draft(sites[name], variations) for name, matrix in self.matrices.items() if owner[name] == name
        }
        every = [
            (name, r, u, draft)
            for name, units in drafts.items()
            for r, replica in enumerate(units)
            for u, draft in enumerate(replica)
        ]
        share_arrays(draft for *_, draft in every)
        tasks = [task for *_, draft in every for task in draft.tasks()]
        workers = threads or self.threads or 1
        on_threads(workers, lambda task: task(), tasks)
        on_threads(workers, lambda name: self.matrices[name].take(drafts[name]), drafts)
        for name, first in owner.items():
            self.matrices[name].take_from(self.matrices[first])
        self.writes = {(name, r, u, *place): w for name, r, u, draft in every for place, w in draft.writes.items()}
        return variations

    def fit_cells(self, variations: Variations) -> None:
        """Have tensors and work in progress share the budget with drawn cells. CimemuError where these do not fit it."""
        cells, images = self.varied_bytes(variations), live_bytes(self.network)
        if cells + images > self.budget_bytes:
            gib = 2**30
            raise CimemuError(
                f"network {self.network.name}: cells that vary take {cells / gib:.3g} GiB and the tensors of one image "
                f"{images / gib:.2g}, --memory-gib (budget_bytes) is {self.budget_bytes / gib:.3g}; give more, or take a smaller "
                "network"
            )
        self.budget_bytes -= cells

    @property
    def macro_layers(self) -> list[MacroLayer]:
        """The layers whose weights are in macros, in order."""
        return [matrix.layer for matrix in self.matrices.values()]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image on macros."""
        weights = sum(layer.geometry.macs for layer in self.macro_layers)
        return weights + sum(product.layer.macs for product in self.products.values())

    @one_blas_thread()
    def run(
        self,
        inputs: Sequence[Array],
        keep: frozenset[str] = frozenset(),
        first_image: int = 0,
        feed: Mapping[str, Array] | None = None,
        *,
        counted: bool = True,
    ) -> Batch:
        """One batch: `inputs` in the order of `network.inputs`, `keep` names tensors to return beside the outputs.

        `feed` holds values [images, ...] of tensors by name that the layers which read them are given in the place of the
        computed ones; the computed ones are returned. Without `counted` the counts of layers are 0, which saves time where
        nobody reads them.

        `first_image` is the batch's place among all images, which read noise is keyed by. Images are taken in parts
        whose tensors fit half the budget, one at least; the work in progress of a layer has the other half.
        """
        images = _checked_images(self.network, inputs)
        step = max(1, self.budget_bytes // 2 // self._live_bytes(frozenset(keep)))
        feed = feed or {}
        if images <= step:
            return self._run_part(inputs, keep, first_image, feed, counted)
        parts = [
            self._run_part(
                [x[b : b + step] for x in inputs],
                keep,
                first_image + b,
                {name: array[b : b + step] for name, array in feed.items()},
                counted,
            )
            for b in range(0, images, step)
        ]
        return _joined(parts, self.network)

    def _live_bytes(self, keep: frozenset[str]) -> int:
        if keep not in self.live:
            self.live[keep] = live_bytes(self.network, keep)
        return self.live[keep]

    def _run_part(
        self, inputs: Sequence[Array], keep: frozenset[str], first_image: int, feed: Mapping[str, Array], counted: bool
    ) -> Batch:
        """The same for images that are in memory together."""
        network = self.network
        images = len(inputs[0])
        values: dict[str, Array] = dict(network.constants)
        values.update(zip(network.inputs, inputs))
        counts = np.zeros((images, len(network.layers), len(Counter)), dtype=np.int64)
        nonzero: dict[int, tuple[NDArray[np.bool_], ...]] = {}
        paths: dict[str, frozenset[str]] = {}
        pulses: dict[int, NDArray[np.int64]] = {}
        kept = keep | set(network.outputs)
        driven: dict[str, Array] = {}  # by cells that layers share: what they were given last
        computed: dict[str, Array] = {}  # what `feed` took the place of
        for index, layer in enumerate(network.layers):
            arrays = [values[name] for name in layer.inputs if name]
            if isinstance(layer, MacroLayer):
                owner = self.cells_of[layer.name]
                copies = self.copies.get(layer.name, 1) if counted else None
                result = self._products(layer, arrays, first_image, copies, driven.get(owner))
                if owner in self.sharing and self.macro.cell.kind == "digital":
                    zeros = arrays[1] if layer.dynamic_zero_point else None
                    driven[owner] = self.matrices[layer.name].last_inputs(arrays[0], zeros)
                counts[:, index] = result.counts
                paths[layer.name] = result.paths
                if result.nonzero:
                    nonzero[index] = result.nonzero
                outputs: tuple[Array, ...] = (result.output,)
            elif isinstance(layer, WrittenProduct):
                product = self._product(layer, arrays, first_image)
                counts[:, index], paths[layer.name] = product.counts, product.paths
                if product.nonzero:
                    nonzero[index] = product.nonzero
                if product.pulses is not None:
                    pulses[index] = product.pulses
                outputs = (product.output,)
            else:
                outputs = self._digital(layer, arrays, images)
            values.update(zip(layer.outputs, outputs))
            for name in feed.keys() & set(layer.outputs) if feed else ():
                computed[name], values[name] = values[name], feed[name]
            for name in layer.inputs:
                if self.last_use.get(name) == index and name not in kept:
                    values.pop(name, None)
        tensors = {name: computed.get(name, values[name]) for name in values if name in kept}
        return Batch(tensors=tensors, counts=counts, nonzero=nonzero, paths=paths, pulses=pulses)

    def _digital(self, layer: Layer, arrays: Sequence[Array], images: int) -> tuple[Array, ...]:
        """A layer of the digital unit, as many images at once as have room for their work beside the tensors."""
        step = max(1, self.budget_bytes // 2 // (DIGITAL_BYTES * self._largest(layer)))
        if images <= step:
            return layer.forward(arrays)
        each = [name not in self.network.constants for name in layer.inputs if name]
        if not any(each):
            return layer.forward(arrays)
        parts = [
            layer.forward([a[b : b + step] if batched else a for a, batched in zip(arrays, each)])
            for b in range(0, images, step)
        ]
        return tuple(np.concatenate(same) for same in zip(*parts))

    def _largest(self, layer: Layer) -> int:
        """Elements of the largest tensor that a layer of the digital unit reads or writes."""
        if layer.outputs not in self._elements:
            names = [name for name in (*layer.inputs, *layer.outputs) if name in self.network.types]
            self._elements[layer.outputs] = max(1, *(self.network.types[name].elements for name in names), 1)
        return self._elements[layer.outputs]

    @one_blas_thread()
    def run_layer(self, name: str, arrays: Sequence[Array], first_image: int = 0) -> Array:
        """Output tensor of one layer on macros, alone, from its input tensors."""
        if name in self.products:
            return self._product(self.products[name].layer, arrays, first_image).output
        layer = self.matrices[name].layer
        return self._products(layer, arrays, first_image, None).output

    def _product(self, layer: WrittenProduct, arrays: Sequence[Array], first_image: int) -> ProductResult:
        try:
            return self.products[layer.name].run(
                arrays, path=self.path, threads=self.threads, budget_bytes=self.budget_bytes, first_image=first_image
            )
        except WorkloadError as error:  # a code outside its range, or a running sum that the macros do not hold
            raise WorkloadError(f"layer {layer.name}: {error}") from error

    def _products(
        self, layer: MacroLayer, arrays: Sequence[Array], first_image: int, copies: int | None, before: Any = None
    ) -> MatrixResult:
        try:
            return self.matrices[layer.name].run(
                arrays[0],
                zero_points=arrays[1] if layer.dynamic_zero_point else None,
                path=self.path,
                threads=self.threads,
                budget_bytes=self.budget_bytes,
                first_image=first_image,
                copies=copies,
                before=before,
            )
        except WorkloadError as error:  # an input or a running sum that the macros do not hold
            raise WorkloadError(f"layer {layer.name}: {error}") from error


def live_bytes(network: Network, keep: frozenset[str] = frozenset()) -> int:
    """The most that the tensors of one image, alive together, take."""
    last, kept = _last_uses(network), keep | set(network.outputs)
    size = {name: kind.bits // 8 for name, kind in network.types.items()}
    alive = {name: size[name] for name in network.inputs}
    most = sum(alive.values())
    for index, layer in enumerate(network.layers):
        alive.update({name: size[name] for name in layer.outputs if name in size})
        most = max(most, sum(alive.values()))
        for name in layer.inputs:
            if last.get(name) == index and name not in kept:
                alive.pop(name, None)
    return max(1, most)


def _joined(parts: Sequence[Batch], network: Network) -> Batch:
    """Parts of a batch, in order."""
    paths: dict[str, frozenset[str]] = {}
    for part in parts:
        for name, ran in part.paths.items():
            paths[name] = paths.get(name, frozenset()) | ran
    return Batch(
        tensors={
            name: first if name in network.constants else np.concatenate([part.tensors[name] for part in parts])
            for name, first in parts[0].tensors.items()
        },
        counts=np.concatenate([part.counts for part in parts]),
        nonzero={
            index: tuple(np.concatenate(same) for same in zip(*(part.nonzero[index] for part in parts)))
            for index in parts[0].nonzero
        },
        paths=paths,
        pulses={index: np.concatenate([part.pulses[index] for part in parts]) for index in parts[0].pulses},
    )


def _last_uses(network: Network) -> dict[str, int]:
    """Index of the last layer that reads a runtime tensor."""
    return {name: index for index, layer in enumerate(network.layers) for name in layer.inputs if name in network.types}


def _checked_images(network: Network, inputs: Sequence[Array]) -> int:
    """Number of images; WorkloadError where an input has another shape or type than the network takes."""
    if len(inputs) != len(network.inputs):
        raise WorkloadError(f"network {network.name}: {len(inputs)} inputs given, takes {len(network.inputs)}")
    for name, array in zip(network.inputs, inputs):
        want = network.types[name]
        if tuple(array.shape[1:]) != want.shape or array.ndim != len(want.shape) + 1:
            raise WorkloadError(
                f"network {network.name}: input {name} has shape {tuple(array.shape)}, "
                f"must be [images, {', '.join(map(str, want.shape))}]"
            )
        if str(array.dtype) != want.dtype:
            raise WorkloadError(f"network {network.name}: input {name} is {array.dtype}, must be {want.dtype}")
        if len(array) != len(inputs[0]):
            raise WorkloadError(f"network {network.name}: inputs of {len(array)} and {len(inputs[0])} images")
    return len(inputs[0])
