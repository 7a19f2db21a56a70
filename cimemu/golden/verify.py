"""A simulator's or chip's dump against golden vectors: the first difference, decoded."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.errors import TraceError
from cimemu.golden.files import FILES, FORMAT_VERSION, PACKED, PROGRAMMED, SIGNED, SKIPPED

ORDER = {name: number for number, name in enumerate(FILES)}
NOTHING = "nothing"


@dataclass(frozen=True)
class Difference:
    """The first number in which a dump differs; `cycle` counts from the start of the operation."""

    macro: str
    file: str
    where: dict[str, int]
    expected: str
    got: str
    cycle: int | None

    def __str__(self) -> str:
        """One line."""
        place = ", ".join(f"{name} {number}" for name, number in self.where.items())
        cycle = "" if self.cycle is None else f", cycle {self.cycle}"
        return f"{self.macro}/{self.file}: {place}{cycle}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class Verification:
    """What a comparison found."""

    layer: str
    files: int
    lines: int
    difference: Difference | None


def verify_dump(folder: Path, dump: Path) -> Verification:
    """Compare the files of `dump` with the vectors in `folder`; files that the dump does not have are left out.

    The first difference is the earliest one: what is programmed, then operation by operation and step by step; within a
    step in the order of the manifest's files. Raises TraceError where the vectors are damaged, the dump has none of
    their files or one that is no text of hexadecimal numbers.
    """
    manifest = _manifest(folder)
    files = lines = 0
    found: list[tuple[tuple[int, ...], Difference]] = []
    for number, (macro, entry) in enumerate(manifest["macros"].items()):
        for name, about in entry["files"].items():
            theirs = dump / macro / name
            if not theirs.is_file():
                continue
            ours = _vectors(folder, macro, name, about)
            got = _read(theirs)
            files, lines = files + 1, lines + len(ours)
            line = _first_line(ours, got)
            if line is not None:
                difference = _decoded(line, ours, got, macro, name, about, entry)
                key = (*_moment(difference, entry), ORDER.get(name, len(ORDER)), number)
                found.append((key, replace(difference, cycle=_cycle(difference, folder, entry))))
    if not files:
        raise TraceError(
            f"{dump}: has none of the files of {folder}, such as {next(iter(manifest['macros']))}/codes.hex"
        )
    first = min(found, key=lambda pair: pair[0])[1] if found else None
    return Verification(manifest["layer"], files, lines, first)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: Any = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise TraceError(
            f"{folder}: has no readable manifest.json, name a folder that `cimemu golden` wrote"
        ) from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise TraceError(f"{folder}: format_version = {version}, this cimemu reads {FORMAT_VERSION}")
    if not _whole(manifest):
        raise TraceError(f"{folder}/manifest.json: damaged, make the vectors again")
    return dict(manifest)


def _whole(manifest: dict[str, Any]) -> bool:
    """Every key that a comparison uses is there and of its kind."""
    try:
        entries = [*manifest["macros"].values()]
        good = bool(entries) and isinstance(manifest["layer"], str)
        for entry in entries:
            good = good and min(int(entry["groups"]), int(entry["slices"])) > 0
            for about in entry["files"].values():
                sizes, bits = [int(size) for size in about["shape"]], int(about["number_bits"])
                good = good and len(about["index"]) == len(sizes) and min(sizes) > 0
                good = good and int(about["width_bits"]) >= bits > 0 and isinstance(about["sha256"], str)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return good


def _vectors(folder: Path, macro: str, name: str, about: Mapping[str, Any]) -> list[str]:
    ours = _read(folder / macro / name)
    if hashlib.sha256(("\n".join(ours) + "\n").encode()).hexdigest() != about["sha256"]:
        raise TraceError(f"{folder / macro / name}: does not match its checksum, make the vectors again")
    return ours


def _read(path: Path) -> list[str]:
    """Numbers of a `$readmemh` file: comments and blank lines left out, one number a word."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read as text") from error
    words = [word.lower() for line in text.splitlines() for word in line.split("//")[0].split()]
    for number, word in enumerate(words):
        if not set(word) <= set("0123456789abcdefxz_"):
            raise TraceError(f"{path}: number {number + 1} is {word[:20]!r}, must be hexadecimal digits, x or z")
    return words


def _first_line(ours: list[str], theirs: list[str]) -> int | None:
    for number in range(max(len(ours), len(theirs))):
        a = ours[number] if number < len(ours) else NOTHING
        b = theirs[number] if number < len(theirs) else NOTHING
        if a != b and not (a == SKIPPED and set(b) <= {"x", "z"}) and not _equal(a, b):
            return number
    return None


def _equal(a: str, b: str) -> bool:
    try:
        return int(a, 16) == int(b, 16)
    except ValueError:
        return False


def _decoded(
    line: int,
    ours: list[str],
    theirs: list[str],
    macro: str,
    name: str,
    about: Mapping[str, Any],
    entry: Mapping[str, Any],
) -> Difference:
    """The difference of a line, its index by name; the first number of those that share the line."""
    a = ours[line] if line < len(ours) else NOTHING
    b = theirs[line] if line < len(theirs) else NOTHING
    if line >= int(np.prod(about["shape"])):
        return Difference(macro, name, {"line": line}, a, b, None)
    where = dict(zip(about["index"], (int(i) for i in np.unravel_index(line, about["shape"]))))
    bits, count = int(about["number_bits"]), 1
    if name in PACKED:
        count = int(about["width_bits"]) // bits
        try:
            wrong = int(a, 16) ^ int(b, 16)
        except ValueError:  # x, z or nothing
            return Difference(macro, name, where, a, b, None)
        place = ((wrong & -wrong).bit_length() - 1) // bits
        if place >= count:  # bits above the last number
            return Difference(macro, name, where, a, b, None)
        where[PACKED[name]] = place
        mask = (1 << bits) - 1
        expected, got = (str((int(word, 16) >> (place * bits)) & mask) for word in (a, b))
        return Difference(macro, name, where, expected, got, None)
    signed = name in SIGNED or (name == "codes.hex" and bool(entry.get("signed_codes")))
    return Difference(macro, name, where, _number(a, bits, signed), _number(b, bits, signed), None)


def _number(word: str, bits: int, signed: bool) -> str:
    """Decimal, as two's complement of `bits` where it is signed; words that are no number as they are."""
    try:
        value = int(word, 16)
    except ValueError:
        return word
    return str(value - (1 << bits) if signed and bits and value >> (bits - 1) == 1 else value)


def _moment(difference: Difference, entry: Mapping[str, Any]) -> tuple[int, int, int]:
    """(0 programmed, 1 run, 2 beyond the end), operation, step."""
    where = difference.where
    if difference.file in PROGRAMMED:
        return (0, 0, 0)
    if "op" not in where:
        return (2, 0, 0)
    if "group" in where:
        return (1, where["op"], where["group"] * int(entry["slices"]) + where["slice"])
    steps = int(entry["groups"]) * int(entry["slices"])
    return (1, where["op"], -1 if difference.file == "inputs.hex" else steps)


def _cycle(difference: Difference, folder: Path, entry: Mapping[str, Any]) -> int | None:
    """When the number that differs belongs on its wire, in cycles from the start of the operation; None: no such time."""
    where, name = difference.where, difference.file
    if name in PROGRAMMED or "op" not in where:
        return None
    if name == "inputs.hex":
        return 0
    source = {"wordlines.hex": "drive_cycles.hex", "drive_cycles.hex": "drive_cycles.hex"}.get(name, "code_cycles.hex")
    if "group" not in where:
        source = "op_cycles.hex"
    about = entry["files"].get(source)
    if about is None:
        return None
    words = np.array(_vectors(folder, difference.macro, source, about)).reshape(about["shape"])
    word = words[tuple(where[key] for key in about["index"] if key in where)]
    numbers = [int(one, 16) for one in np.atleast_1d(word).tolist() if one != SKIPPED]
    return max(numbers, default=None)
