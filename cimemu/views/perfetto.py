"""Events as Chrome trace JSON, which ui.perfetto.dev and chrome://tracing open."""

import json
from collections.abc import Iterator, Mapping
from typing import TextIO

from cimemu.trace.power import Power
from cimemu.trace.read import Trace
from cimemu.trace.tables import Table
from cimemu.views.window import COLUMNS

BATCH = 20_000


def write_perfetto(trace: Trace, events: Table, out: TextIO, power: Power | None = None) -> None:
    """A process per tile (or chip part), a thread per unit, a slice per event; times in us of the chip's clock. `power` gives
    counters of mW: the whole chip's, and each part's."""
    units, layers, kinds = list(trace.units["name"]), list(trace.layers["name"]), trace.kinds
    clock_us = float(trace.attributes["clock_ns"]) / 1000
    parts = [name.split("/")[0] for name in units]
    process = {part: number for number, part in enumerate(dict.fromkeys(parts), start=1)}
    records = [
        {"ph": "M", "name": "process_name", "pid": number, "args": {"name": part}} for part, number in process.items()
    ]
    for number, (name, part) in enumerate(zip(units, parts)):
        where = {"pid": process[part], "tid": number + 1}
        records.append({"ph": "M", "name": "thread_name", **where, "args": {"name": name}})
        records.append({"ph": "M", "name": "thread_sort_index", **where, "args": {"sort_index": number}})
    out.write('{"displayTimeUnit":"ns","otherData":')
    json.dump({"workload": trace.attributes["workload"], "clock_ns": trace.attributes["clock_ns"]}, out)
    out.write(',"traceEvents":[\n')
    out.write(",\n".join(json.dumps(record, separators=(",", ":")) for record in records))
    names = [json.dumps(str(name)) for name in layers]
    for first in range(0, len(events["op"]), BATCH):
        columns = (events[name][first : first + BATCH].tolist() for name in COLUMNS)
        lines = [
            f'{{"ph":"X","pid":{process[parts[unit]]},"tid":{unit + 1},"name":{names[layer]},"cat":"{kinds[kind]}",'
            f'"ts":{start * clock_us:.10g},"dur":{(end - start) * clock_us:.10g},'
            f'"args":{{"kind":"{kinds[kind]}","op":{op},"image":{image},"start_cycle":{start},"end_cycle":{end}}}}}'
            for unit, op, kind, layer, image, start, end in zip(*columns)
        ]
        out.write(",\n" + ",\n".join(lines))
    for line in () if power is None else _counters(power, clock_us, process):
        out.write(",\n" + line)
    out.write("\n]}\n")


def _counters(power: Power, clock_us: float, process: Mapping[str, int]) -> Iterator[str]:
    """A counter of the chip and one of each part that draws, a value at the start of each window and 0 at the end."""
    starts = [*(int(start) for start in power.start), power.cycles]
    whole = [("power of the chip", 0, power.total_mw)]
    parts = [
        (f"power of {name}", process.get(name, 0), power.mw(power.by_part[:, place]))
        for place, name in enumerate(power.parts)
        if power.by_part[:, place].any()
    ]
    for name, number, values in [*whole, *parts]:
        for start, value in zip(starts, [*values.tolist(), 0.0]):
            record = {"ph": "C", "pid": number, "name": name, "ts": start * clock_us, "args": {"mW": value}}
            yield json.dumps(record, separators=(",", ":"))
