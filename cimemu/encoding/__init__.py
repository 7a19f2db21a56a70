"""Weight encodings: a file for each. `find` is the one way from a name to an encoding, of cimemu or of a plug-in."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from cimemu import plugins
from cimemu.encoding.base import UNCORRECTED, Correction, Encoding
from cimemu.encoding.binary import Binary
from cimemu.encoding.differential import Differential
from cimemu.encoding.law import law_broken
from cimemu.encoding.offset import Offset
from cimemu.encoding.twos_complement import TwosComplement
from cimemu.errors import PluginError

GROUP = Encoding.plugin_group
BUILT_IN: dict[str, type[Encoding]] = {kind.name: kind for kind in (Offset, TwosComplement, Differential, Binary)}


def find(name: str) -> Encoding:
    """The encoding of a name that the architecture's schema has accepted. Raises PluginError, LookupError for no such."""
    kind: Callable[[], Encoding] = BUILT_IN[name] if name in BUILT_IN else plugins.find(GROUP, name)
    return _made(kind)


def names(chosen: Callable[[Encoding], bool] = lambda _: True) -> list[str]:
    """Names of the built-in encodings that are `chosen`, in the order of the table."""
    return [name for name in BUILT_IN if chosen(find(name))]


def refusal(encoding: Encoding, weight_bits: int, cell_bits: int) -> str | None:
    """Why an architecture cannot have these widths: the encoding's own rule, and of a plug-in the law of encodings."""
    if type(encoding) in BUILT_IN.values():  # the tests hold these to the law
        return encoding.refusal(weight_bits, cell_bits)
    return _refusal_of_plug_in(encoding, weight_bits, cell_bits)


def known(value: Any, also: tuple[str, ...] = (), chosen: Callable[[Encoding], bool] = lambda _: True) -> str:
    """The name that a user's `value` means: a name, or `FILE.py:Class`, of an encoding that is `chosen`; or one of `also`.

    Raises what pydantic makes one line of.
    """
    if isinstance(value, str):
        try:
            kind = None if value in also else plugins.find(GROUP, value)
        except PluginError as error:
            raise ValueError(str(error)) from None
        except LookupError:
            kind = Encoding
        if kind is None or (kind is not Encoding and chosen(_made(kind))):
            return value if kind is None else kind.name
    allowed = [*also, *names(chosen), *(plugin.name for plugin in plugins.outside(GROUP))]
    raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": _listed(allowed)})


EncodingName = Annotated[str, BeforeValidator(known)]


@cache
def _made(kind: Callable[[], Encoding]) -> Encoding:
    return kind()


@cache
def _refusal_of_plug_in(encoding: Encoding, weight_bits: int, cell_bits: int) -> str | None:
    return law_broken(encoding, weight_bits, cell_bits)


def _listed(words: list[str]) -> str:
    """Words as pydantic lists the values of a choice: `'a', 'b' or 'c'`."""
    *first, last = [repr(word) for word in words]
    return f"{', '.join(first)} or {last}" if first else last


__all__ = [
    "BUILT_IN",
    "GROUP",
    "UNCORRECTED",
    "Correction",
    "Encoding",
    "EncodingName",
    "find",
    "known",
    "names",
    "refusal",
]
