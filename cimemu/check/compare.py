"""One tensor of two runs: how many elements differ, the first coordinate, both values, the largest difference.

Integers (and truth values) are compared exactly. Floats agree where they are equal or apart by at most a bound that the
caller derived for each element (see `cimemu.check.float_bound`); an element without a finite bound must be equal.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array

KINDS = {
    "c": "complex numbers",
    "S": "text",
    "U": "text",
    "O": "Python objects",
    "V": "records",
    "M": "dates",
    "m": "times",
}
WHOLE_FLOATS = 2.0**53  # from here on float64 does not hold every integer


@dataclass(frozen=True)
class TensorDiff:
    """One compared tensor; `first`, `ours`, `theirs` are None where nothing differs.

    `differing` counts elements apart by more than their bound, `within_bound` those that are not equal but within it; `bound`
    is the largest finite bound of the tensor. Integers have none, unless the reference made them by a float product; how
    many of those that differ are codes that a float operator in front of them leaves open is `explained`.
    """

    name: str
    elements: int
    differing: int
    first: tuple[int, ...] | None = None
    ours: float | None = None
    theirs: float | None = None
    largest: float = 0.0
    kind: str = "integer"  # integer, float, code: integers made of floats, or input: a tensor that both were given
    within_bound: int = 0
    bound: float = 0.0
    explained: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def comparable(name: str, dtype: np.dtype[Any], against: str) -> None:
    """WorkloadError where values of `dtype` cannot be compared with a tensor whose dtype is named `against`."""
    if dtype.kind not in "iufb":
        raise WorkloadError(
            f"tensor {name}: the reference holds {KINDS.get(dtype.kind, str(dtype))} ({dtype}), must be real numbers; "
            f"save it as {against}"
        )
    if np.dtype(against).kind == "f" and (dtype.kind != "f" or not np.dtype(against).itemsize <= dtype.itemsize <= 8):
        raise WorkloadError(
            f"tensor {name}: the reference holds {dtype.name}, must be {against} or float64, as the network's tensor is "
            f"{against}; save it without changing its type"
        )
    if dtype.kind == "f" and dtype.itemsize > 8:
        raise WorkloadError(
            f"tensor {name}: the reference holds {dtype.name}, at most float64 can be compared; convert it"
        )


def compare_tensor(
    name: str,
    ours: Array,
    theirs: Array,
    bound: NDArray[np.float64] | float = 0.0,
    kind: str = "",
    slack: NDArray[np.float64] | float = 0.0,
) -> TensorDiff:
    """Compare one tensor; `bound` is what elements may be apart, `slack` what a difference beyond it would be explained by.

    WorkloadError where shape or type cannot be compared.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    comparable(name, theirs.dtype, ours.dtype.name)
    if ours.shape != theirs.shape:
        raise WorkloadError(f"tensor {name}: shapes {ours.shape} and {theirs.shape}, must be equal")
    if not ours.size:
        raise WorkloadError(f"tensor {name}: has no elements, there is nothing to compare; give at least one image")
    floats = ours.dtype.kind == "f"
    equal, distance = (_float_distance if floats else _integer_distance)(ours, theirs)
    limit = np.broadcast_to(np.asarray(bound, dtype=np.float64), ours.shape)
    near = ~equal & np.isfinite(limit) & (distance <= limit)
    different = ~(equal | near)
    found = TensorDiff(
        name,
        int(ours.size),
        int(different.sum()),
        kind=kind or ("float" if floats else "integer"),
        largest=float(np.max(distance, where=~equal, initial=0.0)),
        within_bound=int(near.sum()),
        bound=float(np.max(limit, where=np.isfinite(limit), initial=0.0)),
        explained=int((different & (distance <= slack) & np.isfinite(slack)).sum()),
    )
    if not found.differing:
        return found
    where = tuple(int(i) for i in np.argwhere(different)[0])
    return replace(found, first=where, ours=ours[where].item(), theirs=theirs[where].item())


def _float_distance(ours: Array, theirs: Array) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(which are equal, distances); two values that are no numbers are equal, one alone is infinitely far."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(a - b)
    return equal, np.where(np.isnan(distance) & ~equal, np.inf, distance)


def _integer_distance(ours: Array, theirs: Array) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(which are equal, distances); a reference may hold whole numbers in floats."""
    a = ours.astype(np.int64)
    if theirs.dtype.kind == "f":
        wide = theirs.astype(np.float64)
        whole = np.isfinite(wide) & (np.rint(wide) == wide) & (np.abs(wide) <= WHOLE_FLOATS)
        b = np.where(whole, wide, 0.0).astype(np.int64)
    else:
        wide = theirs.astype(np.float64)
        whole = theirs <= np.iinfo(np.int64).max if theirs.dtype == np.uint64 else np.ones(theirs.shape, np.bool_)
        b = np.where(whole, theirs, 0).astype(np.int64)
    equal = whole & (a == b)
    with np.errstate(invalid="ignore"):
        distance = np.where(whole, np.abs((a - b).astype(np.float64)), np.abs(a.astype(np.float64) - wide))
    return equal, np.where(np.isnan(distance), np.inf, distance)


def join_diffs(parts: Sequence[TensorDiff], firsts: Sequence[int]) -> TensorDiff:
    """One row of the rows of all batches; `firsts` are the batches' first images, by which coordinates are moved."""
    worst = next((number for number, part in enumerate(parts) if part.differing), None)
    joined = replace(
        parts[0] if worst is None else parts[worst],
        elements=sum(part.elements for part in parts),
        differing=sum(part.differing for part in parts),
        within_bound=sum(part.within_bound for part in parts),
        explained=sum(part.explained for part in parts),
        largest=max(part.largest for part in parts),
        bound=max(part.bound for part in parts),
    )
    if worst is None or joined.first is None:
        return joined
    return replace(joined, first=(joined.first[0] + firsts[worst], *joined.first[1:]))
