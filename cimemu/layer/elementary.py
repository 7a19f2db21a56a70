"""Elementary functions of one element: the logarithm and the circular and hyperbolic functions."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cimemu.layer.activation import Activation
from cimemu.layer.base import Array


@dataclass(frozen=True, eq=False)
class Elementary(Activation):
    """Base: a NumPy function in float64, rounded once to the input's dtype; 8 operations an element."""

    function: ClassVar[Any] = None
    ops_per_element: ClassVar[int] = 8

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once; outside the function's domain it is no number."""
        with np.errstate(all="ignore"):
            made: Array = type(self).function(x.astype(np.float64)).astype(x.dtype)
        return made


@dataclass(frozen=True, eq=False)
class Log(Elementary):
    """Natural logarithm."""

    op: ClassVar[str] = "Log"
    function: ClassVar[Any] = np.log


@dataclass(frozen=True, eq=False)
class Sin(Elementary):
    """Sine."""

    op: ClassVar[str] = "Sin"
    function: ClassVar[Any] = np.sin


@dataclass(frozen=True, eq=False)
class Cos(Elementary):
    """Cosine."""

    op: ClassVar[str] = "Cos"
    function: ClassVar[Any] = np.cos


@dataclass(frozen=True, eq=False)
class Tan(Elementary):
    """Tangent."""

    op: ClassVar[str] = "Tan"
    function: ClassVar[Any] = np.tan


@dataclass(frozen=True, eq=False)
class Asin(Elementary):
    """Inverse sine."""

    op: ClassVar[str] = "Asin"
    function: ClassVar[Any] = np.arcsin


@dataclass(frozen=True, eq=False)
class Acos(Elementary):
    """Inverse cosine."""

    op: ClassVar[str] = "Acos"
    function: ClassVar[Any] = np.arccos


@dataclass(frozen=True, eq=False)
class Atan(Elementary):
    """Inverse tangent."""

    op: ClassVar[str] = "Atan"
    function: ClassVar[Any] = np.arctan


@dataclass(frozen=True, eq=False)
class Sinh(Elementary):
    """Hyperbolic sine."""

    op: ClassVar[str] = "Sinh"
    function: ClassVar[Any] = np.sinh


@dataclass(frozen=True, eq=False)
class Cosh(Elementary):
    """Hyperbolic cosine."""

    op: ClassVar[str] = "Cosh"
    function: ClassVar[Any] = np.cosh


@dataclass(frozen=True, eq=False)
class Asinh(Elementary):
    """Inverse hyperbolic sine."""

    op: ClassVar[str] = "Asinh"
    function: ClassVar[Any] = np.arcsinh


@dataclass(frozen=True, eq=False)
class Acosh(Elementary):
    """Inverse hyperbolic cosine."""

    op: ClassVar[str] = "Acosh"
    function: ClassVar[Any] = np.arccosh


@dataclass(frozen=True, eq=False)
class Atanh(Elementary):
    """Inverse hyperbolic tangent."""

    op: ClassVar[str] = "Atanh"
    function: ClassVar[Any] = np.arctanh
