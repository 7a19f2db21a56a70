"""Rotary embedding: pairs of elements turned by an angle that depends on their place in the sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.index import of_image
from cimemu.layer.shapes import Operand, constant, runtime


@dataclass(frozen=True, eq=False)
class RotaryEmbedding(Layer):
    """`(a, b)` becomes `(a cos - b sin, a sin + b cos)`; a pair lies in two halves, or side by side if `interleaved`.

    Inputs (x, cos, sin[, places]): x `[images, heads, steps, width]`, or `[images, steps, heads * width]` with `heads`;
    the tables are constants `[places, pairs]` with runtime places `[images, steps]`, or `[images, steps, pairs]` without.
    Only the first `width` elements of a head are turned, all where it is 0.
    """

    heads: int = 0
    width: int = 0
    interleaved: bool = False

    op: ClassVar[str] = "RotaryEmbedding"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        if len(x.shape) != (2 if self.heads else 3) or (self.heads and x.shape[1] % self.heads):
            raise self.error(
                f"per-image input {x.shape} with num_heads = {self.heads}, must be three axes, or two and heads"
            )
        steps, whole = (x.shape[0], x.shape[1] // self.heads) if self.heads else x.shape[1:]
        pairs = (self.width or whole) // 2
        if pairs < 1 or 2 * pairs > whole:
            raise self.error(f"rotary_embedding_dim = {self.width} of heads of {whole} elements, must be 2..{whole}")
        for what, table in zip(("cosines", "sines"), types[1:3]):
            if len(types) > 3:
                shape = constant(self, table, f"the table of {what}").shape
                if len(shape) != 2 or shape[1] != pairs or runtime(self, types[3]).shape != (steps,):
                    raise self.error(
                        f"{what} of shape {shape}, must be [places, {pairs}], with places of {steps} steps"
                    )
            elif of_image(self, table, f"the table of {what}") != (steps, pairs):
                raise self.error(f"{what} of shape {tuple(table.shape)}, must be [images, {steps}, {pairs}]")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype; a place outside the table is an error."""
        x, cos, sin = arrays[:3]
        if len(arrays) > 3:
            places = arrays[3]
            self.check_inside(f"a place in a table of {len(cos)}", places, 0, len(cos) - 1)
            cos, sin = cos[places], sin[places]
        rows = x.reshape(len(x), x.shape[1], self.heads, -1) if self.heads else x.transpose(0, 2, 1, 3)
        width = self.width or rows.shape[-1]
        half = width // 2
        first, second = (
            (slice(0, width, 2), slice(1, width, 2)) if self.interleaved else (slice(half), slice(half, width))
        )
        a, b, cos, sin = rows[..., first], rows[..., second], cos[:, :, None], sin[:, :, None]
        out = rows.copy()
        out[..., first], out[..., second] = cos * a - sin * b, sin * a + cos * b
        made = out.reshape(x.shape) if self.heads else np.ascontiguousarray(out.transpose(0, 2, 1, 3))
        return (made,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two multiplications and an addition an element."""
        return 3 * outputs[0].elements
