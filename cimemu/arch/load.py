"""Architecture files: YAML and overrides into an `Arch`, every mistake in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cimemu import plugins
from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.config_file import parse_value, read_mapping, validated
from cimemu.errors import ArchError


def preset_folder() -> Path:
    """Folder of the architecture presets: inside the package, or beside it in a source checkout."""
    packaged = Path(__file__).parent.parent / "_presets" / "arch"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent.parent / "arch"


def list_archs() -> list[tuple[str, str]]:
    """(name, title) of every preset, by name.

    >>> import cimemu
    >>> dict(cimemu.list_archs())["sram_128"]
    "analog SRAM in the place of rram_128's cells, all else equal"
    """
    return [(path.stem, str(_read(path).get("title", ""))) for path in sorted(preset_folder().glob("*.yaml"))]


def load_arch(source: str | Path | Arch, overrides: Mapping[str, Any] | None = None) -> Arch:
    """The architecture `source`: a preset's name, a YAML file's path, or an Arch.

    `overrides` maps dotted keys to values (`{"macro.adc.bits": 6}`); a mapping replaces the whole sub-tree, and
    so does a new `model` of the converter, whose other fields then start from their defaults.
    Raises ArchError naming the file, the key, the value and the rule.

    >>> import cimemu
    >>> arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 6, "schedule": "pipelined"})
    >>> arch.macro.rows, arch.macro.adc.bits, arch.schedule
    (128, 6, 'pipelined')
    >>> cimemu.load_arch("rram_128", {"macro.rows": 0})
    Traceback (most recent call last):
    cimemu.errors.ArchError: arch/rram_128.yaml: macro.rows = 0, must be >= 1
    """
    if isinstance(source, Arch):
        where, tree = source.name, source.model_dump(mode="python", exclude_unset=True)
    else:
        path = _find(source)
        where, tree = _shown(path), _read(path)
        _beside(tree, path.parent)
    for key, value in (overrides or {}).items():
        _override(tree, key, value, where)
    return validated(Arch, tree, where, ArchError)


def macro_for(macro: Macro, overrides: Mapping[str, Any]) -> Macro:
    """`macro` with the keys under `macro.` that a network was made for, but for its converter (the network brings it)."""
    changes = {key: value for key, value in overrides.items() if not key.startswith("macro.adc")}
    if not changes:
        return macro
    tree = {"macro": macro.model_dump(mode="python")}
    for key, value in changes.items():
        _override(tree, key, value, "macro")
    return validated(Macro, tree["macro"], "macro", ArchError)


def parse_override(text: str) -> tuple[str, Any]:
    """`macro.adc.bits=6` as ("macro.adc.bits", 6); the value is YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ArchError(f"--set {text}: must be KEY=VALUE, for example --set macro.adc.bits=6")
    try:
        return key.strip(), parse_value(value)
    except ValueError as error:
        raise ArchError(f"--set {text}: {error}") from None


def _find(source: str | Path) -> Path:
    if not isinstance(source, str | Path):
        raise ArchError(f"architecture {source!r:.60}: must be a preset's name, a path or an Arch")
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file() or len(path.parts) > 1:
        if not path.is_file():
            raise ArchError(f"{path}: no such architecture file; `cimemu list` shows the presets")
        return path
    preset = preset_folder() / f"{source}.yaml"
    if not preset.is_file():
        names = sorted(p.stem for p in preset_folder().glob("*.yaml"))
        raise ArchError(f"architecture {str(source)!r}: no such preset or file; presets: {', '.join(names)}")
    return preset


def _shown(path: Path) -> str:
    return f"arch/{path.name}" if path.parent == preset_folder() else str(path)


def _read(path: Path) -> dict[str, Any]:
    return read_mapping(path, _shown(path), "an architecture file (name, clock_ns, macro ...)", ArchError)


def _beside(node: Any, folder: Path) -> None:
    """Imported tables and plug-in files (`model: FILE.py:Class`) are named relative to the architecture file."""
    for key, value in node.items() if isinstance(node, dict) else ():
        if key in ("model", "adc", "encoding") and isinstance(value, str) and plugins.is_reference(value):
            node[key] = str(folder / value)
        if isinstance(value, dict) and value.get("model") == "imported" and isinstance(value.get("file"), str):
            value["file"] = str(folder / value["file"])
        _beside(value, folder)


def _override(tree: dict[str, Any], dotted: str, value: Any, where: str) -> None:
    """Set one dotted key; unknown keys are found by the validation that follows."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    keys = dotted.split(".")
    node = tree
    for number, key in enumerate(keys[:-1]):
        below = node.get(key)
        if isinstance(below, str) and key == "adc":  # `adc: ideal` is short for a mapping
            below = {"model": below}
        if below is None:
            below = {}
        if not isinstance(below, dict):
            raise ArchError(
                f"{where}: override {dotted} = {value!r}: {'.'.join(keys[: number + 1])} = {below!r} has no keys below it"
            )
        node[key] = dict(below)
        node = node[key]
    if keys[-1] == "model" and node.get("model") != value:
        node.clear()
    node[keys[-1]] = value
