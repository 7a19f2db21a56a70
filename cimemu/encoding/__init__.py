"""Weight encodings: a file for each, and the table of their names, which is the one place that knows which there are."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from cimemu.encoding.base import UNCORRECTED, Correction, Encoding
from cimemu.encoding.binary import Binary
from cimemu.encoding.differential import Differential
from cimemu.encoding.offset import Offset
from cimemu.encoding.twos_complement import TwosComplement

BUILT_IN: dict[str, Encoding] = {e.name: e for e in (Offset(), TwosComplement(), Differential(), Binary())}


def find(name: str) -> Encoding:
    """The encoding of that name, which the architecture's schema has accepted."""
    return BUILT_IN[name]


def names(chosen: Callable[[Encoding], bool] = lambda _: True) -> list[str]:
    """Names of the encodings that are `chosen`, in the order of the table."""
    return [name for name, encoding in BUILT_IN.items() if chosen(encoding)]


def listed(words: list[str]) -> str:
    """Words as pydantic lists the values of a choice: `'a', 'b' or 'c'`."""
    *first, last = [repr(word) for word in words]
    return f"{', '.join(first)} or {last}" if first else last


def _known(value: Any) -> Any:
    if not isinstance(value, str) or value not in BUILT_IN:
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": listed(names())})
    return value


EncodingName = Annotated[str, BeforeValidator(_known)]

__all__ = ["BUILT_IN", "UNCORRECTED", "Correction", "Encoding", "EncodingName", "find", "listed", "names"]
