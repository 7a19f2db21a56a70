"""The words of two files of one kind, side by side: the first that differs, as a number of the format."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cimemu.errors import TraceError
from cimemu.golden.format import FILES, SKIPPED, FileEntry, inside

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
    terms: dict[str, int | str] = field(default_factory=dict)  # the same place in the network's terms

    def __str__(self) -> str:
        """One line."""
        place = ", ".join(f"{name} {number}" for name, number in self.where.items())
        cycle = "" if self.cycle is None else f", cycle {self.cycle}"
        terms = ", ".join(f"{name} {number}" for name, number in self.terms.items())
        said = f"{self.macro}/{self.file}: {place}{cycle}: expected {self.expected}, got {self.got}"
        return f"{said} ({terms})" if terms else said


def vector_words(folder: Path, place: str, name: str, about: FileEntry) -> list[str]:
    """The words of a file of the vectors, which must be what the manifest says. Raises TraceError."""
    path = folder / place / name
    ours = dump_words(folder, path, about)
    if hashlib.sha256(("\n".join(ours) + "\n").encode()).hexdigest() != about.sha256:
        raise TraceError(f"{path}: does not match its checksum, make the vectors again")
    if len(ours) != about.lines:
        raise TraceError(f"{path}: has {len(ours)} numbers, the manifest says {about.lines}; make the vectors again")
    return ours


def dump_words(folder: Path, path: Path, about: FileEntry) -> list[str]:
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


def first_line(ours: list[str], theirs: list[str], about: FileEntry) -> int | None:
    """The first line in which two files are not one number; None: there is none."""
    for number in range(max(len(ours), len(theirs))):
        a = ours[number] if number < len(ours) else NOTHING
        b = theirs[number] if number < len(theirs) else NOTHING
        if a != b and not (a == SKIPPED and set(b) <= {"x", "z"}) and not _equal(a, b, about):
            return number
    return None


def _equal(a: str, b: str, about: FileEntry) -> bool:
    """Whether two words are one number; what is signed may be written in more bits, its sign repeated."""
    try:
        ours, theirs = int(a, 16), int(b, 16)
    except ValueError:
        return False
    if about.kind == "signed" and about.width_bits == about.number_bits and ours >> (about.number_bits - 1) == 1:
        more, digits = theirs >> about.number_bits, len(b.replace("_", ""))
        repeated = more & (more + 1) == 0 and -(-theirs.bit_length() // 4) == digits
        return ours == theirs & ((1 << about.number_bits) - 1) and (more == 0 or repeated)
    return ours == theirs


def is_number(word: str) -> bool:
    """Whether a word has hexadecimal digits alone."""
    return set(word) <= set("0123456789abcdef_")


def decoded(line: int, ours: list[str], theirs: list[str], place: str, name: str, about: FileEntry) -> Difference:
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
    digits = 4 * len(word.replace("_", ""))
    if value >> about.number_bits and about.kind == "signed" and value >> (digits - 1) == 1:
        return str(value - (1 << digits))  # the sign repeated
    if value >> about.number_bits:
        return _shown(word)
    if about.kind == "float64" and about.number_bits == 64:
        return str(np.array(value, dtype=np.uint64).view(np.float64))
    negative = about.kind == "signed" and value >> (about.number_bits - 1) == 1
    return str(value - (1 << about.number_bits) if negative else value)
