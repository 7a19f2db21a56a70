"""Trial files: many small records by (point, trial), each kept as it comes, one deterministic file at the end.

While a run lasts its file is `OUT.partial`: an HDF5 file whose every byte of structure is written and flushed
before it gets that name, which nothing else may have, and before the first trial; a trial then only fills space that
is there, its checksum and status last. So a process killed at any moment leaves a file that opens, with every
finished trial in it.
"""

import json
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.given_file import refuse_input
from cimemu.shown import printable_lines
from cimemu.trace.memory import memory_file
from cimemu.trace.schema import SCHEMA_VERSION
from cimemu.trace.validate import own_dataset
from cimemu.whole_file import appear, refuse_output, temporary_beside, whole_file

ERROR_BYTES = 200
MOST_WHOLE = 4096  # values that are not worth compressing
TOGETHER = 1 << 17  # values that are read at a time
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

    def __init__(self, file: h5py.File, out: Path, fields: Sequence[Field], *, overwrite: bool = False) -> None:
        """Wrap an open file (`create_trials` and `resume_trials` open them); `overwrite`: OUT may be there already."""
        self.file, self.out, self.fields, self.overwrite = file, out, tuple(fields), overwrite
        self.partial = Path(file.filename)
        self.status: NDArray[np.uint8] = self._checked()

    def commit(self, point: int, trial: int, record: Record) -> None:
        """Keep one finished trial: its values, then its checksum, then its status."""
        values = {f.name: np.asarray(record[f.name], dtype=f.dtype).reshape(f.shape) for f in self.fields}
        self._settle(point, trial, Status.DONE, values)

    def fail(self, point: int, trial: int, error: str) -> None:
        """Keep the reason of a trial that failed every time it was tried."""
        text = np.asarray(error.encode("utf-8", "backslashreplace")[:ERROR_BYTES], dtype=f"S{ERROR_BYTES}")
        self._settle(point, trial, Status.FAILED, {"error": text})

    def _settle(self, point: int, trial: int, status: Status, values: Mapping[str, NDArray[Any]]) -> None:
        group = self.file["trials"]
        try:
            for name, value in values.items():
                group[name][point, trial] = value
            group["crc32"][point, trial] = _checksum(status, values.values())
            self.file.flush()
            group["status"][point, trial] = status
            self.file.flush()
        except (OSError, RuntimeError) as error:
            raise TraceError(f"{self.partial}: cannot be written ({error}); free some space, then --resume") from error
        self.status[point, trial] = status

    def _checked(self) -> NDArray[np.uint8]:
        """Status of every trial; one whose status and values do not match their checksum counts as missing."""
        group = self.file["trials"]
        status = np.array(group["status"][()], dtype=np.uint8)
        for point, trial in np.argwhere(status != Status.MISSING):
            names = ["error"] if status[point, trial] == Status.FAILED else [field.name for field in self.fields]
            values = [np.asarray(group[name][point, trial], dtype=group[name].dtype) for name in names]
            known = status[point, trial] in (Status.DONE, Status.FAILED)
            if not known or _checksum(status[point, trial], values) != int(group["crc32"][point, trial]):
                status[point, trial] = Status.MISSING
        return status

    def values(self) -> dict[str, Any]:
        """Every field `[points, trials, ...]`, and `error` as text; fields of several values a trial are datasets of the file."""
        made = {field.name: self.file["trials"][field.name] for field in self.fields}
        made = {
            field.name: made[field.name] if field.shape else np.asarray(made[field.name][()]) for field in self.fields
        }
        made["error"] = np.full(self.status.shape, "", dtype=object)
        for point, trial in np.argwhere(self.status == Status.FAILED):
            made["error"][point, trial] = self.file["trials/error"][point, trial].decode("utf-8", "replace")
        return made

    def finish(self, attributes: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> Path:
        """Write the whole file under its own name, in an order that no schedule can change; drop the partial one."""
        made = memory_file()
        try:
            _put_attributes(made, attributes)
            for group, members in groups.items():
                for name, values in members.items():
                    _put(made, f"{group}/{name}", values)
            made.flush()
            image = made.id.get_file_image()
        finally:
            made.close()
        try:
            with whole_file(self.out, TraceError, overwrite=self.overwrite) as writing:
                writing.write_bytes(image)
        except TraceError as error:
            raise TraceError(f"{error}; what had ended is kept, go on with --resume {self.partial}") from error
        self.close()
        self.partial.unlink(missing_ok=True)
        return self.out

    def close(self) -> None:
        """Leave the partial file as it is, to be resumed."""
        self.file.close()

    def discard(self) -> None:
        """Remove the partial file that this process has made, where nothing is in it that could be resumed."""
        self.file.close()
        self.partial.unlink(missing_ok=True)


def refuse_partial(out: Path) -> Path:
    """The name of the partial file of `out`. TraceError where anything is under it: it is opened by --resume alone."""
    partial = out.with_name(out.name + ".partial")
    if os.path.lexists(partial):
        raise TraceError(
            f"{partial}: is there already and is never overwritten: if it is an unfinished run, go on with "
            f"--resume {partial}; else remove it or name another file"
        )
    return partial


def create_trials(
    out: Path, identity: Mapping[str, Any], fields: Sequence[Field], points: int, trials: int, *, overwrite: bool
) -> TrialFile:
    """A new `OUT.partial`. `identity` says what was asked for; a later `--resume` must ask for the same.

    TraceError where OUT is there already (and not to be overwritten), or anything is under the partial file's name.
    """
    refuse_output(out, TraceError, overwrite=overwrite)
    partial = refuse_partial(out)
    whole = [Field("status", "uint8"), Field("crc32", "uint32"), Field("error", f"S{ERROR_BYTES}"), *fields]
    size = points * trials * sum(np.dtype(field.dtype).itemsize * math.prod(field.shape) for field in whole)
    made: Path | None = None
    try:
        free = shutil.disk_usage(out.parent).free
        if size > free:
            raise TraceError(f"{out}: {trials} trials need {size} bytes, {free} are free; ask for fewer trials")
        made = temporary_beside(out)
        with h5py.File(made, "w") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["complete"] = False
            file.attrs["identity_json"] = _json(identity)
            file.attrs["fields_json"] = json.dumps([[f.name, f.dtype, list(f.shape)] for f in fields])
            for field in whole:
                _allocate(file, f"trials/{field.name}", (points, trials, *field.shape), np.dtype(field.dtype))
            file.flush()
        appear(made, partial, overwrite=False)
        made = None
    except FileExistsError:
        refuse_partial(out)
        raise
    except OSError as error:
        raise TraceError(f"{out}: cannot be written ({error}), name a file in a writable folder") from error
    finally:
        if made is not None:
            made.unlink(missing_ok=True)
    return TrialFile(h5py.File(partial, "r+"), out, fields, overwrite=overwrite)


def resume_trials(
    partial: Path,
    identity: Mapping[str, Any],
    fields: Sequence[Field],
    shape: tuple[int, int] | None = None,
    *,
    overwrite: bool = False,
) -> TrialFile:
    """Open an unfinished run of `shape` (points, trials) to go on.

    TraceError where it is a link or no unfinished run, was asked for something else, or OUT is there by now.
    """
    if partial.suffix != ".partial":
        raise TraceError(f"{partial}: an unfinished run ends in .partial, name that file")
    if partial.is_symlink():
        raise TraceError(f"{partial}: is a link, which is not followed; name the unfinished run itself")
    refuse_input(partial, TraceError, "the unfinished run OUT.partial, or start without --resume")
    out = partial.with_suffix("")
    refuse_output(out, TraceError, overwrite=overwrite)
    file = None
    try:
        file = h5py.File(partial, "r+")
        given = checked_trials(file, partial, fields, shape)
    except TraceError:
        if file is not None:
            file.close()
        raise
    except Exception as error:  # whatever the HDF5 library makes of a damaged file
        if file is not None:
            file.close()
        raise TraceError(f"{partial}: is no unfinished stress run or sweep, start without --resume") from error
    wanted = json.loads(_json(identity))
    for key in sorted(set(given) | set(wanted)):
        if given.get(key) != wanted.get(key):
            file.close()
            raise TraceError(
                f"{partial}: was made with {key} = {_short(given.get(key))}, now {_short(wanted.get(key))}: "
                "ask for the same run, or remove that file and start anew"
            )
    return TrialFile(file, out, fields, overwrite=overwrite)


def checked_trials(
    file: h5py.File, partial: Path, fields: Sequence[Field], shape: tuple[int, int] | None
) -> dict[str, Any]:
    """What an unfinished run was asked for. TraceError where a member is missing or of another type or shape."""

    def wrong(what: str) -> TraceError:
        return TraceError(f"{partial}: {what}; it is damaged or no unfinished run, start without --resume")

    version = file.attrs.get("schema_version")
    if not isinstance(version, np.integer) or int(version) != SCHEMA_VERSION:
        raise wrong(f"schema_version = {_short(version)}, this cimemu reads {SCHEMA_VERSION}")
    try:
        identity = json.loads(file.attrs["identity_json"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise wrong("attribute identity_json is missing or no JSON") from None
    if not isinstance(identity, dict):
        raise wrong("attribute identity_json is no mapping")
    whole = [Field("status", "uint8"), Field("crc32", "uint32"), Field("error", f"S{ERROR_BYTES}"), *fields]
    first: tuple[int, ...] | None = shape
    for field in whole:
        data = own_dataset(file, f"trials/{field.name}")
        if data is None:
            raise wrong(f"/trials/{field.name} is missing or no dataset of this file")
        first = tuple(data.shape[:2]) if first is None else first
        if data.dtype != np.dtype(field.dtype) or data.shape != (*first, *field.shape):
            raise wrong(f"/trials/{field.name} is {data.dtype} of shape {data.shape}, must be {field.dtype}")
    return identity


def _checksum(status: int, values: Iterable[NDArray[Any]]) -> int:
    """Over the status byte and the values, so that no flipped byte of either passes for a result."""
    crc = zlib.crc32(bytes([int(status)]))
    for value in values:
        crc = zlib.crc32(value.tobytes(), crc)
    return crc


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
            file.attrs[name] = printable_lines(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Chosen:
    """`values` [points, trials, ...], an array or a dataset of a file, where `kept` [points, trials], and 0 elsewhere."""

    values: Any
    kept: NDArray[np.bool_]

    def part(self, at: Any = ()) -> NDArray[Any]:
        """The values of a selection of slices, by default all."""
        values = np.asarray(self.values[at])
        kept = self.kept[at[:2] if at else ()]
        return np.where(
            kept.reshape(*kept.shape, *(1 for _ in range(values.ndim - 2))), values, np.zeros((), values.dtype)
        )

    def mean(self, point: int) -> NDArray[np.float64]:
        """The mean over the trials of a point that are kept, added in their order; nan where there are none."""
        total, count = np.zeros(self.values.shape[2:]), int(self.kept[point].sum())
        step = max(1, TOGETHER // max(1, total.size))
        for first in range(0, self.kept.shape[1], step):
            some = self.part((slice(point, point + 1), slice(first, first + step)))[0]
            for values in some[self.kept[point, first : first + step]]:
                total += values
        return total / count if count else np.full_like(total, np.nan)


def _put(file: h5py.File, path: str, values: Any) -> None:
    if isinstance(values, Chosen):
        _put_parts(file, path, values)
        return
    array = np.asarray(values)
    if array.dtype == object or array.dtype.kind == "U":
        texts = np.array([printable_lines(str(text)) for text in array.ravel()], dtype=object).reshape(array.shape)
        file.create_dataset(path, data=texts, dtype=h5py.string_dtype())
    elif array.size > MOST_WHOLE:
        file.create_dataset(path, data=array, chunks=True, compression="gzip", compression_opts=1, shuffle=True)
    else:
        file.create_dataset(path, data=array)


def _put_parts(file: h5py.File, path: str, values: Chosen) -> None:
    """As `_put`, part by part, so that no more than a part of it is in memory."""
    shape, dtype = values.values.shape, values.values.dtype
    if math.prod(shape) <= MOST_WHOLE:
        _put(file, path, values.part())
        return
    data = file.create_dataset(path, shape, dtype, chunks=True, compression="gzip", compression_opts=1, shuffle=True)
    for part in data.iter_chunks():
        data[part] = values.part(part)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, default=str)


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
