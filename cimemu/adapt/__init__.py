"""Training for the macro: the extra `cimemu[torch]`. Nothing here is imported by the emulator."""

import sys
from types import ModuleType
from typing import Any

NAMES = {
    "convert": "convert",
    "export": "export",
    "from_network": "module",
    "compare_with_emulator": "exact",
    "AdaptedModule": "adapted",
    "FakeMacro": "fake_macro",
}

__all__ = list(NAMES)


def __getattr__(name: str) -> Any:
    """Public names, imported when they are asked for: they need torch."""
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from cimemu.adapt.library import torch_of

    torch_of()
    return getattr(importlib.import_module(f"cimemu.adapt.{NAMES[name]}"), name)


class _Package(ModuleType):
    """A submodule of a function's name never takes its place: `cimemu.adapt.convert(...)` works whatever was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in NAMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
