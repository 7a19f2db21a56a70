"""A product of two activations on macros, image by image: the right operand into cells, the left one onto wordlines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.compute.matrix import LayerMatrix
from cimemu.errors import MappingError
from cimemu.events import Counter
from cimemu.layer.base import Array, TensorType
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.requantize import OutputStage
from cimemu.layer.written_product import Ints, WrittenProduct
from cimemu.macro.sites import Sites
from cimemu.macro.vary import share_arrays
from cimemu.mapping.layout import LayerCut, cut_layer
from cimemu.mapping.operands import product_form
from cimemu.threads import on_threads
from cimemu.variation.compose import Variations


@dataclass(frozen=True, eq=False)
class ProductResult:
    """A product's output tensor for a batch and what happened on the way."""

    output: NDArray[Any]  # [images, *output shape]
    counts: NDArray[np.int64]  # [images, len(Counter)], cells written among them
    nonzero: tuple[NDArray[np.bool_], ...]  # per unit [images * positions, groups, I]; empty unless slices are skipped
    paths: frozenset[str]  # which kernels ran
    pulses: NDArray[np.int64] | None  # [images, blocks] write pulses of rows; None: one a row


@dataclass(frozen=True, eq=False)
class _Sums(OutputStage):
    """The accumulators as the macros and their accumulators left them."""

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """Whole numbers or float64."""
        return accumulators


@dataclass(frozen=True, eq=False)
class _Image:
    """What one image gave."""

    sums: NDArray[Any]  # [positions, channels_out] of all digits
    counts: NDArray[np.int64]
    nonzero: tuple[NDArray[np.bool_], ...]
    paths: frozenset[str]
    pulses: NDArray[np.int64] | None


class ProductMatrix:
    """The macros of a `WrittenProduct`; their cells are those of one image at a time."""

    def __init__(self, layer: WrittenProduct, macro: Macro, cut: LayerCut | None = None) -> None:
        """`cut` is the layer's cut as its plan has it (none: it is cut here). Raises MappingError where the macros cannot
        hold the right operand."""
        if macro.repair.checksum_columns:
            raise MappingError(
                f"layer {layer.name}: its cells are written for every image, and checksum columns are of weights that stay; set "
                "mapping.activations digital, or macro.repair.checksum_columns 0"
            )
        self.layer, self.macro = layer, macro
        self.form = product_form(layer, macro)
        g = self.form.geometry
        try:
            self.cut = cut or cut_layer(g.groups, g.rows_per_group, g.outputs_per_group, macro, g.kernel_area)
        except MappingError as error:
            raise MappingError(f"layer {layer.name}: {error}") from error
        self.variations: Variations | None = None
        self.sites: Sequence[Sites] = ()  # by unit, for the first image
        self.between = 1  # writings of a macro from one image to the next

    def vary(self, variations: Variations | None, sites: Sequence[Sites] = (), between: int = 1) -> None:
        """Draw every image's cells at `sites`, a site's count of writings moved on by `between` an image; None: ideal cells."""
        self.variations, self.sites, self.between = variations, sites, between

    def run(
        self, arrays: Sequence[Array], *, path: str, threads: int | None, budget_bytes: int, first_image: int
    ) -> ProductResult:
        """The output tensor of a batch from the layer's inputs [images, ...]; `first_image` is its first among all images."""
        layer = self.layer
        images = max(len(array) for array in arrays)
        left, right = layer.rows_of(arrays[0]), layer.matrices_of(arrays[1])

        def one(image: int) -> _Image:
            return self._image(left[image], right[image], first_image + image, path, budget_bytes)

        done = on_threads(threads or 1, one, range(images))
        sums = np.stack([image.sums for image in done])
        zeros = layer.zero_points(arrays, images)
        pulses = [image.pulses for image in done if image.pulses is not None]
        return ProductResult(
            output=layer.finished(self._accumulators(sums, left, right, zeros)),
            counts=np.stack([image.counts for image in done]),
            nonzero=tuple(np.concatenate(same) for same in zip(*(image.nonzero for image in done))),
            paths=frozenset().union(*(image.paths for image in done)),
            pulses=np.stack(pulses) if pulses else None,
        )

    def _image(self, left: Ints, right: Ints, image: int, path: str, budget_bytes: int) -> _Image:
        """Write `right` [groups, K, N], then drive `left` [positions, groups, K]."""
        matrix = LayerMatrix(self._weights(right), self.macro, cut=self.cut)
        wide = self.macro.columns_per_output
        cells = sum(p.matrix.weights.size * wide // u.groups for p, u in zip(matrix.programmed, self.cut.units))
        pulses = None
        if self.variations:
            cells, pulses = self._draw(matrix, image, cells)
        driven = self.form.left.of(left).reshape(1, -1, left.shape[1] * left.shape[2])
        made = matrix.run(
            driven.astype(matrix.layer.input_dtype),
            path=path,
            threads=1,
            budget_bytes=budget_bytes,
            first_image=image,
        )
        counts = made.counts[0].copy()
        counts[Counter.CELL_WRITES] += cells
        sums = made.output[0]
        if all(programmed.matrix.integer_result for programmed in matrix.replicas[0]):
            sums = sums.astype(np.int64)
        return _Image(sums, counts, made.nonzero, made.paths, pulses)

    def _draw(self, matrix: LayerMatrix, image: int, cells: int) -> tuple[int, NDArray[np.int64] | None]:
        """Write cells as the variations draw them: (pulses of all cells, pulses of the rows of every block where counted)."""
        assert self.variations is not None
        moved = image * self.between
        sites = [
            {place: replace(site, write=site.write + moved) for place, site in unit.items()} for unit in self.sites
        ]
        (drafts,) = matrix.draft([sites], self.variations)
        share_arrays(drafts)
        for draft in drafts:
            for task in draft.tasks():
                task()
        matrix.take([drafts])
        if not any(draft.writes for draft in drafts):
            return cells, None
        places = [
            (unit, (rb, cb))
            for unit, layout in enumerate(self.cut.layouts)
            for rb in range(len(layout.row_blocks))
            for cb in range(len(layout.col_blocks))
        ]
        written = [drafts[unit].writes[place] for unit, place in places]
        return sum(p.cells for p in written), np.array([p.rows for p in written], dtype=np.int64)

    def _weights(self, right: Ints) -> MacroLayer:
        """One image's right operand [groups, K, N] as a layer's weights: in each group all outputs of a digit, then the next."""
        geometry, digits = self.form.geometry, self.form.right.of(right)
        stored = digits.transpose(1, 0, 3, 2).reshape(geometry.channels_out, geometry.rows_per_group, 1, 1)
        nothing = np.zeros(geometry.channels_out, np.int64)
        return MacroLayer(
            name=self.layer.name,
            inputs=self.layer.inputs[:1],
            outputs=self.layer.outputs,
            geometry=geometry,
            weight=stored.astype(np.int16),
            weight_zero_point=nothing,
            input_zero_point=0,
            input_dtype=self._driven_dtype(),
            bias=nothing,
            stage=_Sums(),
            output_type=TensorType((geometry.positions, geometry.channels_out), "float64"),
            layout="rows",
        )

    def _accumulators(self, sums: NDArray[Any], left: Ints, right: Ints, zeros: tuple[Ints, Ints]) -> NDArray[Any]:
        """`sum (a - a_zero) * (b - b_zero)` [images, positions, groups, N] from the sums of all digits.

        What is driven and stored is u = a - ca and w = b - cb with constants of the chip, so that
        (a - za) * (b - zb) = u * w + (ca - za) * w + (cb - zb) * u + (ca - za) * (cb - zb).
        """
        layer, form = self.layer, self.form
        shape = (len(sums), form.left.count, layer.positions, layer.groups, form.right.count, layer.columns)
        places = form.left.places[:, None, None, None, None] * form.right.places[:, None]
        total = (sums.reshape(shape) * places).sum(axis=(1, 4))
        u, w = left - form.left.offset, right - form.right.offset
        a, b = form.left.offset - zeros[0], form.right.offset - zeros[1]
        fixed = a[:, None, None, None] * w.sum(axis=2)[:, None] + (a * b * layer.depth)[:, None, None, None]
        made: NDArray[Any] = total + (fixed + (b[:, None, None] * u.sum(axis=3))[..., None])
        return made

    def _driven_dtype(self) -> str:
        """A type of inputs that the wordlines are given as they are (see `drive_offset`)."""
        given = self.macro.input
        if given.signed and (given.bits <= 8 or self.form.left.lowest < 0):
            return "int8"
        return "uint8"
