"""A trace's groups as pandas and xarray objects, with the dimensions and units of the schema."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cimemu.errors import TraceError
from cimemu.trace.schema import DATASETS, Item
from cimemu.trace.tables import EventNames, Table

if TYPE_CHECKING:
    import pandas
    import xarray

_ITEMS = {item.path: item for item in DATASETS}


def frame(path: Path, group: str, table: Table, names: EventNames | None = None) -> "pandas.DataFrame":
    """`table` of `group` as a DataFrame: a row per layer, unit, event, macro or image, a column per dataset.

    Events get the `names` of kinds, units and layers beside their numbers. `energy` is the matrix of pJ, a row per
    layer and a column per component. TraceError where pandas is missing or the group is no table.
    """
    pandas = _library("pandas")
    if group == "energy":
        return pandas.DataFrame(table["pj"], index=_named(table["row"], "row"), columns=_named(table["component"], ""))
    lengths = {len(values) for values in table.values()}
    if group == "outputs" or len(lengths) != 1 or any(values.ndim != 1 for values in table.values()):
        raise TraceError(f"{path}: group {group!r} is no table, ask for dataset({group!r}) or table({group!r})")
    order = [path.split("/")[1] for path in _ITEMS if path.startswith(f"{group}/") and path.split("/")[1] in table]
    made = pandas.DataFrame({name: table[name] for name in order})
    if names is not None:
        return named_events(names, table)
    if "name" in made:
        made = made.set_index("name")
    return made.rename_axis(_ITEMS[f"{group}/{order[0]}"].dims)


def named_events(names: EventNames, events: Table) -> "pandas.DataFrame":
    """Rows of the event table with the names of their kinds, units and layers beside the numbers."""
    pandas = _library("pandas")
    order = [path.split("/")[1] for path in _ITEMS if path.startswith("events/")]
    made = pandas.DataFrame({name: events[name] for name in order})
    for column, texts in (("kind", names.kinds), ("unit", names.units), ("layer", names.layers)):
        made[f"{column}_name"] = np.asarray(texts, dtype=object)[events[column]]
    return made


def dataset(group: str, table: Table) -> "xarray.Dataset":
    """`table` of `group` as a Dataset: every dataset with its dimensions, unit and meaning; TraceError where xarray is missing."""
    xarray = _library("xarray")
    names = {"layer": "layers/name", "unit": "units/name", "row": "energy/row", "component": "energy/component"}
    variables, coordinates = {}, {}
    for name, values in table.items():
        item = _ITEMS.get(f"{group}/{name}") or Item(f"{group}/{name}", "any", "image", "", "")
        dims = [dim.strip() for dim in item.dims.split(",")][: values.ndim]
        dims = [dim for dim in dims if dim != "..."]
        dims += [f"{name}_{axis}" for axis in range(len(dims), values.ndim)]
        made = (dims, values, {"unit": item.unit, "what": item.doc})
        if names.get(dims[0]) == f"{group}/{name}":
            coordinates[dims[0]] = made
        else:
            variables[name] = made
    return xarray.Dataset(variables, coords=coordinates)


def _named(values: Any, name: str) -> Any:
    pandas = _library("pandas")
    return pandas.Index(list(values), name=name or None)


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise TraceError(f'{name} is not installed: pip install "cimemu[view]", or use Trace.table(group)') from None
