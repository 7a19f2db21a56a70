"""Where two sets of tensors differ: how many elements, the first coordinate, both values, the largest difference."""

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array


@dataclass(frozen=True)
class TensorDiff:
    """One compared tensor; `first`, `ours`, `theirs` are None where nothing differs."""

    name: str
    elements: int
    differing: int
    first: tuple[int, ...] | None = None
    ours: float | None = None
    theirs: float | None = None
    largest: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def compare_tensors(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> list[TensorDiff]:
    """A row per tensor that both have, in our order. WorkloadError where shapes differ or nothing is shared."""
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise WorkloadError(
            f"nothing to compare: none of {sorted(theirs)[:5]} is a tensor of the network, whose tensors are "
            f"{list(ours)[:5]} ..."
        )
    return [_compare(name, np.asarray(ours[name]), np.asarray(theirs[name])) for name in shared]


def _compare(name: str, ours: Array, theirs: Array) -> TensorDiff:
    if ours.shape != theirs.shape:
        raise WorkloadError(f"tensor {name}: shapes {ours.shape} and {theirs.shape}, must be equal")
    exact = ours.dtype.kind in "iub" and theirs.dtype.kind in "iub"
    a, b = (v.astype(np.int64 if exact else np.float64) for v in (ours, theirs))
    different = a != b
    if not exact:
        different &= ~(np.isnan(a) & np.isnan(b))
    count = int(different.sum())
    if not count:
        return TensorDiff(name, ours.size, 0)
    where = tuple(int(i) for i in np.argwhere(different)[0])
    return TensorDiff(
        name,
        ours.size,
        count,
        where,
        a[where].item(),
        b[where].item(),
        float(np.nanmax(np.abs(a - b)[different])),
    )


def read_tensors(path: str | Path) -> dict[str, Array]:
    """Tensors of a `.npz`, by name; WorkloadError where it cannot be read."""
    path = Path(path)
    if not path.is_file():
        raise WorkloadError(f"{path}: no such file, give an .npz with a name per tensor")
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise WorkloadError(f"{path}: not a readable .npz of plain arrays: {error}") from None
