"""A simulator's or chip's dump against golden vectors: the first difference, decoded, and what the dump lacks."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cimemu.errors import TraceError
from cimemu.golden.format import (
    FILES,
    PROGRAMMED,
    SKIPPED,
    STEP,
    FileEntry,
    FolderEntry,
    MacroEntry,
    inside,
    read_manifest,
)

ORDER = {name: number for number, name in enumerate(FILES)}
NOTHING = "nothing"
SHOWN = 40  # characters of a word that is no number of the format


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
    missing: tuple[str, ...]  # files that the dump lacks, as folder/file


def verify_dump(folder: Path, dump: Path) -> Verification:
    """Compare the files of `dump` with the vectors in `folder`; files that the dump lacks are listed.

    The first difference is the earliest one: what is programmed, then operation by operation and step by step; within a
    step in the order of the manifest's files. Raises TraceError where the vectors are damaged, where the dump has none of
    their files or one that is no text of hexadecimal numbers, and where a link leads out of either folder.
    """
    manifest = read_manifest(folder)
    lines, missing = 0, []
    compared = 0
    found: list[tuple[tuple[int, ...], Difference]] = []
    for number, (place, entry) in enumerate(manifest.folders.items()):
        for name in sorted(entry.files, key=ORDER.__getitem__):
            about = entry.files[name]
            theirs = dump / place / name
            if not _there(theirs):
                missing.append(f"{place}/{name}")
                continue
            ours, got = _vectors(folder, place, name, about), _read(dump, theirs, about)
            compared, lines = compared + 1, lines + len(ours)
            line = _first_line(ours, got)
            if line is not None:
                difference = _decoded(line, ours, got, place, name, about)
                key = (*_moment(difference, entry), ORDER[name], number)
                found.append((key, replace(difference, cycle=_cycle(difference, folder, entry))))
    if not compared:
        raise TraceError(f"{dump}: has none of the files of {folder}, such as {missing[0]}")
    first = min(found, key=lambda pair: pair[0])[1] if found else None
    return Verification(manifest.layer, compared, lines, first, tuple(missing))


def _there(path: Path) -> bool:
    """Whether anything has the name, be it a link that leads nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}), name a folder of readable files") from error
    return True


def _vectors(folder: Path, place: str, name: str, about: FileEntry) -> list[str]:
    path = folder / place / name
    ours = _read(folder, path, about)
    if hashlib.sha256(("\n".join(ours) + "\n").encode()).hexdigest() != about.sha256:
        raise TraceError(f"{path}: does not match its checksum, make the vectors again")
    if len(ours) != about.lines:
        raise TraceError(f"{path}: has {len(ours)} numbers, the manifest says {about.lines}; make the vectors again")
    return ours


def _read(folder: Path, path: Path, about: FileEntry) -> list[str]:
    """Numbers of a `$readmemh` file: comments and blank lines left out, one number a word."""
    room = (1 << 20) + 16 * about.lines * (about.width_bits // 4 + 3)  # comments and spaces, but not without end
    try:
        text = inside(folder, path, room).decode()
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: is no text, write hexadecimal numbers") from error
    words = [word.lower() for line in text.splitlines() for word in line.split("//")[0].split()]
    for number, word in enumerate(words):
        if not set(word) <= set("0123456789abcdefxz_"):
            raise TraceError(f"{path}: number {number + 1} is {word[:20]!a}, must be hexadecimal digits, x or z")
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


def _decoded(line: int, ours: list[str], theirs: list[str], place: str, name: str, about: FileEntry) -> Difference:
    """The difference of a line, its index by name; the first number of those that share the line."""
    a = ours[line] if line < len(ours) else NOTHING
    b = theirs[line] if line < len(theirs) else NOTHING
    if line >= about.lines:
        return Difference(place, name, {"line": line}, _shown(a), _shown(b), None)
    where = dict(zip(about.index, (int(i) for i in np.unravel_index(line, about.shape))))
    bits = about.number_bits
    if FILES[name].packed:
        try:
            wrong = int(a, 16) ^ int(b, 16)
        except ValueError:  # x, z or nothing
            return Difference(place, name, where, _shown(a), _shown(b), None)
        number = ((wrong & -wrong).bit_length() - 1) // bits
        if number >= about.width_bits // bits:  # bits above the last number
            return Difference(place, name, where, _shown(a), _shown(b), None)
        where[FILES[name].packed] = number
        a, b = (f"{(int(word, 16) >> (number * bits)) & ((1 << bits) - 1):x}" for word in (a, b))
    return Difference(place, name, where, _number(a, about), _number(b, about), None)


def _shown(word: str) -> str:
    return word if len(word) <= SHOWN else word[:SHOWN] + "..."


def _number(word: str, about: FileEntry) -> str:
    """As the manifest's kind says; words that are no number of so many bits as they are."""
    try:
        value = int(word, 16)
    except ValueError:
        return _shown(word)
    if value >> about.number_bits:
        return _shown(word)
    if about.kind == "float64" and about.number_bits == 64:
        return str(np.array(value, dtype=np.uint64).view(np.float64))
    negative = about.kind == "signed" and value >> (about.number_bits - 1) == 1
    return str(value - (1 << about.number_bits) if negative else value)


def _moment(difference: Difference, entry: FolderEntry) -> tuple[int, int, int]:
    """(0 programmed, 1 run, 2 beyond the end), operation, step; the digital unit's outputs after all steps."""
    where = difference.where
    if difference.file in PROGRAMMED:
        return (0, 0, 0)
    if "op" not in where:
        return (2, 0, 0)
    if not isinstance(entry, MacroEntry):
        return (1, where["op"], entry.ops * 2**32)
    if "group" in where:
        return (1, where["op"], where["group"] * entry.slices + where["slice"])
    return (1, where["op"], -1 if difference.file == "inputs.hex" else entry.groups * entry.slices)


def _cycle(difference: Difference, folder: Path, entry: FolderEntry) -> int | None:
    """When the number that differs belongs on its wire, in cycles from the start of the operation; None: no such time."""
    where, name = difference.where, difference.file
    if name in PROGRAMMED or "op" not in where or not isinstance(entry, MacroEntry):
        return None
    if name == "inputs.hex":
        return 0
    source = "drive_cycles.hex" if name in ("wordlines.hex", "drive_cycles.hex") else "code_cycles.hex"
    if "group" not in where:
        source = "op_cycles.hex"
    about = entry.files.get(source)
    if about is None:
        return None
    words = np.array(_vectors(folder, difference.macro, source, about)).reshape(about.shape)
    keys = (*STEP, "column") if source == "code_cycles.hex" else STEP
    word = words[tuple(where[key] for key in keys if key in where)]
    numbers = [int(one, 16) for one in np.atleast_1d(word).tolist() if one != SKIPPED and _equal(one, one)]
    return max(numbers, default=None)
