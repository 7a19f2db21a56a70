"""Whether a file is what the schema says, asked once when it is opened, so that no view meets a surprise."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cimemu.errors import TraceError, why_unreadable
from cimemu.trace.schema import ATTRIBUTES, CAMPAIGNS, DATASETS, SCHEMA_VERSION, Item

MOST_BYTES = 1 << 34  # of one dataset that is read whole
_KINDS = {"int": "iu", "float": "f", "bool": "b", "number": "iuf"}
_LEAST = {"images": 1, "cycles": 0, "image_cycles": 0, "macs": 0, "conversions": 0, "event_images": 0}


def validated_attributes(path: Path) -> dict[str, Any]:
    """Root attributes of the trace at `path`, every member of which has been checked.

    TraceError where the file is no HDF5 file, or an attribute or dataset is missing or of another type or shape.
    """
    try:
        with h5py.File(path, "r") as file:
            return _checked(file, path)
    except TraceError:
        raise
    except (BlockingIOError, PermissionError) as error:
        raise TraceError(f"{path}: cannot be read ({why_unreadable(error)})") from error
    except OSError as error:
        raise TraceError(f"{path}: is no HDF5 file, name a trace that `cimemu run` wrote") from error
    except Exception as error:  # the HDF5 library has a kind of its own for every sort of damage
        raise damaged(path, f"{type(error).__name__} while it was read") from error


def damaged(path: Path, what: str) -> TraceError:
    """The one line for a file that is no whole trace."""
    return TraceError(
        f"{path}: {' '.join(what.split())[:200]}; the file is damaged or no trace, run the emulation again"
    )


def own_dataset(file: h5py.File, path: str) -> h5py.Dataset | None:
    """The dataset `path` whose values lie in this very file; None for anything else, links to other files included."""
    node: Any = file
    for name in path.split("/"):
        if not isinstance(node, h5py.Group) or not isinstance(node.get(name, getlink=True), h5py.HardLink):
            return None
        node = node[name]
    if not isinstance(node, h5py.Dataset) or node.external or node.is_virtual or node.shape is None:
        return None
    return node


def _checked(file: h5py.File, path: Path) -> dict[str, Any]:
    version = _plain(file.attrs.get("schema_version"))
    if type(version) is not int or version != SCHEMA_VERSION:
        raise TraceError(
            f"{path}: schema_version = {' '.join(str(version).split())[:40]}, this cimemu reads {SCHEMA_VERSION}"
        )
    kind = _plain(file.attrs.get("kind"))
    if kind is not None and kind not in CAMPAIGNS:
        raise damaged(path, f"attribute kind = {str(kind)[:40]!r}, must be one of {', '.join(CAMPAIGNS)}")
    attributes, datasets = (ATTRIBUTES, DATASETS) if kind is None else CAMPAIGNS[kind]
    found = {name: _plain(value) for name, value in file.attrs.items()}
    for item in attributes:
        _check_attribute(path, item, found)
    _check_json(path, found)
    lengths = {"image": int(found["images"])} if kind is None else {}
    for item in datasets:
        if not item.path.endswith("/*"):
            _check_dataset(file, path, item, lengths)
    if kind is None:
        _check_run(file, path, lengths)
    return found


def _check_attribute(path: Path, item: Item, found: dict[str, Any]) -> None:
    value = found.get(item.path)
    if value is None:
        if item.optional:
            return
        raise damaged(path, f"attribute {item.path} is missing")
    good = {
        "int": type(value) is int,
        "float": type(value) in (int, float) and abs(value) < 1e300,
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
    }[item.dtype]
    if not good:
        raise damaged(path, f"attribute {item.path} is {str(value)[:40]!r}, must be {item.dtype}")
    least = _LEAST.get(item.path)
    if (least is not None and value < least) or (item.path == "clock_ns" and not value > 0):
        raise damaged(path, f"attribute {item.path} = {value}, must be {'> 0' if least is None else f'>= {least}'}")


def _check_json(path: Path, found: dict[str, Any]) -> None:
    for name, keys in (("arch_json", ("name",)), ("provenance_json", ())):
        if name not in found:
            continue
        try:
            tree = json.loads(found[name])
        except (TypeError, ValueError, RecursionError):
            raise damaged(path, f"attribute {name} is no JSON") from None
        if not isinstance(tree, dict) or any(not isinstance(tree.get(key), str) for key in keys):
            raise damaged(path, f"attribute {name} is no mapping with {', '.join(keys) or 'keys'}")
        if name == "arch_json" and not isinstance(tree.get("schedule", ""), str):
            raise damaged(path, "attribute arch_json: schedule is no text")


def _check_dataset(file: h5py.File, path: Path, item: Item, lengths: dict[str, int]) -> None:
    """One dataset's presence, type and dimensions; dimensions of one name are of one length in the whole file."""
    data = own_dataset(file, item.path)
    if data is None:
        if item.optional and item.path not in file:
            return
        raise damaged(path, f"/{item.path} is missing or no dataset of this file")
    is_text = h5py.check_string_dtype(data.dtype) is not None
    kinds = _KINDS.get(item.dtype) or np.dtype("S" if item.dtype == "str" else item.dtype).kind
    if is_text != (item.dtype == "str") or (not is_text and data.dtype.kind not in kinds):
        raise damaged(path, f"/{item.path} is {data.dtype}, must be {item.dtype}")
    if not is_text and data.dtype.fields is not None:
        raise damaged(path, f"/{item.path} is a compound, must be {item.dtype}")
    dims = [dim.strip() for dim in item.dims.split(",")]
    if len(data.shape) != len(dims):
        raise damaged(path, f"/{item.path} has {len(data.shape)} dimensions, must have [{item.dims}]")
    for dim, length in zip(dims, data.shape):
        if lengths.setdefault(dim, length) != length:
            raise damaged(path, f"/{item.path} has {length} along {dim}, elsewhere there are {lengths[dim]}")
    _check_size(path, item.path, data)


def _check_size(path: Path, name: str, data: h5py.Dataset) -> None:
    if not name.startswith("events/") and data.size * max(1, data.dtype.itemsize) > MOST_BYTES:
        raise damaged(path, f"/{name} has {data.size} elements, more than is read at once")


def _check_run(file: h5py.File, path: Path, lengths: dict[str, int]) -> None:
    """What only traces of one run have: their outputs, the kinds of events, a row of energy more than layers."""
    outputs = file.get("outputs")
    if not isinstance(outputs, h5py.Group):
        raise damaged(path, "group /outputs is missing")
    for name in outputs:
        data = own_dataset(file, f"outputs/{name}")
        if data is None or data.dtype.kind not in "iufb" or data.shape[:1] != (lengths["image"],):
            raise damaged(path, f"/outputs/{name} is no dataset of numbers, one row an image")
        _check_size(path, f"outputs/{name}", data)
    if lengths["row"] != lengths["layer"] + 1:
        raise damaged(path, f"/energy has {lengths['row']} rows for {lengths['layer']} layers, must be one more")
    for dim in ("layer", "component", "unit"):
        if lengths[dim] < 1:
            raise damaged(path, f"there is no {dim}")
    kinds_of(file, path)


def kinds_of(file: h5py.File, path: Path) -> list[str]:
    """Names of event kinds. TraceError where the attribute is missing or no list of names."""
    kinds = file["events"].attrs.get("kinds")
    if not isinstance(kinds, np.ndarray) or kinds.ndim != 1 or not all(isinstance(kind, str) for kind in kinds):
        raise damaged(path, "attribute kinds of /events is no list of names")
    return [str(kind) for kind in kinds]


def check_events(path: Path, chunk: dict[str, Any], counts: dict[str, int]) -> None:
    """TraceError where rows of the event table name no unit, layer or kind, or end before they start."""
    for name, count in counts.items():
        values = chunk.get(name)
        if values is not None and len(values) and (int(values.min()) < 0 or int(values.max()) >= count):
            raise damaged(path, f"/events/{name} has a number beyond the {count} there are")
    if "start" in chunk and "end" in chunk and bool((chunk["end"] < chunk["start"]).any()):
        raise damaged(path, "/events has a row that ends before it starts")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


__all__: Sequence[str] = ["check_events", "damaged", "kinds_of", "own_dataset", "validated_attributes"]
