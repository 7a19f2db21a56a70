"""A folder that appears under its name only when it is whole."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cimemu.errors import TraceError
from cimemu.golden.format import COVERAGE, FILES, FOLDER, MANIFEST

READ_ME = "README.md"


@contextmanager
def whole_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """Gives a new folder beside `folder`, renamed to it when the block ends well and removed when it does not.

    With `force` older vectors are replaced, and nothing else. A killed run leaves nothing under the name. TraceError
    where the name is taken or cannot be written.
    """
    try:
        taken = _taken(folder, force)
        partial = _fresh(folder)
    except OSError as error:
        raise _cannot(folder, error) from error
    try:
        yield partial
        _synced(partial)
        if taken:
            aside = _fresh(folder)
            os.rename(folder, aside)  # an empty folder's place may be taken
            try:
                os.rename(partial, folder)
            except OSError:
                os.rename(aside, folder)
                raise
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(partial, folder)
        _sync(folder.absolute().parent)
    except OSError as error:
        raise _cannot(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_folder(folder: Path, *, force: bool) -> None:
    """TraceError where `whole_folder` could not write it: before the work, and nothing is left behind."""
    try:
        _taken(folder, force)
        _fresh(folder).rmdir()
    except OSError as error:
        raise _cannot(folder, error) from error


def _taken(folder: Path, force: bool) -> bool:
    """Whether older vectors are to be replaced; TraceError where something else has the name."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise TraceError(f"{folder}: is a link or a file, name a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not force:
        raise TraceError(f"{folder}: exists already, name another folder or add --force")
    strange = next(_strangers(folder), None)
    if strange is not None:
        raise TraceError(f"{folder}: holds {ascii(strange)[1:-1]}, which is no golden vectors, name another folder")
    return True


def _strangers(folder: Path) -> Iterator[str]:
    """Entries that `cimemu golden` does not write; without a manifest, all of them."""
    entries = sorted(folder.iterdir())
    whole = (folder / MANIFEST).is_file()
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink() and FOLDER.fullmatch(entry.name) and whole:
            yield from (f"{entry.name}/{file.name}" for file in entry.iterdir() if file.name not in FILES)
        elif entry.name not in (MANIFEST, READ_ME, COVERAGE) or not whole:
            yield entry.name


def _fresh(folder: Path) -> Path:
    """A new folder beside `folder`, under a name that nobody can guess."""
    name = folder.absolute().name or "vectors"
    made = folder.absolute().parent / f".{name[:100]}.{secrets.token_hex(8)}.partial"
    made.mkdir(parents=False)
    return made


def _synced(folder: Path) -> None:
    """Everything in the folder is on the disk."""
    for path, _, files in os.walk(folder):
        for file in files:
            _sync(Path(path, file))
        _sync(Path(path))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot(folder: Path, error: OSError) -> TraceError:
    return TraceError(
        f"{folder}: cannot be written ({error.strerror or error}), name a new folder in a writable place that exists"
    )
