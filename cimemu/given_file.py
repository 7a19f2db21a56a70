"""Files that a user names to be read: only regular files, of a size that can be meant, are ever opened."""

import os
import stat
from pathlib import Path

from cimemu.errors import CimemuError, why_unreadable

MIB, GIB = 1 << 20, 1 << 30
TEXT_BYTES = 64 * MIB  # of a table, a list of requests, a manifest


def refuse_input(path: Path, error: type[CimemuError], what: str, *, most: int | None = None) -> Path:
    """`path` itself where it is a file that can be read; else raise `error`, which says that `what` is wanted.

    A pipe or a device would let the program wait for ever, and a file of more than `most` bytes fill its memory.
    """
    shown = str(path) if len(str(path)) <= 100 else str(path)[:97] + "..."
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise error(f"{shown}: no such file, name {what}") from None
    except (OSError, ValueError) as failure:  # a name too long, below a file, a loop of links, a NUL
        raise error(f"{shown}: cannot be read ({getattr(failure, 'strerror', None) or failure}), name {what}") from None
    if stat.S_ISDIR(found.st_mode):
        raise error(f"{shown}: is a folder, name {what}")
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{shown}: is a pipe or a device, name {what}")
    if most is not None and found.st_size > most:
        raise error(f"{shown}: {found.st_size} bytes, must be <= {most}; name {what}")
    if not os.access(path, os.R_OK):
        raise error(f"{shown}: cannot be read ({why_unreadable(PermissionError(13, 'permission denied'))})")
    return path


def read_bytes(path: Path, error: type[CimemuError], what: str, *, most: int) -> bytes:
    """The whole file. Raises `error` as `refuse_input`, and where reading fails."""
    refuse_input(path, error, what, most=most)
    try:
        return path.read_bytes()
    except OSError as failure:
        raise error(f"{path}: cannot be read ({why_unreadable(failure)})") from None


def read_text(path: Path, error: type[CimemuError], what: str, *, most: int = TEXT_BYTES) -> str:
    """The whole file as UTF-8 text, whatever the locale. Raises `error`."""
    data = read_bytes(path, error, what, most=most)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise error(
            f"{path}: byte {failure.start} is no UTF-8 text ({failure.reason}), cannot be read as text; name {what}"
        ) from None


def is_file(path: Path) -> bool:
    """Whether there is a file of that name; False also for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
