"""Training for the macro: the extra `cimemu[torch]`. Nothing here is imported by the emulator."""

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
