"""`cimemu export`: a window of a trace's events in another tool's format."""

from pathlib import Path
from typing import TYPE_CHECKING

from cimemu.errors import TraceError
from cimemu.shown import csv_cell
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
GROUPS = ("events", "layers", "units", "macros", "images", "energy")


def export_trace(
    trace: Trace | str | Path,
    out: str | Path,
    format: str,
    *,
    window: Window | None = None,
    group: str = "events",
    overwrite: bool = False,
) -> Selection | None:
    """Write `trace` to `out` as perfetto, vcd, csv or parquet; csv and parquet take any group.

    `window` chooses events (default: all; the first million for perfetto and vcd, unless its `limit` says
    otherwise). Returns what was chosen of the events, None for another group. Raises TraceError.
    """
    if format not in FORMATS:
        raise TraceError(f"format = {format!r}, must be one of {', '.join(FORMATS)}")
    if group not in GROUPS:
        raise TraceError(f"group = {group!r}, must be one of {', '.join(GROUPS)}")
    if group != "events" and format in ("perfetto", "vcd"):
        raise TraceError(f"format {format} shows events only, export group {group!r} as csv or parquet")
    refuse_output(Path(out), TraceError, overwrite=overwrite)
    source = trace if isinstance(trace, Trace) else open_trace(trace)
    window = window or Window()
    if window.limit is None and format in ("perfetto", "vcd"):
        window = Window(window.first, window.last, window.images, window.layers, window.units, DRAWN_EVENTS)
    with whole_file(Path(out), TraceError, overwrite=overwrite) as partial:
        if group != "events":
            _write_frame(source.frame(group), partial, format)
            return None
        chosen = select_events(source, window)
        if format in ("perfetto", "vcd"):
            with open(partial, "w", encoding="utf-8") as file:
                (write_perfetto if format == "perfetto" else write_vcd)(source, chosen.events, file)
        else:
            _write_frame(_event_frame(source, chosen), partial, format)
    return chosen


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
