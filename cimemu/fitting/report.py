"""`cimemu.fit`: how a network fills a chip's macros, what loading its weights takes, and widths that would fill them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.errors import CimemuError, MappingError, WorkloadError
from cimemu.fitting.channels import trace_channels
from cimemu.fitting.mapped import NetworkOnChip, map_network
from cimemu.fitting.resize import resized
from cimemu.fitting.search import Walks, allocate
from cimemu.layer.base import Array
from cimemu.mapping.layout import make_layout
from cimemu.ptq import quantize
from cimemu.table_file import write_rows
from cimemu.whole_file import whole_file
from cimemu.workload.network import Network

FULL_BLOCKS = 4  # row blocks up to which full widths are listed


@dataclass(frozen=True)
class Group:
    """Channels that change together."""

    layers: tuple[str, ...]
    present: int
    proposed: int


@dataclass(frozen=True, eq=False)
class Proposal:
    """Widths for a macro budget; `network` has them, with random weights, and `mapped` is that network on the chip."""

    macros: int
    goal: float
    groups: tuple[Group, ...]
    network: Network
    mapped: NetworkOnChip

    @property
    def reached(self) -> bool:
        """Whether the mapper puts the network on at most `macros` macros with at least `goal` of their cells in use."""
        plan = self.mapped.plan
        return plan.phases == 1 and plan.macros_used <= self.macros and plan.utilization >= self.goal


@dataclass(frozen=True, eq=False)
class FitReport:
    """What `cimemu.fit` returns."""

    arch: Arch
    network: str
    mapped: NetworkOnChip
    full_widths: Mapping[int, tuple[int, ...]]  # by kernel area: input channels that fill 1, 2, 3 ... row blocks
    outputs_per_macro: int
    proposal: Proposal | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = self.proposal
        return {
            "arch": self.arch.name,
            "network": self.network,
            "capacity_macros": self.arch.macros,
            **self.mapped.summary(),
            "full_widths": {str(area): list(widths) for area, widths in self.full_widths.items()},
            "outputs_per_macro": self.outputs_per_macro,
            "layers": self.mapped.rows,
            "proposal": None
            if found is None
            else {
                "budget_macros": found.macros,
                "goal": found.goal,
                "reached": found.reached,
                "groups": [vars(group) for group in found.groups],
                **found.mapped.summary(),
                "layers": found.mapped.rows,
            },
        }


def fit(
    arch: Arch,
    network: Network,
    *,
    macros: int | None = None,
    goal: float = 0.9,
    propose: bool = True,
    seed: int = 0,
) -> FitReport:
    """Map `network` (float or quantised) on `arch`; with `propose` also channel widths that fill `macros` macros.

    Only shapes matter: a float network is quantised with one random image. `macros` is by default what the network
    takes now, or the whole chip where it does not fit at once; `goal` is the share of cells that should hold weights.
    The proposal keeps tied channels (residual additions, depthwise convolutions) together, is packed tightly
    (`mapping.packing`) where the chip shares macros, and is checked by mapping a network of its widths. Raises
    MappingError or WorkloadError with the rule and the remedy.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> report = cimemu.fit(arch, network, propose=False)
    >>> found = report.mapped.summary()
    >>> found["macros"], found["phases"], found["macs"], round(found["utilization"], 3)
    (12, 1, 442608, 0.555)
    """
    if not 0.0 < goal <= 1.0:
        raise CimemuError(f"goal = {goal}, must be above 0 and at most 1")
    lowered = quantize(network, arch, calibration=_random_images(network, seed))
    mapped = map_network(lowered, arch)
    arch = arch.with_tiles(mapped.plan.arch.tiles)  # a number, where the network decides it
    if macros is not None and not 1 <= macros <= arch.macros:
        raise MappingError(
            f"macros = {macros}, the chip {arch.name} has {arch.macros}; give 1 .. {arch.macros}, or more chip.tiles"
        )
    areas = sorted({layer.geometry.kernel_area for layer in mapped.plan.layers if layer.geometry is not None})
    report = FitReport(
        arch=arch,
        network=network.name,
        mapped=mapped,
        full_widths={area: full_widths(arch, area) for area in areas},
        outputs_per_macro=arch.macro.outputs,
    )
    if not propose:
        return report
    if network.is_quantized:
        raise WorkloadError(
            f"network {network.name}: is quantised, widths are proposed for float networks; give the float file, or leave "
            "the proposal out (--no-propose, propose=False)"
        )
    budget = macros or (mapped.plan.macros_used if mapped.plan.phases == 1 else arch.macros)
    channels = trace_channels(network)
    packed = arch.model_copy(update={"mapping": arch.mapping.model_copy(update={"packing": "tight"})})
    widths, _ = allocate(lowered, channels, packed, budget, goal, Walks(seed))
    changed = resized(network, channels, widths, seed)
    again = map_network(quantize(changed, packed, calibration=_random_images(changed, seed)), packed)
    groups = tuple(Group(tuple(channels.makers(root)), channels.sizes[root], width) for root, width in widths.items())
    return FitReport(**{**vars(report), "proposal": Proposal(budget, goal, groups, changed, again)})


def full_widths(arch: Arch, kernel_area: int) -> tuple[int, ...]:
    """Input channels that fill 1, 2, 3 ... row blocks best: the most whose blocks are that many, by the mapper's cut."""
    widths = []
    for blocks in range(1, FULL_BLOCKS + 1):
        channels = blocks * arch.macro.rows // kernel_area
        while channels and len(make_layout(channels * kernel_area, 1, arch.macro, kernel_area).row_blocks) > blocks:
            channels -= 1
        if channels:
            widths.append(channels)
    return tuple(dict.fromkeys(widths))


def _random_images(network: Network, seed: int) -> dict[str, Array] | None:
    """One image a float network can be quantised with: its values do not matter here. None for a quantised one."""
    if network.is_quantized:
        return None
    draw = np.random.default_rng(seed)
    images: dict[str, Array] = {}
    for name in network.inputs:
        kind = network.types[name]
        real = kind.dtype == "float32"
        values = draw.random((1, *kind.shape)) if real else np.zeros((1, *kind.shape))
        images[name] = values.astype(kind.dtype)
    return images


def write_csv(report: FitReport, path: Path, *, overwrite: bool = False) -> None:
    """The layers as they are, and as proposed, as one table. Raises WorkloadError where the file cannot be written."""
    parts = [("present", report.mapped)]
    if report.proposal is not None:
        parts.append(("proposed", report.proposal.mapped))
    rows = [{"widths": name, **row} for name, mapped in parts for row in mapped.rows]
    with whole_file(path, WorkloadError, overwrite=overwrite) as made:
        write_rows(made, rows)
