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
    optional: bool = False  # a trace may be without it


ATTRIBUTES = (
    Item("schema_version", "int", "", "", "version of this table"),
    Item("cimemu_version", "str", "", "", "what wrote the file"),
    Item("arch_json", "str", "", "", "the whole architecture, as JSON"),
    Item("workload", "str", "", "", "name of the workload or network"),
    Item("seed", "int", "", "", "seed of the run"),
    Item("vary", "str", "", "", "variation models in order, every parameter; absent without any", optional=True),
    Item(
        "plugins",
        "str",
        "",
        "",
        "plug-ins that had a part, with package and version, or file and SHA-256; absent without any",
        optional=True,
    ),
    Item("trial", "int", "", "", "trial of the variation; with seed, the root of every draw", optional=True),
    Item(
        "fraction_bits",
        "int",
        "",
        "",
        "varied levels are multiples of 2^-fraction_bits (raised where a model needs it)",
        optional=True,
    ),
    Item(
        "write_pulses",
        "int",
        "",
        "",
        "pulses that write the network once, beside the run; absent without write_verify",
        optional=True,
    ),
    Item(
        "write_cycles",
        "int",
        "",
        "cycles",
        "of that writing, macros in parallel; absent without write_verify",
        optional=True,
    ),
    Item("write_pj", "float", "", "pJ", "of that writing; absent without write_verify", optional=True),
    *(
        Item(f"checksums_{name}", "int", "", "", f"{what}; absent without checksum columns", optional=True)
        for name, what in (
            ("doubtful", "groups in steps in which a converter of drawn cells may have rounded or clipped"),
            ("seen", "groups in steps of drawn cells that did not add up to their checksum columns"),
            ("corrected", "of these, the ones that were put right"),
        )
    ),
    Item("detail", "str", "", "", "ops or cycles"),
    Item("clock_ns", "float", "", "ns", "length of a cycle"),
    Item("images", "int", "", "", "images run"),
    Item("event_images", "int", "", "", "images whose events are in /events (the first ones)"),
    Item("accuracy", "float", "", "", "share of images classified as labelled; absent without labels", optional=True),
    Item("cycles", "int", "", "cycles", "length of the run"),
    Item("latency_us", "float", "", "us", "cycles x clock_ns / 1000"),
    Item(
        "image_cycles",
        "int",
        "",
        "cycles",
        "mean distance between the ends of two images; in phases the cycles over the images",
    ),
    Item(
        "programming_cycles",
        "int",
        "",
        "cycles",
        "spent writing weights again (0 where the network fits; activations are written beside other work)",
    ),
    Item(
        "gated_cycles",
        "int",
        "",
        "cycles",
        "that macros were off, all macros of the chip together; absent without power.gating",
        optional=True,
    ),
    Item("energy_pj", "float", "", "pJ", "energy of the run"),
    Item("tops_per_w", "float", "", "", "2 x MACs / energy", optional=True),
    Item("macs", "int", "", "", "multiply-accumulates of the run"),
    Item("conversions", "int", "", "", "column conversions of the run"),
    Item("adc_conversions", "int", "", "", "the same where an ADC made them, 0 on a digital macro"),
    Item("macros", "int", "", "", "macros used at the same time"),
    Item("utilization", "float", "", "", "cells that hold weights / cells of the macros used"),
    Item("writes_per_cell", "float", "", "", "of the cell that the run writes most often: weights again, activations"),
    Item(
        "lifetime_runs",
        "float",
        "",
        "",
        "runs until a cell's endurance is used up; absent where the run writes none",
        optional=True,
    ),
    Item("provenance_json", "str", "", "", "where network and inputs came from, hashes, overrides"),
)

_LAYER = (
    Item("layers/name", "str", "layer", "", "name of the layer"),
    Item("layers/op", "str", "layer", "", "operator"),
    Item("layers/phase", "int32", "layer", "", "reprogramming phase in which it ends"),
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
        optional=True,
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
        "engines that computed its values: exact, planes, lookup, packed, steps, or the twin naive; digital float32, "
        "digital integers: a product off macros; else empty",
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
    Item(
        "units/busy_cycles",
        "int64",
        "unit",
        "cycles",
        "at work or being switched on; busy + stalls = cycles of the run",
    ),
    *(Item(f"units/{name}", "int64", "unit", "cycles", f"waited {_WHY[cause]}") for name, cause in zip(STALLS, Cause)),
    Item(
        "units/off_cycles",
        "int64",
        "unit",
        "cycles",
        "that a macro was off; absent without power.gating",
        optional=True,
    ),
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
    Item("outputs/*", "any", "image, ...", "", "one dataset a network output, under its name", optional=True),
    Item("outputs/prediction", "int64", "image", "", "class with the largest score, where there is one", optional=True),
    Item("outputs/label", "int64", "image", "", "labels given", optional=True),
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

# Finished files of stress runs and sweeps: `kind` in their root attributes says which. "number": int or float.
_CAMPAIGN = (
    *(
        item
        for item in ATTRIBUTES
        if item.path in ("schema_version", "cimemu_version", "arch_json", "workload", "seed", "plugins")
    ),
    Item("kind", "str", "", "", "stress or sweep"),
    Item("complete", "bool", "", "", "whether every trial has ended"),
    Item("images", "int", "", "", "images of every trial"),
)
_SWEEP = (
    Item("points/parameters_json", "str", "point", "", "arch keys and values of the point, as JSON"),
    Item("points/status", "int", "point", "", "1: it ran, 2: it failed"),
    Item("points/error", "str", "point", "", "why it failed, empty where it ran"),
    *(
        Item(f"points/{name}", "number", "point", unit, "as in the trace of one run")
        for name, unit in (
            ("accuracy", ""),
            ("cycles", "cycles"),
            ("latency_us", "us"),
            ("energy_uj", "uJ"),
            ("area_mm2", "mm2"),
            ("tops_per_w", ""),
            ("macs", ""),
            ("conversions", ""),
            ("adc_conversions", ""),
            ("macros", ""),
            ("utilization", ""),
        )
    ),
    *(
        Item(f"points/{name}", "number", "point", unit, f"{end} end of the 90 % interval", optional=True)
        for name, unit, end in (
            ("energy_low_uj", "uJ", "lower"),
            ("energy_high_uj", "uJ", "upper"),
            ("area_low_mm2", "mm2", "lower"),
            ("area_high_mm2", "mm2", "upper"),
        )
    ),
    Item("points/tiles", "number", "point", "", "of the chip: what `chip.tiles: auto` has come to", optional=True),
    Item(
        "points/energy_parts_pj",
        "number",
        "point, part, component",
        "pJ",
        "events' energy and leakage of every component, in the order of a trace's /energy/component",
        optional=True,
    ),
    Item("points/pareto", "bool", "point", "", "no other point is as good in all four figures"),
)
_STRESS = (
    Item("points/scheme", "str", "point", "", "network or converter scheme"),
    Item("points/vary", "str", "point", "", "variation models in order, every parameter"),
    Item("points/trials", "int", "point", "", "chips drawn"),
    Item("points/mean", "number", "point", "", "mean accuracy"),
    Item("points/std", "number", "point", "", "standard deviation of accuracies"),
    Item("points/low", "number", "point", "", "lower end of the mean's 95 % interval"),
    Item("points/high", "number", "point", "", "upper end of the mean's 95 % interval"),
    Item("points/method", "str", "point", "", "how the interval was made"),
    Item("points/worst_trial", "int", "point", "", "trial of the least accurate chip, -1: nothing was scored"),
    Item("points/worst", "number", "point", "", "its accuracy"),
    Item("points/quantiles", "number", "point, quantile", "", "quantiles of accuracies, see the attribute"),
    Item("points/breaks_first", "str", "point", "", "layer with the largest error of its own"),
    Item("points/failed", "int", "point", "", "trials that failed every time"),
    *(
        Item(f"points/checksums_{name}", "number", "point", "", f"{what}, mean of a chip", optional=True)
        for name, what in (
            ("doubtful", "groups in steps whose converters may have rounded or clipped"),
            ("seen", "groups in steps that did not add up to their checksum columns"),
            ("corrected", "of these, the ones that were put right"),
        )
    ),
    Item("points/layer_error", "number", "point, layer", "", "mean error of layers in the whole drawn network"),
    Item("points/own_error", "number", "point, layer", "", "mean error of each drawn layer alone"),
    Item("layers/name", "str", "layer", "", "layers on macros"),
    Item("schemes/name", "str", "scheme", "", "networks or converter schemes"),
    Item("trials/status", "int", "point, trial", "", "0: not run, 1: ran, 2: failed"),
    Item("trials/accuracy", "number", "point, trial", "", "accuracy of every chip"),
    Item("trials/error", "str", "point, trial", "", "why a trial failed"),
)
CAMPAIGNS = {"sweep": (_CAMPAIGN, _SWEEP), "stress": (_CAMPAIGN, _STRESS)}


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
