"""Properties that every model of a kind has: cimemu's own are held to them by its tests, and yours can be by these.

Each `check_...` returns what it has checked, a line a property, and raises AssertionError in one line where one fails.
"""

from cimemu.testing.encoding import check_encoding

__all__ = ["check_encoding"]
