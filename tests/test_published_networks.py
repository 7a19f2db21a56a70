"""The study of published networks: archives inside archives, and files of one name."""

import csv
import hashlib
import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "workloads/studies/published_networks/networks.py"


@pytest.fixture
def networks(tmp_path):
    spec = importlib.util.spec_from_file_location("published_networks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.HERE = tmp_path
    return module


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_archives_inside_archives_and_files_of_one_name(networks, tmp_path, capsys):
    wheel = {
        "a/one.tflite": b"1",
        "b/one.tflite": b"2",  # another file of that name
        "c/one.tflite": b"1",  # the same file
        "a/two.zip": zipped({"one.tflite": b"3", "deep/three.zip": zipped({"x/four%.onnx": b"4"}), "note.txt": b"5"}),
    }
    down = tmp_path / "down"
    down.mkdir()
    (down / "some_package-1.0-py3-none-any.whl").write_bytes(zipped(wheel))
    with tarfile.open(down / "other-2.0.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("package/one.tflite")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"2"))
    assert networks.main(["list", str(down)]) == 0
    table = capsys.readouterr().out
    (tmp_path / "packages.csv").write_text(table, encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {row["file"] for row in rows if "!" in row["file"]} == {
        "a/two.zip!one.tflite",
        "a/two.zip!deep/three.zip!x/four%.onnx",
    }
    assert networks.main(["unpack", str(down), str(tmp_path / "out")]) == 0
    sums = {row["sha256"]: row for row in rows}
    out = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert len(out) == len(sums) == 4
    assert out["some-package--four_.onnx"] == b"4"
    for content in (b"1", b"3"):
        assert out[f"some-package--one--{hashlib.sha256(content).hexdigest()[:8]}.tflite"] == content
    assert b"2" in out.values()
