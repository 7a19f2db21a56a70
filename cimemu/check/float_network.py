"""A float TensorFlow Lite network, before it is quantised, against LiteRT's reference kernels.

What an importer says of a float file is held to the file's own runtime, tensor by tensor and within the bounds of
`cimemu.check.float_bound`. The network that is run on a chip is made of it by quantisation, and `check_network` compares that.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.check.compare import TensorDiff, compare_tensor, join_diffs
from cimemu.check.float_bound import FloatBounds
from cimemu.check.litert_runner import LiteRtRun
from cimemu.check.report import CheckReport
from cimemu.errors import WorkloadError
from cimemu.layer.execute import in_order, run_float
from cimemu.workload.network import Network


def check_float(network: Network, origin: str | Path, inputs: Any, *, batch: int = 8) -> CheckReport:
    """Compare every tensor of a float network that LiteRT has too, on `inputs` [images, ...] (a dict for several inputs).

    `origin` is the `.tflite` file that `network` was read from. WorkloadError where there is nothing to compare.
    """
    if network.is_quantized:
        raise WorkloadError(f"network {network.name}: has integers already, compare it without --float")
    reference = LiteRtRun(replace(network, origin=Path(origin)))
    arrays = in_order(network, inputs)
    if not all(array.ndim and len(array) for array in arrays):
        raise WorkloadError(f"network {network.name}: no images, there is nothing to compare; give at least one")
    compared = [name for layer in network.layers for name in layer.outputs if name in reference.names]
    bounds = FloatBounds(network, compared, reference.forms)
    keep = frozenset([*compared, *bounds.needed])
    rows: dict[str, list[TensorDiff]] = {name: [] for name in compared}
    firsts = list(range(0, len(arrays[0]), batch))
    for first in firsts:
        part = [array[first : first + batch] for array in arrays]
        ours = run_float(network, part, keep)
        theirs = reference.tensors(part, network, first)
        limits = bounds.of(ours, theirs)
        for name in compared:
            bound, slack = bounds.split(name, limits.get(name, np.zeros(())))
            rows[name].append(compare_tensor(name, ours[name], theirs[name], bound, slack=slack))
    return CheckReport(
        against=f"{reference.title} {reference.version}".strip(),
        images=len(arrays[0]),
        tensors=tuple(join_diffs(parts, firsts) for parts in rows.values()),
        bit_serial_layers=0,
        shortcut_layers=0,
        conversions=0,
        movement=(),
        kernels={},
        unfused=0,
        layers={name: layer.name for layer in network.layers for name in layer.outputs},
        forms={name: form for name, form in reference.forms.items() if name in rows},
        settings=reference.settings,
        outputs=network.outputs,
    )
