"""Files that appear under their name only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cimemu.errors import CimemuError


@contextmanager
def whole_file(path: Path, error: type[CimemuError], *, overwrite: bool) -> Iterator[Path]:
    """Gives `PATH.partial` to write, renamed when the block ends well and removed when it does not.

    Raises `error` where the name is taken (and not to be overwritten), or cannot be written.
    """
    if path.is_dir():
        raise error(f"{path}: is a folder, name a file")
    if path.exists() and not overwrite:
        raise error(f"{path}: exists already, name another file or ask for overwriting (--force)")
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch()
        yield partial
        os.replace(partial, path)
    except OSError as failure:
        raise error(
            f"{path}: cannot be written ({failure.strerror or failure}), name a file in a writable folder"
        ) from failure
    finally:
        partial.unlink(missing_ok=True)
