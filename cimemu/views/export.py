"""`cimemu export`: a window of a trace's events in another tool's format."""

from pathlib import Path
from typing import TYPE_CHECKING

from cimemu import plugins
from cimemu.bases import Exporter
from cimemu.errors import CimemuError, PluginError, TraceError
from cimemu.shown import csv_cell
from cimemu.trace.power import power_of
from cimemu.trace.read import Trace, open_trace
from cimemu.views.perfetto import write_perfetto
from cimemu.views.vcd import write_vcd
from cimemu.views.window import Selection, Window, select_events
from cimemu.whole_file import refuse_output, whole_file

if TYPE_CHECKING:
    import pandas

FORMATS = ("perfetto", "vcd", "csv", "parquet")
SUFFIXES = {"perfetto": ".json", "vcd": ".vcd", "csv": ".csv", "parquet": ".parquet"}
DRAWN_EVENTS = 1_000_000  # what trace viewers open comfortably
GROUP = "cimemu.export"
GROUPS = ("events", "layers", "units", "macros", "images", "energy")


def export_trace(
    trace: Trace | str | Path,
    out: str | Path,
    format: str,
    *,
    window: Window | None = None,
    group: str = "events",
    power: str | None = None,
    overwrite: bool = False,
) -> Selection | None:
    """Write `trace` to `out` as perfetto, vcd, csv, parquet or a plug-in's format; csv and parquet take any group.

    `window` chooses events (default: all; the first million for perfetto and vcd, unless its `limit` says
    otherwise). `power` is the width of windows of power over time ("1000" cycles, "2us"): counters beside the events of
    perfetto, and in csv and parquet a table of its own. Returns what was chosen of the events, None for a table. Times are
    cycles in csv and parquet, and follow the chip's clock in perfetto and vcd. Raises TraceError for a file that is no trace,
    for a format or group that there is not, and for an `out` that is there already, unless `overwrite`.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> result = cimemu.run(arch, quantized, workload.inputs(1)[0], trace="digits.h5")
    >>> chosen = cimemu.export_trace("digits.h5", "events.csv", "csv")
    >>> chosen.found
    1280
    >>> print(open("events.csv").readline().strip())
    unit,op,kind,layer,image,start,end,kind_name,unit_name,layer_name
    """
    exporter = exporter_of(format)
    if group not in GROUPS:
        raise TraceError(f"group = {group!r}, must be one of {', '.join(GROUPS)}")
    if group != "events" and (format in ("perfetto", "vcd") or exporter is not None):
        raise TraceError(f"format {format} shows events only, export group {group!r} as csv or parquet")
    if power is not None and (group != "events" or exporter is not None or format == "vcd"):
        raise TraceError(f"power {power}: is written as perfetto, csv or parquet, and no other group beside it")
    refuse_output(Path(out), TraceError, overwrite=overwrite)
    source = trace if isinstance(trace, Trace) else open_trace(trace)
    drawn = None if power is None else power_of(source, power)
    window = window or Window()
    if window.limit is None and format in ("perfetto", "vcd"):
        window = Window(window.first, window.last, window.images, window.layers, window.units, DRAWN_EVENTS)
    with whole_file(Path(out), TraceError, overwrite=overwrite) as partial:
        if group != "events":
            _write_frame(source.frame(group), partial, format)
            return None
        if drawn is not None and format != "perfetto":
            _write_frame(drawn.frame(), partial, format)
            return None
        chosen = select_events(source, window)
        if exporter is not None:
            _write_outside(exporter, source, chosen, partial)
        elif format in ("perfetto", "vcd"):
            with open(partial, "w", encoding="utf-8") as file:
                if format == "perfetto":
                    write_perfetto(source, chosen.events, file, drawn)
                else:
                    write_vcd(source, chosen.events, file)
        else:
            _write_frame(_event_frame(source, chosen), partial, format)
    return chosen


def exporter_of(format: str) -> Exporter | None:
    """The plug-in that writes a format, None for one of cimemu's own. Raises TraceError, PluginError for none at all."""
    try:
        kind = plugins.find(GROUP, format)
    except LookupError:
        raise TraceError(f"format = {format!r}, must be one of {', '.join(plugins.names(GROUP))}") from None
    if format in FORMATS:
        return None
    made: Exporter = kind()
    return made


def suffix_of(format: str) -> str:
    """The suffix of files of a format. Raises TraceError."""
    exporter = exporter_of(format)
    return SUFFIXES[format] if exporter is None else exporter.suffix


def _write_outside(exporter: Exporter, trace: Trace, chosen: Selection, path: Path) -> None:
    """A plug-in writes the events; what it raises is one line."""
    try:
        exporter.write(trace, chosen.events, path)
    except (CimemuError, OSError):
        raise
    except Exception as error:  # of a class that is not ours
        where = plugins.origin_of(type(exporter))
        raise PluginError(f"plug-in {where}: exporter {exporter.name}: {type(error).__name__}: {error}") from error


def _event_frame(trace: Trace, chosen: Selection) -> "pandas.DataFrame":
    from cimemu.trace.frames import named_events

    return named_events(trace.event_names, chosen.events)


def _write_frame(frame: "pandas.DataFrame", path: Path, format: str) -> None:
    """A DataFrame as CSV or Parquet; TraceError where pyarrow is missing."""
    indexed = frame.index.name is not None
    if format == "csv":
        safe = frame.rename(index=csv_cell, columns=csv_cell)
        texts = [name for name in safe.columns if safe[name].dtype == object]
        safe.assign(**{name: safe[name].map(csv_cell) for name in texts}).to_csv(path, index=indexed, encoding="utf-8")
        return
    try:
        frame.to_parquet(path, index=indexed)
    except ImportError:
        raise TraceError('pyarrow is not installed: pip install "cimemu[view]", or export csv') from None
