"""Schemes side by side: a grid of schemes and bits on one workload, as a table that can be resumed and as plots."""

from cimemu.compare.grid import Axis, Point, grid_points, parse_axis
from cimemu.compare.measure import compare, dequantization
from cimemu.compare.table import paired_difference, read_table

__all__ = [
    "Axis",
    "Point",
    "compare",
    "dequantization",
    "grid_points",
    "paired_difference",
    "parse_axis",
    "read_table",
]
