"""A network on a chip as `cimemu.fit` tells it: a row per layer, and the whole."""

from dataclasses import dataclass
from typing import Any

from cimemu.arch.schema import Arch
from cimemu.fitting.loading import Loading, weight_loading
from cimemu.fitting.paper import PaperCount, paper_count
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import LayerPlan, Plan
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class NetworkOnChip:
    """One network on the chip, by the mapper."""

    plan: Plan
    loading: Loading
    parameters: int
    macs: int
    paper: PaperCount

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row per layer on macros."""
        return [_row(self.plan, self.loading, layer) for layer in self.plan.layers if layer.on_macros]

    def summary(self) -> dict[str, Any]:
        """The whole network."""
        return {
            "macros": self.plan.macros_used,
            "phases": self.plan.phases,
            "utilization": self.plan.utilization,
            "parameters": self.parameters,
            "macs": self.macs,
            "load_cycles": sum(self.loading.phase_cycles),
            "load_uj": float(self.loading.layer_pj.sum()) / 1e6,
            "cell_writes": self.loading.cell_writes,
            "paper_macros": self.paper.macros,
            "paper_utilization": self.paper.utilization,
        }


def map_network(lowered: Network, arch: Arch) -> NetworkOnChip:
    """An integer network by the mapper, in phases where it does not fit at once. Raises MappingError."""
    plan = make_plan(lowered, arch.model_copy(update={"allow_reprogram": True}))
    geometries = [layer.geometry for layer in plan.layers if layer.geometry is not None]
    return NetworkOnChip(
        plan=plan,
        loading=weight_loading(plan),
        parameters=sum(
            layer.geometry.rows_per_group * layer.geometry.channels_out
            for layer in plan.layers
            if layer.geometry is not None and not layer.written
        ),
        macs=sum(layer.macs for layer in plan.layers),
        paper=paper_count(geometries, arch.macro),
    )


def _row(plan: Plan, loading: Loading, layer: LayerPlan) -> dict[str, Any]:
    g, macro = layer.geometry, plan.arch.macro
    assert g is not None
    macros = len({(p.phase, p.macro) for p in plan.placed if p.layer == layer.cells_of})
    cells = sum(block.cells for block in layer.blocks)
    return {
        "layer": layer.name,
        "kernel": f"{g.kernel_h}x{g.kernel_w}",
        "groups": g.groups,
        "inputs": g.channels_in,
        "rows": g.rows_per_group,
        "outputs": g.channels_out,
        "columns": g.channels_out * macro.output_width,
        "blocks": len(layer.blocks),
        "macros": macros,
        "row_use": sum(b.rows_used for b in layer.blocks) / (len(layer.blocks) * macro.rows),
        "column_use": sum(b.physical_columns for b in layer.blocks) / (len(layer.blocks) * macro.columns),
        "utilization": cells * layer.replicas / (macros * macro.rows * macro.columns),
        "phase": layer.phase,
        "macro_cycles": -(-g.positions // layer.replicas) * max(block.op_cycles for block in layer.blocks),
        "load_cycles": int(loading.layer_cycles[layer.index]),
        "load_nj": float(loading.layer_pj[layer.index]) / 1e3,
    }
