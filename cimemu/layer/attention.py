"""Attention as one operator: scores of queries and keys, masks, softmax, and the mean of the values that it weighs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, dtype_of, runtime

ROLES = ("query", "key", "value", "mask", "past key", "past value", "lengths")
SCORES = (0, 1, 2, 3)  # what the fourth output holds: raw, capped, biased, after the softmax


@dataclass(frozen=True)
class Heads:
    """Heads of queries and of keys and values; 0 where the tensors have an axis of heads of their own."""

    query: int = 0
    key: int = 0


@dataclass(frozen=True)
class Visible:
    """Which keys a query sees: none behind itself if `causal`, and at most `left`, `right` places away (-1: any)."""

    causal: bool = False
    left: int = -1
    right: int = -1


@dataclass(frozen=True, eq=False)
class Attention(Layer):
    """ONNX's Attention. `roles` says what each input is (see ROLES); products run on the digital unit.

    Query, key and value are `[images, heads, steps, width]`, or `[images, steps, heads * width]` where `heads` is given.
    Outputs are the result, the keys and values with those of the past in front, and the scores of kind `scores`.
    A query that sees no key gets 0. A mask of bools says what is seen, one of floats is added to the scores.
    """

    roles: tuple[str, ...]
    heads: Heads = Heads()
    visible: Visible = Visible()
    scale: float | None = None
    softcap: float = 0.0
    scores: int = 0
    precision: str = ""

    op: ClassVar[str] = "Attention"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Types of as many outputs as are named."""
        given = dict(zip(self.roles, types))
        q, k, v = (self._split_type(runtime(self, given[role], f"the {role}"), role) for role in ROLES[:3])
        if len({q.dtype, k.dtype, v.dtype}) > 1 or np.dtype(q.dtype).kind != "f":
            raise self.error(f"query, key and value of {q.dtype}, {k.dtype}, {v.dtype}, must be of one float type")
        past = self._past(given, k, v)
        seen = past + k.shape[1]
        if (
            k.shape[2] != q.shape[2]
            or k.shape[:2] != v.shape[:2]
            or q.shape[0] % k.shape[0]
            or self.scores not in SCORES
        ):
            raise self.error(f"query {q.shape}, key {k.shape} and value {v.shape} of an image do not fit together")
        self._check_mask(given, (q.shape[0], q.shape[1], seen))
        if "lengths" in given and runtime(self, given["lengths"], "the lengths").shape:
            raise self.error("the lengths must be one an image")
        result = (q.shape[0], q.shape[1], v.shape[2])
        if self.heads.query:
            result = (q.shape[1], q.shape[0] * v.shape[2])  # type: ignore[assignment]
        shapes = [
            result,
            (k.shape[0], seen, k.shape[2]),
            (v.shape[0], seen, v.shape[2]),
            (q.shape[0], q.shape[1], seen),
        ]
        return tuple(TensorType(shape, q.dtype) for shape in shapes[: len(self.outputs)])

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the query's dtype, the softmax in `precision`; one sum order, whatever the threads."""
        given = dict(zip(self.roles, arrays))
        q, k, v = (self._split(given[role], role) for role in ROLES[:3])
        past = 0
        if "past key" in given:
            past = given["past key"].shape[2]
            k = np.concatenate([given["past key"], k], axis=2)
            v = np.concatenate([given["past value"], v], axis=2)
        bias = self._bias(given, q, k.shape[2], past)
        times = q.shape[1] // k.shape[1]
        root = q.dtype.type(math.sqrt(1 / math.sqrt(q.shape[3]) if self.scale is None else self.scale))
        with np.errstate(all="ignore"):  # -inf of what is masked, and of what is no number
            scores = _product("bhqd,bhkd->bhqk", q * root, np.repeat(k, times, axis=1) * root)
            shown = scores
            if self.softcap:
                cap = q.dtype.type(self.softcap)
                scores = cap * np.tanh(scores / cap)
                shown = scores if self.scores else shown
            biased = scores + bias
            weights = _softmax(biased.astype(self.precision or q.dtype), bias).astype(q.dtype)
            shown = {2: biased, 3: weights}.get(self.scores, shown)
            result = _product("bhqk,bhkd->bhqd", weights, np.repeat(v, times, axis=1))
        if self.heads.query:
            result = result.transpose(0, 2, 1, 3).reshape(len(result), result.shape[2], -1)
        made = (result, k, v, shown)[: len(self.outputs)]
        return tuple(np.ascontiguousarray(array.astype(q.dtype)) for array in made)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition per MAC of both products; scaling, mask and softmax: 8 a score."""
        q, k, v = (self._split_type(t, role) for t, role in zip(inputs, ROLES[:3]))
        given = dict(zip(self.roles, inputs))
        past = given["past key"].shape[1] if "past key" in given else 0
        scores = q.shape[0] * q.shape[1] * (k.shape[1] + past)
        return scores * (2 * q.shape[2] + 2 * v.shape[2] + 8) + sum(t.elements for t in outputs[1:])

    def _split(self, x: Array, role: str) -> Array:
        """With an axis of heads behind the images."""
        heads = self.heads.query if role == "query" else self.heads.key
        if not heads:
            return x
        return x.reshape(len(x), x.shape[1], heads, -1).transpose(0, 2, 1, 3)

    def _split_type(self, x: TensorType, role: str) -> TensorType:
        heads = self.heads.query if role == "query" else self.heads.key
        if len(x.shape) != (2 if heads else 3) or (heads and x.shape[-1] % heads):
            raise self.error(
                f"a {role} of per-image shape {x.shape}, must be [heads, steps, width] or, with heads, two axes"
            )
        return TensorType((heads, x.shape[0], x.shape[1] // heads), x.dtype) if heads else x

    def _past(self, given: dict[str, Operand], k: TensorType, v: TensorType) -> int:
        """Steps of the past, whose keys and values must be like the new ones."""
        if ("past key" in given) != ("past value" in given):
            raise self.error("one of past key and past value is given, must be both or none")
        if "past key" not in given:
            return 0
        keys, values = (runtime(self, given[role], f"the {role}") for role in ("past key", "past value"))
        ours = [(t.shape[0], t.shape[2]) for t in (k, v)]
        theirs = [(t.shape[0], t.shape[-1]) if len(t.shape) == 3 else () for t in (keys, values)]
        if ours != theirs or keys.shape[1] != values.shape[1] or "lengths" in given:
            raise self.error(
                f"past key {keys.shape} and value {values.shape} do not fit key {k.shape} and value {v.shape}"
            )
        return keys.shape[1]

    def _check_mask(self, given: dict[str, Operand], scores: tuple[int, int, int]) -> None:
        mask = given.get("mask")
        if mask is None:
            return
        if isinstance(mask, TensorType):
            shape = mask.shape
            if len(shape) != 3:
                raise self.error(
                    f"a mask of per-image shape {shape}, must have [heads, queries, keys] behind the batch axis"
                )
        else:
            shape = mask.shape[-3:]
            if mask.ndim > 3 and mask.shape[:-3] != (1,):
                raise self.error(f"a mask of shape {mask.shape} mixes the images, its first axis must be 1")
        fits = all(size in (1, whole) for size, whole in zip(shape[-2::-1], scores[-2::-1])) and shape[-1] <= scores[-1]
        if not fits or dtype_of(mask) not in ("bool", dtype_of(given["query"])):
            raise self.error(f"a mask of shape {shape} and type {dtype_of(mask)} for scores {scores}: it does not fit")

    def _bias(self, given: dict[str, Array], q: Array, seen: int, past: int) -> Array:
        """What is added to the scores: the mask, and -inf where a key is not seen."""
        low, zero = q.dtype.type(-np.inf), q.dtype.type(0)
        bias = np.zeros((1, 1, q.shape[2], seen), q.dtype)
        if "mask" in given:
            mask = given["mask"]
            mask = np.where(mask, zero, low) if mask.dtype == np.bool_ else mask
            lacking = [(0, 0)] * (mask.ndim - 1) + [(0, seen - mask.shape[-1])]
            bias = bias + np.pad(mask, lacking, constant_values=low)
        at, keys = np.arange(q.shape[2])[:, None], np.arange(seen)
        offset: Array = np.full((1, 1, 1, 1), past)
        if "lengths" in given:
            lengths = given["lengths"].reshape(-1, 1, 1, 1)
            offset = lengths - q.shape[2]
            bias = bias + np.where(keys < lengths, zero, low)
        ahead = keys - at - offset  # how far a key is behind the query's own place
        right = 0 if self.visible.causal else self.visible.right
        if self.visible.causal and self.visible.right >= 0:
            right = min(right, self.visible.right)
        hidden = (ahead > right) if right >= 0 else np.zeros(ahead.shape, np.bool_)
        if self.visible.left >= 0:
            hidden |= -ahead > self.visible.left
        return np.asarray(bias + np.where(hidden, low, zero))


def _product(axes: str, a: Array, b: Array) -> Array:
    """Summed in float32 or wider, rounded once to the operands' dtype; no BLAS, whose sum order may depend on threads."""
    wide = np.promote_types(a.dtype, np.float32)
    return np.asarray(np.einsum(axes, a.astype(wide), b.astype(wide)), a.dtype)


def _softmax(scores: Array, bias: Array) -> Array:
    """Along the last axis; a row whose every key is masked is 0."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = powers / powers.sum(axis=-1, keepdims=True)
    return np.asarray(np.where(np.isneginf(bias.max(axis=-1, keepdims=True)), scores.dtype.type(0), weights))
