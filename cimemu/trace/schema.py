"""The table that defines a trace file: every dataset and attribute, and its documentation."""

from collections.abc import Iterator
from dataclasses import dataclass

from cimemu.events import Cause

SCHEMA_VERSION = 1
CHUNK = 65_536
STALLS = tuple(f"stall_{cause.name.lower()}_cycles" for cause in Cause)
_WHY = {
    Cause.ADC: "for a macro to convert",
    Cause.BUS: "for the bus",
    Cause.BUFFER: "for room or data in a buffer or register",
    Cause.NOC: "for a packet on the mesh",
    Cause.MEMORY: "for off-chip memory",
    Cause.DATA: "for data that an earlier task had not made yet",
    Cause.PROGRAMMING: "for cells to be written",
    Cause.DONE: "after its last task, to the end of the run",
}


@dataclass(frozen=True)
class Item:
    """One dataset or root attribute of a trace."""

    path: str
    dtype: str
    dims: str
    unit: str
    doc: str


ATTRIBUTES = (
    Item("schema_version", "int", "", "", "version of this table"),
    Item("cimemu_version", "str", "", "", "what wrote the file"),
    Item("arch_json", "str", "", "", "the whole architecture, as JSON"),
    Item("workload", "str", "", "", "name of the workload or network"),
    Item("seed", "int", "", "", "seed of the run"),
    Item("vary", "str", "", "", "variation models in order, every parameter; absent without any"),
    Item("trial", "int", "", "", "trial of the variation; with seed, the root of every draw"),
    Item(
        "fraction_bits",
        "int",
        "",
        "",
        "varied levels are multiples of 2^-fraction_bits (raised where a model needs it)",
    ),
    Item(
        "write_pulses", "int", "", "", "pulses that write the network once, beside the run; absent without write_verify"
    ),
    Item("write_cycles", "int", "", "cycles", "of that writing, macros in parallel; absent without write_verify"),
    Item("write_pj", "float", "", "pJ", "of that writing; absent without write_verify"),
    Item("detail", "str", "", "", "ops or cycles"),
    Item("clock_ns", "float", "", "ns", "length of a cycle"),
    Item("images", "int", "", "", "images run"),
    Item("event_images", "int", "", "", "images whose events are in /events (the first ones)"),
    Item("accuracy", "float", "", "", "share of images classified as labelled; absent without labels"),
    Item("cycles", "int", "", "cycles", "length of the run"),
    Item("latency_us", "float", "", "us", "cycles x clock_ns / 1000"),
    Item("image_cycles", "int", "", "cycles", "mean distance between the ends of two images"),
    Item("programming_cycles", "int", "", "cycles", "spent reprogramming (0 where the network fits)"),
    Item("energy_pj", "float", "", "pJ", "energy of the run"),
    Item("tops_per_w", "float", "", "", "2 x MACs / energy"),
    Item("macs", "int", "", "", "multiply-accumulates of the run"),
    Item("conversions", "int", "", "", "column conversions of the run"),
    Item("adc_conversions", "int", "", "", "the same where an ADC made them, 0 on a digital macro"),
    Item("macros", "int", "", "", "macros used at the same time"),
    Item("utilization", "float", "", "", "cells that hold weights / cells of the macros used"),
    Item("writes_per_cell", "float", "", "", "of the run's reprogramming"),
    Item(
        "lifetime_runs",
        "float",
        "",
        "",
        "runs until a cell's endurance is used up; absent without reprogramming",
    ),
    Item("provenance_json", "str", "", "", "where network and inputs came from, hashes, overrides"),
)

_LAYER = (
    Item("layers/name", "str", "layer", "", "name of the layer"),
    Item("layers/op", "str", "layer", "", "operator"),
    Item("layers/phase", "int32", "layer", "", "reprogramming phase it runs in"),
    Item("layers/macs", "int64", "layer", "", "multiply-accumulates, all images"),
    Item("layers/cycles", "int64", "layer", "cycles", "first start to last end, summed over images"),
    Item("layers/conversions", "int64", "layer", "", "column conversions, all images"),
    Item("layers/macro_ops", "int64", "layer", "", "macro operations, all images"),
    Item("layers/skipped_steps", "int64", "layer", "", "(group, slice) steps skipped, all images"),
    Item("layers/positions", "int64", "layer", "", "output positions (pixels) of an image; 0 off macros"),
    Item(
        "layers/scale_multiplications",
        "int64",
        "layer",
        "",
        "multiplications by scales of weights and converters, all images; the requantisation's own where it is the only one",
    ),
    Item("layers/blocks", "int32", "layer", "", "blocks of the weight matrix"),
    Item("layers/replicas", "int32", "layer", "", "copies of the layer on macros"),
    Item("layers/macros", "int32", "layer", "", "macros it lies on"),
    Item("layers/utilization", "float64", "layer", "", "its cells / cells of those macros; nan off macros"),
    Item("layers/energy_pj", "float64", "layer", "pJ", "energy, all images"),
    Item(
        "layers/path",
        "str",
        "layer",
        "",
        "how its values were computed: exact, packed, fixed, naive; empty off macros",
    ),
    *(
        Item(
            f"layers/{name}",
            "int64",
            "layer",
            "cycles",
            f"units waited {_WHY[cause]} before a task of the layer",
        )
        for name, cause in zip(STALLS, Cause)
    ),
)
_UNIT = (
    Item(
        "units/name",
        "str",
        "unit",
        "",
        "offchip, global_buffer/port#, digital, bus or link/x.y>x.y, tile#/...",
    ),
    Item("units/operations", "int64", "unit", "", "tasks served"),
    Item("units/busy_cycles", "int64", "unit", "cycles", "at work; busy + stalls = cycles of the run"),
    *(Item(f"units/{name}", "int64", "unit", "cycles", f"waited {_WHY[cause]}") for name, cause in zip(STALLS, Cause)),
)
_EVENT = (
    Item("events/unit", "int32", "event", "", "index into /units"),
    Item(
        "events/op",
        "int64",
        "event",
        "",
        "task number, the same for every image; joins steps to their operation",
    ),
    Item("events/kind", "int8", "event", "", "index into the attribute `kinds` of /events"),
    Item("events/layer", "int32", "event", "", "index into /layers"),
    Item("events/image", "int32", "event", "", "image number; -1: programming"),
    Item("events/start", "int64", "event", "cycles", "first cycle"),
    Item("events/end", "int64", "event", "cycles", "first cycle after it"),
)
_ENERGY = (
    Item("energy/row", "str", "row", "", "layer names, then (leakage)"),
    Item("energy/component", "str", "component", "", "names of components"),
    Item("energy/pj", "float64", "row, component", "pJ", "energy, all images"),
    Item(
        "energy/image_pj",
        "float64",
        "image, row",
        "pJ",
        "energy of every image; leakage and programming in equal shares",
    ),
    Item("energy/price_pj", "float64", "component", "pJ", "energy of one count of the component's counters"),
    Item("energy/area_um2", "float64", "component", "um2", "area on the chip"),
    Item("energy/leakage_uw", "float64", "component", "uW", "leakage on the chip"),
    Item("energy/instances", "int64", "component", "", "instances on the chip"),
    Item("energy/counter", "str", "counter", "", "names of counted events"),
    Item("energy/counts", "int64", "layer, counter", "", "counted events, all images and programming"),
)
_REST = (
    Item("outputs/*", "any", "image, ...", "", "one dataset a network output, under its name"),
    Item("outputs/prediction", "int64", "image", "", "class with the largest score, where there is one"),
    Item("outputs/label", "int64", "image", "", "labels given"),
    Item("images/start", "int64", "image", "cycles", "first start"),
    Item("images/end", "int64", "image", "cycles", "last end"),
    Item("macros/phase", "int32", "macro", "", "reprogramming phase"),
    Item("macros/macro", "int32", "macro", "", "number of the macro on the chip"),
    Item("macros/tile", "int32", "macro", "", "its tile"),
    Item("macros/cells", "int64", "macro", "", "cells that hold weights"),
    Item("macros/utilization", "float64", "macro", "", "the same / cells of a macro"),
    Item("check/name", "str", "check", "", "laws that the writer has checked on these numbers"),
    Item("check/holds", "bool", "check", "", "whether they hold"),
)
DATASETS = (*_LAYER, *_UNIT, *_EVENT, *_ENERGY, *_REST)


def documentation() -> Iterator[str]:
    """The table as Markdown lines."""
    yield "| attribute | type | unit | what |"
    yield "|---|---|---|---|"
    for item in ATTRIBUTES:
        yield f"| `{item.path}` | {item.dtype} | {item.unit} | {item.doc} |"
    yield ""
    yield "| dataset | type | dimensions | unit | what |"
    yield "|---|---|---|---|---|"
    for item in DATASETS:
        yield f"| `/{item.path}` | {item.dtype} | {item.dims} | {item.unit} | {item.doc} |"
