"""Properties that every model of a kind has: cimemu's own are held to them by its tests, and yours can be by these.

Each `check_...` returns what it has checked, a line a property, and raises AssertionError in one line where one fails.
"""

from cimemu.testing.converter import check_converter
from cimemu.testing.cost import check_estimator
from cimemu.testing.encoding import check_encoding
from cimemu.testing.operator import check_operator
from cimemu.testing.variation import check_variation

__all__ = ["check_converter", "check_encoding", "check_estimator", "check_operator", "check_variation"]
