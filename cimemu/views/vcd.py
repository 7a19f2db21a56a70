"""Events as a value change dump: units as signals, for GTKWave and Surfer."""

from typing import Any, TextIO

import numpy as np

from cimemu.errors import TraceError
from cimemu.trace.read import Trace
from cimemu.trace.tables import Table

SIGNALS = ("busy", "kind", "layer", "op", "image", "count")


def write_vcd(trace: Trace, events: Table, out: TextIO) -> None:
    """A scope per unit with `busy` (1 bit), `kind` and `layer` (text), `op` and `image` (32 bits), and
    `count`, which goes up by one at every event, so that neighbours can be told apart.

    The time unit is 1 ps. While a unit is idle its numbers are undefined and its texts empty. TraceError where
    pyvcd is missing.
    """
    try:
        from vcd import VCDWriter
    except ImportError:
        raise TraceError('pyvcd is not installed: pip install "cimemu[view]"') from None
    units, layers, kinds = list(trace.units["name"]), list(trace.layers["name"]), trace.kinds
    clock_ps = float(trace.attributes["clock_ns"]) * 1000
    used = np.unique(events["unit"])
    with VCDWriter(out, timescale="1 ps", comment=f"{trace.attributes['workload']}, cimemu") as writer:
        signals: dict[int, dict[str, Any]] = {}
        for unit in used.tolist():
            scope = "chip." + units[unit].replace(".", "_").replace(">", "_to_").replace("/", ".")
            signals[unit] = {
                "busy": writer.register_var(scope, "busy", "wire", size=1, init=0),
                "kind": writer.register_var(scope, "kind", "string", init=""),
                "layer": writer.register_var(scope, "layer", "string", init=""),
                "op": writer.register_var(scope, "op", "wire", size=32, init="x"),
                "image": writer.register_var(scope, "image", "integer", size=32, init="x"),
                "count": writer.register_var(scope, "count", "integer", size=32, init=0),
            }
        idle = ("0", "", "", "x", "x")
        counts = dict.fromkeys(signals, 0)
        for time, unit, event in _changes(events):
            if event < 0:
                values: tuple[Any, ...] = (*idle, counts[unit])
            else:
                layer, kind = int(events["layer"][event]), int(events["kind"][event])
                op, image = int(events["op"][event]), int(events["image"][event])
                counts[unit] += 1
                values = ("1", kinds[kind], str(layers[layer]).replace(" ", "_"), op, image, counts[unit])
            moment = round(time * clock_ps)
            for name, value in zip(SIGNALS, values):
                writer.change(signals[unit][name], moment, value)
        writer.close(round(int(events["end"].max()) * clock_ps) if len(events["end"]) else 0)


def _changes(events: Table) -> list[tuple[int, int, int]]:
    """(cycle, unit, event that starts or -1) in order of time; an end is left out where the next event starts there."""
    starts = set(zip(events["start"].tolist(), events["unit"].tolist()))
    changes = [(s, u, n) for n, (s, u) in enumerate(zip(events["start"].tolist(), events["unit"].tolist()))]
    ends = zip(events["end"].tolist(), events["unit"].tolist())
    changes += [(e, u, -1) for e, u in set(ends) if (e, u) not in starts]
    return sorted(changes)
