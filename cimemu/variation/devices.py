"""Devices by name: published measurements as the models that they stand for, `--vary device:NAME`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from cimemu.errors import ArchError
from cimemu.variation.base import VariationBase

PREFIX = "device:"


@dataclass(frozen=True)
class Device:
    """A published device: `models` are texts of `--vary`, in the order in which they act."""

    title: str
    source: str
    models: tuple[str, ...]


DEVICES = {
    "readc_cells": Device(
        "memristors between 100 and 400 uS: spread of writing, and noise of single reads, by conductance",
        "H. Hong et al., Nat. Commun. (2025), doi 10.1038/s41467-025-65233-w, figures 3c and 3d",
        ("measured:file=library:readc_levels,draw=normal", "measured_reads:file=library:readc_reads"),
    ),
    "readc_converters": Device(
        "spread of the code widths of ten fabricated 4-bit memristor converters",
        "H. Hong et al., Nat. Commun. (2025), doi 10.1038/s41467-025-65233-w, figure 4b",
        ("converter:dnl=0.098",),
    ),
}


def named(given: Any) -> list[Any]:
    """Entries of `vary` with the models of a device in the place of its name. ArchError for a name that there is not."""
    entries: Iterable[Any] = [given] if isinstance(given, str | Mapping | VariationBase) else given
    made: list[Any] = []
    for entry in entries:
        made += device(entry).models if isinstance(entry, str) and entry.startswith(PREFIX) else [entry]
    return made


def device(text: str) -> Device:
    """The device that `device:NAME` names."""
    name = text.removeprefix(PREFIX).strip()
    if name not in DEVICES:
        near = get_close_matches(name, DEVICES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ArchError(f"--vary {text}: no device {name!r}; {hint}choose from {', '.join(DEVICES)}")
    return DEVICES[name]
