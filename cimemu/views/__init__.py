"""Views of a trace for people and other tools: one HTML page, Perfetto, VCD, CSV and Parquet."""

from cimemu.views.export import FORMATS, export_trace
from cimemu.views.html import write_html
from cimemu.views.window import Window

__all__ = ["FORMATS", "Window", "export_trace", "write_html"]
