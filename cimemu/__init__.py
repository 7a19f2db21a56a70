"""cimemu: a cycle-level, bit-exact emulator of compute-in-memory crossbar hardware.

The names below are the public interface; each is imported when it is first used, so that
`import cimemu` costs nothing.
"""

from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from cimemu.version import __version__

_PUBLIC = {
    "Arch": "cimemu.arch.schema",
    "ArchError": "cimemu.errors",
    "CimemuError": "cimemu.errors",
    "Draws": "cimemu.options",
    "Macro": "cimemu.arch.macro",
    "MappingError": "cimemu.errors",
    "PluginError": "cimemu.errors",
    "Network": "cimemu.workload.network",
    "Options": "cimemu.options",
    "Output": "cimemu.options",
    "Progress": "cimemu.progress",
    "TraceError": "cimemu.errors",
    "WorkloadError": "cimemu.errors",
    "apply_scheme": "cimemu.ptq",
    "calibrate_converters": "cimemu.ptq",
    "cost_table": "cimemu.prices",
    "explain": "cimemu.explained",
    "export_trace": "cimemu.views",
    "fit": "cimemu.fitting.report",
    "diff_traces": "cimemu.difference",
    "generate": "cimemu.generation",
    "grouped_view": "cimemu.mapping.grouped",
    "import_costs": "cimemu.cost.external",
    "json_schema": "cimemu.file_schema",
    "limits": "cimemu.fitting.limits",
    "list_archs": "cimemu.arch.load",
    "list_workloads": "cimemu.loading.load",
    "load_arch": "cimemu.arch.load",
    "load_network": "cimemu.importer",
    "load_plugin": "cimemu.plugins",
    "load_workload": "cimemu.loading.load",
    "make_plan": "cimemu.mapping.place",
    "make_shape": "cimemu.shapes",
    "mvm": "cimemu.engines.mvm",
    "op_cycles": "cimemu.mapping.cycles",
    "open_trace": "cimemu.trace.read",
    "power_of": "cimemu.trace.power",
    "quantize": "cimemu.ptq",
    "run": "cimemu.emulate",
    "read_scheme": "cimemu.ptq",
    "save_onnx": "cimemu.exporter",
    "scheme_of": "cimemu.ptq",
    "size": "cimemu.fitting.size",
    "suggest_costs": "cimemu.cost.suggest",
    "write_chip": "cimemu.drawn_chip",
    "write_diff_html": "cimemu.views",
    "write_html": "cimemu.views",
}

# Reached as cimemu.adapt.convert and cimemu.torch.emulate; what is in them needs the extra `torch`, and says so.
_PACKAGES = ("adapt", "torch")

__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from cimemu.arch.load import list_archs, load_arch
    from cimemu.arch.macro import Macro
    from cimemu.arch.schema import Arch
    from cimemu.cost.external import import_costs
    from cimemu.cost.suggest import suggest_costs
    from cimemu.difference import diff_traces
    from cimemu.drawn_chip import write_chip
    from cimemu.emulate import run
    from cimemu.engines.mvm import mvm
    from cimemu.errors import ArchError, CimemuError, MappingError, PluginError, TraceError, WorkloadError
    from cimemu.explained import explain
    from cimemu.exporter import save_onnx
    from cimemu.file_schema import json_schema
    from cimemu.fitting.limits import limits
    from cimemu.fitting.report import fit
    from cimemu.fitting.size import size
    from cimemu.generation import generate
    from cimemu.importer import load_network
    from cimemu.loading.load import list_workloads, load_workload
    from cimemu.mapping.cycles import op_cycles
    from cimemu.mapping.grouped import grouped_view
    from cimemu.mapping.place import make_plan
    from cimemu.options import Draws, Options, Output
    from cimemu.plugins import load_plugin
    from cimemu.prices import cost_table
    from cimemu.progress import Progress
    from cimemu.ptq import apply_scheme, calibrate_converters, read_scheme, scheme_of
    from cimemu.ptq.quantize import quantize  # from its module: the package has a submodule of that name, too
    from cimemu.shapes import make_shape
    from cimemu.trace.power import power_of
    from cimemu.trace.read import open_trace
    from cimemu.views import export_trace, write_diff_html, write_html
    from cimemu.workload.network import Network


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"cimemu.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cimemu' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    if isinstance(value, FunctionType):
        value = import_module("cimemu.public").guarded(value, name)
    globals()[name] = value  # the submodule of the same name (run) must not shadow the function
    return value


def __dir__() -> list[str]:
    return [*__all__, *_PACKAGES]
