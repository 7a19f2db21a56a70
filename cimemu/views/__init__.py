"""Views of traces for people and other tools: HTML pages of a run and of two runs, Perfetto, VCD, CSV and Parquet."""

from cimemu.views.diff_page import write_diff_html
from cimemu.views.export import FORMATS, export_trace
from cimemu.views.html import write_html
from cimemu.views.window import Window

__all__ = ["FORMATS", "Window", "export_trace", "write_diff_html", "write_html"]
