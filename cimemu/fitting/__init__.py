"""How well a network fills a chip's macros, and channel widths that would fill them."""

from cimemu.fitting.report import FitReport, fit

__all__ = ["FitReport", "fit"]
