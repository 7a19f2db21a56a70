"""Trial files: many small records by (point, trial), each kept as it comes, one deterministic file at the end.

While a run lasts its file is `OUT.partial`: an HDF5 file whose every byte of structure is written, flushed and
renamed into place before the first trial; a trial then only fills space that is there, its checksum and status
last. So a process killed at any moment leaves a file that opens, with every finished trial in it.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.trace.schema import SCHEMA_VERSION

ERROR_BYTES = 200
Record = Mapping[str, Any]


class Status(IntEnum):
    """What is known of a trial."""

    MISSING = 0
    DONE = 1
    FAILED = 2


@dataclass(frozen=True)
class Field:
    """One value of every record: `shape` () for a number."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()


class TrialFile:
    """The open `OUT.partial` of `points` x `trials` records; one process writes it."""

    def __init__(self, file: h5py.File, out: Path, fields: Sequence[Field]) -> None:
        """Wrap an open file (`create_trials` and `resume_trials` open them)."""
        self.file, self.out, self.fields = file, out, tuple(fields)
        self.partial = Path(file.filename)
        self.status: NDArray[np.uint8] = self._checked()

    def commit(self, point: int, trial: int, record: Record) -> None:
        """Keep one finished trial: its values, then its checksum, then its status."""
        group = self.file["trials"]
        crc = 0
        for field in self.fields:
            value = np.asarray(record[field.name], dtype=field.dtype).reshape(field.shape)
            group[field.name][point, trial] = value
            crc = zlib.crc32(value.tobytes(), crc)
        group["crc32"][point, trial] = crc
        self._settle(point, trial, Status.DONE)

    def fail(self, point: int, trial: int, error: str) -> None:
        """Keep the reason of a trial that failed every time it was tried."""
        self.file["trials/error"][point, trial] = error.encode()[:ERROR_BYTES]
        self._settle(point, trial, Status.FAILED)

    def _settle(self, point: int, trial: int, status: Status) -> None:
        try:
            self.file.flush()
            self.file["trials/status"][point, trial] = status
            self.file.flush()
        except (OSError, RuntimeError) as error:
            raise TraceError(f"{self.partial}: cannot be written ({error}); free some space, then --resume") from error
        self.status[point, trial] = status

    def _checked(self) -> NDArray[np.uint8]:
        """Status of every trial; one whose values do not match their checksum counts as missing."""
        status = np.array(self.file["trials/status"][()], dtype=np.uint8)
        for point, trial in np.argwhere(status == Status.DONE):
            crc = 0
            for field in self.fields:
                value = np.asarray(self.file["trials"][field.name][point, trial], dtype=field.dtype)
                crc = zlib.crc32(value.tobytes(), crc)
            if crc != int(self.file["trials/crc32"][point, trial]):
                status[point, trial] = Status.MISSING
        return status

    def values(self) -> dict[str, NDArray[Any]]:
        """Every field `[points, trials, ...]`, and `error` as text."""
        made = {field.name: np.asarray(self.file["trials"][field.name][()]) for field in self.fields}
        errors = self.file["trials/error"][()]
        made["error"] = np.array([[e.decode("utf-8", "replace") for e in row] for row in errors], dtype=object)
        return made

    def finish(self, attributes: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> Path:
        """Write the whole file under its own name, in an order that no schedule can change; drop the partial one."""
        made = h5py.File(self.out.name, "w", driver="core", backing_store=False)
        try:
            _put_attributes(made, attributes)
            for group, members in groups.items():
                for name, values in members.items():
                    _put(made, f"{group}/{name}", values)
            made.flush()
            image = made.id.get_file_image()
        finally:
            made.close()
        writing = self.out.with_name(self.out.name + ".writing")
        try:
            with open(writing, "wb") as out:
                out.write(image)
                out.flush()
                os.fsync(out.fileno())
            os.replace(writing, self.out)
        except OSError as error:
            writing.unlink(missing_ok=True)
            raise TraceError(
                f"{self.out}: cannot be written ({error.strerror}); free some space, then --resume"
            ) from error
        self.close()
        self.partial.unlink(missing_ok=True)
        return self.out

    def close(self) -> None:
        """Leave the partial file as it is, to be resumed."""
        self.file.close()


def create_trials(
    out: Path, identity: Mapping[str, Any], fields: Sequence[Field], points: int, trials: int, *, overwrite: bool
) -> TrialFile:
    """A new `OUT.partial`. `identity` says what was asked for; a later `--resume` must ask for the same.

    TraceError where OUT or its partial file is there already.
    """
    partial = out.with_name(out.name + ".partial")
    if out.exists() and not overwrite:
        raise TraceError(f"{out}: exists already, name another file or add --force")
    if partial.exists() and not overwrite:
        raise TraceError(f"{partial}: is an unfinished run, go on with --resume {partial} or start anew with --force")
    fresh = out.with_name(out.name + ".fresh")
    try:
        with h5py.File(fresh, "w") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["complete"] = False
            file.attrs["identity_json"] = _json(identity)
            file.attrs["fields_json"] = json.dumps([[f.name, f.dtype, list(f.shape)] for f in fields])
            whole = [Field("status", "uint8"), Field("crc32", "uint32"), Field("error", f"S{ERROR_BYTES}"), *fields]
            for field in whole:
                _allocate(file, f"trials/{field.name}", (points, trials, *field.shape), np.dtype(field.dtype))
            file.flush()
        os.replace(fresh, partial)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise TraceError(f"{out}: cannot be written ({error}), name a file in a writable folder") from error
    return TrialFile(h5py.File(partial, "r+"), out, fields)


def resume_trials(partial: Path, identity: Mapping[str, Any], fields: Sequence[Field]) -> TrialFile:
    """Open an unfinished run to go on. TraceError where it is none, or was asked for something else."""
    if partial.suffix != ".partial":
        raise TraceError(f"{partial}: an unfinished run ends in .partial, name that file")
    try:
        file = h5py.File(partial, "r+")
        given = json.loads(file.attrs["identity_json"])
    except (OSError, KeyError) as error:
        reason = "no such file" if not partial.exists() else "is no unfinished stress run"
        raise TraceError(f"{partial}: {reason}, start without --resume") from error
    wanted = json.loads(_json(identity))
    for key in sorted(set(given) | set(wanted)):
        if given.get(key) != wanted.get(key):
            file.close()
            raise TraceError(
                f"{partial}: was made with {key} = {_short(given.get(key))}, now {_short(wanted.get(key))}: "
                "ask for the same run, or start anew with --force"
            )
    return TrialFile(file, partial.with_suffix(""), fields)


def _allocate(file: h5py.File, path: str, shape: tuple[int, ...], dtype: Any) -> None:
    """A contiguous dataset whose space is in the file from the start, all zero."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, path.encode(), h5py.h5t.py_create(dtype), space, properties, links).close()


def _put_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if value is not None:
            file.attrs[name] = value


def _put(file: h5py.File, path: str, values: Any) -> None:
    array = np.asarray(values)
    if array.dtype == object or array.dtype.kind == "U":
        file.create_dataset(path, data=array.astype(object), dtype=h5py.string_dtype())
    elif array.size > 4096:
        file.create_dataset(path, data=array, chunks=True, compression="gzip", compression_opts=1, shuffle=True)
    else:
        file.create_dataset(path, data=array)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, default=str)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
