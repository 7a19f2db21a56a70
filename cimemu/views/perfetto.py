"""Events as Chrome trace JSON, which ui.perfetto.dev and chrome://tracing open."""

import json
from typing import TextIO

from cimemu.trace.read import Trace
from cimemu.trace.tables import Table
from cimemu.views.window import COLUMNS

BATCH = 20_000


def write_perfetto(trace: Trace, events: Table, out: TextIO) -> None:
    """A process per tile (or chip part), a thread per unit, a slice per event; times in us of the chip's clock."""
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
    out.write("\n]}\n")
