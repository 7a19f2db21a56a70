"""A simulator's or chip's dump against golden vectors: every file's verdict, and the first difference, decoded."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from cimemu.errors import TraceError
from cimemu.golden.format import (
    FILES,
    PROGRAMMED,
    SKIPPED,
    STEP,
    STIMULI,
    FolderEntry,
    MacroEntry,
    Manifest,
    read_manifest,
)
from cimemu.golden.terms import network_terms
from cimemu.golden.words import Difference, decoded, dump_words, first_line, is_number, vector_words

ORDER = {name: number for number, name in enumerate(FILES)}
State = Literal["equal", "different", "missing", "short", "not asked for"]


@dataclass(frozen=True)
class FileVerdict:
    """What became of one file of the vectors."""

    folder: str
    file: str
    state: State
    lines: int  # numbers that the vectors have
    got: int  # and the dump
    difference: Difference | None = None

    @property
    def name(self) -> str:
        """As folder/file."""
        return f"{self.folder}/{self.file}"


@dataclass(frozen=True)
class Verification:
    """What a comparison found."""

    layer: str
    verdicts: tuple[FileVerdict, ...]
    difference: Difference | None  # the earliest of all files

    def _named(self, *states: State) -> tuple[str, ...]:
        return tuple(v.name for v in self.verdicts if v.state in states)

    @property
    def files(self) -> int:
        """Files that were compared."""
        return len(self._named("equal", "different", "short"))

    @property
    def lines(self) -> int:
        """Numbers of the vectors that were compared."""
        return sum(v.lines for v in self.verdicts if v.state in ("equal", "different", "short"))

    @property
    def missing(self) -> tuple[str, ...]:
        """Files that the dump lacks and should have, as folder/file."""
        return self._named("missing")

    @property
    def short(self) -> tuple[str, ...]:
        """Files that have fewer or more numbers than the vectors, and how many."""
        wrong = [v for v in self.verdicts if v.state in ("different", "short") and v.got != v.lines]
        return tuple(f"{v.name} has {v.got:,} of {v.lines:,} numbers" for v in wrong)

    @property
    def equal(self) -> bool:
        """Whether everything that was asked for is there and equal."""
        return self.difference is None and not self.missing and not self.short


def verify_dump(folder: Path, dump: Path, only: Iterable[str] = ()) -> Verification:
    """Compare the files of `dump` with the vectors in `folder`.

    Everything that a macro gives must be there; what it is given (cells, tables, inputs) is compared where the dump has it.
    `only` names what is compared: files (`codes`), folders (`macro_000_000_000`), `macros`, `digital`.

    The first difference is the earliest one: what is programmed, then operation by operation and step by step; within a
    step in the order of the manifest's files. Raises TraceError where the vectors are damaged, where the dump has none of
    their files or one that is no text of hexadecimal numbers, and where a link leads out of either folder.
    """
    manifest = read_manifest(folder)
    files, folders = _asked(manifest, only)
    verdicts: list[FileVerdict] = []
    found: list[tuple[tuple[int, ...], Difference]] = []
    for number, (place, entry) in enumerate(manifest.folders.items()):
        for name in sorted(entry.files, key=ORDER.__getitem__):
            asked = place in folders and (name in files if files else True)
            if asked:
                verdict = _verdict(folder, dump, manifest, (place, name), bool(files) or name not in STIMULI)
            else:
                verdict = FileVerdict(place, name, "not asked for", entry.files[name].lines, 0)
            verdicts.append(verdict)
            if verdict.difference is not None:
                key = (*_moment(verdict.difference, entry), ORDER[name], number)
                found.append((key, verdict.difference))
    made = Verification(manifest.layer, tuple(verdicts), min(found, key=lambda pair: pair[0])[1] if found else None)
    if not made.files:
        raise TraceError(f"{dump}: has none of the files of {folder}, such as {made.missing[0]}")
    return made


def _asked(manifest: Manifest, only: Iterable[str]) -> tuple[set[str], set[str]]:
    """(files, folders) that `only` names; no files: all."""
    files, folders = set(), set()
    known = {name for entry in manifest.folders.values() for name in entry.files}
    for word in only:
        name = word if word.endswith(".hex") else f"{word}.hex"
        if name in known:
            files.add(name)
        elif word in ("macros", "digital"):
            folders |= set(manifest.macros if word == "macros" else manifest.digital)
        elif word in manifest.folders:
            folders.add(word)
        else:
            stems = ", ".join(sorted(name.removesuffix(".hex") for name in known))
            raise TraceError(
                f"only = {word!r:.60}, must be macros, digital, a folder of the vectors, or one of {stems}"
            )
    chosen = folders or set(manifest.folders)
    if not any(name in manifest.folders[place].files for place in chosen for name in files or known):
        raise TraceError(f"only = {', '.join(only)}: no folder of that kind has such a file, name others")
    return files, chosen


def _verdict(folder: Path, dump: Path, manifest: Manifest, which: tuple[str, str], needed: bool) -> FileVerdict:
    place, name = which
    entry = manifest.folders[place]
    about = entry.files[name]
    theirs = dump / place / name
    if not _there(theirs):
        return FileVerdict(place, name, "missing" if needed else "not asked for", about.lines, 0)
    ours, got = vector_words(folder, place, name, about), dump_words(dump, theirs, about)
    line = first_line(ours, got, about)
    if line is None:
        return FileVerdict(place, name, "equal", len(ours), len(got))
    difference = decoded(line, ours, got, place, name, about)
    difference = replace(
        difference,
        cycle=_cycle(difference, folder, entry),
        terms=network_terms(manifest, entry, name, difference.where) if line < about.lines else {},
    )
    state: State = "short" if line >= len(got) else "different"
    return FileVerdict(place, name, state, len(ours), len(got), difference)


def _there(path: Path) -> bool:
    """Whether anything has the name, be it a link that leads nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}), name a folder of readable files") from error
    return True


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
    words = np.array(vector_words(folder, difference.macro, source, about)).reshape(about.shape)
    keys = (*STEP, "column") if source == "code_cycles.hex" else STEP
    word = words[tuple(where[key] for key in keys if key in where)]
    numbers = [int(one, 16) for one in np.atleast_1d(word).tolist() if one != SKIPPED and is_number(one)]
    return max(numbers, default=None)
