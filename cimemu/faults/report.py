"""A campaign of faults as rows: shares with intervals by layer and by weight bit, the worst sites, and files."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import CimemuError
from cimemu.faults.campaign import FaultResult
from cimemu.shares import clopper_pearson
from cimemu.table_file import write_rows
from cimemu.whole_file import whole_file

FORMATS = (".csv", ".h5")
MEANINGS = {
    "macro": "macro of the chip",
    "write": "earlier writes of this macro in a run",
    "row": "row of the macro",
    "column": "column of the macro",
    "bit": "bit of the cell's level that is flipped",
    "level": "level without the fault",
    "faulty_level": "level with it",
    "layer": "layer that the cell belongs to",
    "channel": "output channel of the layer",
    "steps": "weight steps that the fault moves the weight by",
    "changed": "images whose output of the layer changes",
    "reached": "images whose output of the network changes",
    "harmful": "images whose predicted class changes",
    "lost": "images classified right without the fault, less those with it",
}


def share_row(harmful: NDArray[np.bool_], every: bool) -> dict[str, float]:
    """A share with its interval: that of Clopper and Pearson for drawn faults; where all were tried the share is known."""
    hits, faults = int(harmful.sum()), len(harmful)
    low, high = (hits / faults,) * 2 if every else clopper_pearson(hits, faults)
    return {"harmful": hits / faults, "low": low, "high": high}


def summary(result: FaultResult) -> dict[str, Any]:
    """The campaign in figures."""
    counts, faults = result.counts, len(result.sites)
    lost = counts["lost"] / result.images
    return {
        "faults": faults,
        "of": result.sites.total,
        "images": result.images,
        "seconds": result.seconds,
        "faults_per_second": result.rate,
        "masked": float((counts["changed"] == 0).mean()),
        "absorbed": float(((counts["changed"] > 0) & (counts["reached"] == 0)).mean()),
        **share_row(counts["harmful"] > 0, result.every),
        "accuracy": result.correct / result.images if result.labelled else None,
        "mean_drop": float(lost.mean()) if result.labelled else None,
        "largest_drop": float(lost.max()) if result.labelled else None,
    }


def grouped_rows(result: FaultResult, by: str) -> list[dict[str, Any]]:
    """A row for every layer (`by` "layer") or for every number of weight steps ("steps"): shares and the largest drop."""
    columns = table(result)
    keys = columns[by]
    order = list(dict.fromkeys(keys.tolist())) if by == "layer" else sorted(set(keys.tolist()))
    rows = []
    for key in order:
        mine = keys == key
        named = {"layer": key} if by == "layer" else {"weight steps": int(key)}
        lost = result.counts["lost"][mine]
        row = {**named, "faults": int(mine.sum()), "masked": float((result.counts["changed"][mine] == 0).mean())}
        row |= share_row(result.counts["harmful"][mine] > 0, result.every)
        rows.append(row | ({"largest drop": int(lost.max()) / result.images} if result.labelled else {}))
    return rows


def worst_rows(result: FaultResult, count: int) -> list[dict[str, Any]]:
    """The most harmful faults, a row each; `site` is what `--site` takes."""
    columns = table(result)
    rows = []
    for f in result.worst(count):
        site = ":".join(str(columns[name][f]) for name in ("macro", "write", "row", "column", "bit"))
        rest = ("layer", "channel", "level", "faulty_level", "steps", "reached", "harmful", "lost")
        rows.append({"site": site, **{name: columns[name][f].item() for name in rest}})
    return rows


def harmful_cells(result: FaultResult, least: float) -> NDArray[np.int64]:
    """(macro, row, column) of the cells of which one fault loses at least this share of the images: [cells, 3], each once."""
    mine = result.counts["lost"] >= max(1.0, least * result.images)
    sites = result.sites
    return np.unique(np.stack([sites.macro[mine], sites.row[mine], sites.column[mine]], axis=1), axis=0)


def table(result: FaultResult) -> dict[str, NDArray[Any]]:
    """Every fault, an entry in every column; `MEANINGS` says what they are."""
    sites = result.sites
    names = np.array([piece.layer for piece in sites.pieces])
    first = np.array([piece.first_channel for piece in sites.pieces])
    known = {
        "faulty_level": sites.faulty_level,
        "layer": names[sites.piece],
        "channel": first[sites.piece] + sites.output,
        "steps": sites.steps,
        **result.counts,
    }
    return {name: np.asarray(known[name] if name in known else getattr(sites, name)) for name in MEANINGS}


def write_faults(path: Path, result: FaultResult, *, overwrite: bool = False) -> None:
    """Every fault in a file, by its suffix: .csv or .h5. CimemuError for another one, and where the file is there."""
    check_suffix(path)
    columns = table(result)
    with whole_file(path, CimemuError, overwrite=overwrite) as made:
        if path.suffix == ".csv":
            write_rows(made, [dict(zip(columns, row)) for row in zip(*(v.tolist() for v in columns.values()))])
            return
        with h5py.File(made, "w") as file:
            file.attrs.update(images=result.images, seed=result.seed, faults_of_network=result.sites.total)
            for name, values in columns.items():
                text = values.astype(h5py.string_dtype()) if values.dtype.kind == "U" else values
                data = file.create_dataset(name, data=text, compression="gzip", compression_opts=1)
                data.attrs["meaning"] = MEANINGS[name]


def check_suffix(path: Path) -> None:
    """CimemuError where no format of `write_faults` has the suffix."""
    if path.suffix not in FORMATS:
        raise CimemuError(f"{path}: faults are written as {' or '.join(FORMATS)}, name such a file")
