"""The file of a stress run that has ended: trials, points, layers, schemes, and how they compare."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.emulate import plugins_attribute
from cimemu.stress.result import StressResult
from cimemu.stress.statistics import QUANTILES
from cimemu.stress.trial import StressTask
from cimemu.trace.trials import Chosen, Status
from cimemu.workload.network import Network


def groups(
    result: StressResult, status: NDArray[np.uint8], values: Mapping[str, NDArray[Any]]
) -> dict[str, dict[str, Any]]:
    """The datasets of the finished file."""
    ran, failed = status == Status.DONE, status == Status.FAILED
    fields = {name: array for name, array in values.items() if name != "error"}
    return {
        "trials": {
            "status": status,
            "accuracy": result.accuracy,
            "error": np.where(failed, values["error"], ""),
            **{name: Chosen(array, ran) for name, array in fields.items()},
        },
        "points": {
            "scheme": list(result.scheme_of),
            "vary": ["; ".join(vary) for vary in result.vary],
            **result.columns,
            "layer_error": result.layer_error,
            "own_error": result.own_error,
            **_kept(result),
        },
        "layers": {"name": list(result.layers)},
        "schemes": {
            "name": list(result.schemes),
            **{key: [result.ideal[name][key] for name in result.schemes] for key in result.ideal[result.schemes[0]]},
        },
        "paired": {key: [row[key] for row in result.paired] for key in (result.paired[0] if result.paired else ())},
    }


def _kept(result: StressResult) -> dict[str, Any]:
    """What kept the chips, by point, where something did."""
    rows = [kept.row() for kept in result.upkeep if kept is not None]
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def attributes(arch: Arch, network: Network, task: StressTask) -> dict[str, Any]:
    """The attributes of the finished file."""
    return {
        "workload": network.name,
        "seed": task.seed,
        "images": len(task.inputs),
        "clock_ns": arch.clock_ns,
        "arch_json": json.dumps(arch.model_dump(mode="json"), sort_keys=True),
        "quantiles": list(QUANTILES),
        **plugins_attribute(arch, network, [model for point in task.points for model in point.models]),
    }
