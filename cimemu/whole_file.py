"""Files that appear under their name only when they are whole, and never in the place of what must stay."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cimemu.errors import CimemuError

NAME_KEPT = 40  # characters of the file's own name in that of its temporary file, so that the whole stays short
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def refuse_output(path: Path, error: type[CimemuError], *, overwrite: bool) -> None:
    """Raise `error` where `path` could not be written in the end: to be asked before the work, not after it.

    A new file is tried beside it, because permissions, read-only disks and missing folders tell no other way.
    """
    _refuse_taken(path, error, overwrite)
    try:
        os.unlink(temporary_beside(path))
    except OSError as failure:
        raise _cannot(path, error, failure) from None


def temporary_beside(path: Path) -> Path:
    """A new empty file in the folder of `path`, made with O_EXCL under a name that nobody can guess. OSError."""
    made = path.with_name(f"{path.name[:NAME_KEPT]}.{os.urandom(8).hex()}.partial")
    os.close(os.open(made, _NEW, 0o666))
    return made


def appear(made: Path, path: Path, *, overwrite: bool) -> None:
    """Give the finished file `made` its name. FileExistsError where the name is taken by now, unless `overwrite`.

    A link under the name is replaced, never followed.
    """
    if overwrite:
        os.replace(made, path)
        return
    try:
        os.link(made, path)  # fails where the name is taken, which a rename does not
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists already") from None
        os.rename(made, path)
        return
    os.unlink(made)


@contextmanager
def whole_file(path: Path, error: type[CimemuError], *, overwrite: bool) -> Iterator[Path]:
    """Gives a temporary file beside `path`, which gets that name when the block ends well and is removed if not.

    Raises `error` where the name is taken (and not to be overwritten), or cannot be written.
    """
    _refuse_taken(path, error, overwrite)
    made: Path | None = None
    try:
        made = temporary_beside(path)
        yield made
        with open(made, "rb+") as file:
            os.fsync(file.fileno())
        appear(made, path, overwrite=overwrite)
        made = None
    except OSError as failure:
        raise _cannot(path, error, failure) from failure
    finally:
        if made is not None:
            made.unlink(missing_ok=True)


def _refuse_taken(path: Path, error: type[CimemuError], overwrite: bool) -> None:
    """Raise `error` for a folder, a device, a pipe, a file that is there already, and a name that cannot be one."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as failure:  # too long, below a file, with a NUL
        raise _cannot(path, error, failure) from None
    try:
        mode = os.stat(path).st_mode
    except OSError:  # a link that leads nowhere is something that is there
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise error(f"{path}: is a folder, name a file")
    if not stat.S_ISREG(mode):
        raise error(f"{path}: is a device or a pipe, name a file")
    if not overwrite:
        raise error(f"{path}: exists already, name another file or ask for overwriting (--force)")


def _cannot(path: Path, error: type[CimemuError], failure: Exception) -> CimemuError:
    if isinstance(failure, FileExistsError):
        return error(f"{path}: exists already, name another file or ask for overwriting (--force)")
    shown = str(path) if len(str(path)) <= 100 else str(path)[:97] + "..."
    reason = getattr(failure, "strerror", None) or failure
    return error(f"{shown}: cannot be written ({reason}), name a file in a writable folder")
