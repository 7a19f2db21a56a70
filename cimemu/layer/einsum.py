"""Einstein sums: products of tensors summed over the letters that the result does not have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, dtype_of, rank_of


@dataclass(frozen=True, eq=False)
class Einsum(Layer):
    """`equation` has a letter for each axis and an arrow; the batch axis is the first of runtime tensors and of the result."""

    equation: str

    op: ClassVar[str] = "Einsum"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Sizes of the result's letters, in the operands' dtype."""
        terms, result = self._terms([rank_of(t) for t in types])
        sizes = self._sizes(terms, types)
        batch = {term[:1] for term, t in zip(terms, types) if isinstance(t, TensorType)}
        (first,) = batch if len(batch) == 1 else (" ",)
        once = all(term.count(first) == isinstance(t, TensorType) for term, t in zip(terms, types))
        if not batch or result[:1] != first or result.count(first) != 1 or not once:
            raise self.error(
                f"equation = {self.equation} mixes the batch axis, the first of every tensor: images must stay apart"
            )
        if len({dtype_of(t) for t in types}) > 1:
            raise self.error(f"operands of {', '.join(map(dtype_of, types))}, must be of one type: insert a Cast")
        return (TensorType(tuple(sizes[letter] for letter in result[1:]), dtype_of(types[0])),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the operands' dtype; no BLAS, whose sum order may depend on threads."""
        terms, result = self._terms([array.ndim for array in arrays])
        return (np.ascontiguousarray(np.einsum(f"{','.join(terms)}->{result}", *arrays, optimize=False)),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """As many multiplications, and additions, as there are combinations of the letters' indices."""
        written = self.equation.partition("->")[0].split(",")
        letters: dict[str, int] = {}
        for term, kind in zip(written, inputs):
            for place, letter in enumerate(reversed(term.replace(".", ""))):
                size = kind.shape[-1 - place] if place < len(kind.shape) else 1
                letters[letter] = max(letters.get(letter, 1), size)
        combined = max(int(np.prod(list(letters.values()))), outputs[0].elements)
        return max(1, combined * max(1, 2 * (len(inputs) - 1)))

    def _terms(self, ranks: Sequence[int]) -> tuple[list[str], str]:
        """A letter for every axis of every operand and of the result; an ellipsis becomes letters of its own."""
        left, arrow, result = self.equation.replace(" ", "").partition("->")
        terms = left.split(",")
        if len(terms) != len(ranks):
            raise self.error(f"equation = {self.equation} for {len(ranks)} operands, must have a term each")
        spare = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in self.equation]
        made, longest = [], ""
        for term, rank in zip(terms, ranks):
            hidden = rank - len(term.replace("...", ""))
            if hidden < 0 or (hidden and "..." not in term) or hidden > len(spare):
                raise self.error(f"equation = {self.equation}: '{term}' for a tensor of {rank} axes")
            letters = "".join(spare[len(spare) - hidden :])
            longest = max(longest, letters, key=len)
            made.append(term.replace("...", letters))
        if not arrow:
            every = "".join(made)
            result = "..." + "".join(sorted(c for c in set(every) - set(spare) if every.count(c) == 1))
        result = result.replace("...", longest)
        if len(set(result)) < len(result) or not set(result) <= set("".join(made)) or not "".join(made).isascii():
            raise self.error(f"equation = {self.equation}: every letter of the result must stand in a term, and once")
        if not all(letter.isalpha() for letter in "".join(made)):
            raise self.error(f"equation = {self.equation}: axes must be letters")
        return made, result

    def _sizes(self, terms: Sequence[str], types: Sequence[Operand]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for term, kind in zip(terms, types):
            shape = (-1, *kind.shape) if isinstance(kind, TensorType) else kind.shape
            for letter, size in zip(term, shape):
                if sizes.setdefault(letter, size) != size and -1 in (size, sizes[letter]):
                    raise self.error(f"equation = {self.equation} mixes the batch axis: images must stay apart")
                if sizes[letter] != size:
                    raise self.error(f"equation = {self.equation}: '{letter}' is {sizes[letter]} and {size}")
        return sizes
