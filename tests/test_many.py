"""`python -m cimemu.many`: what cannot be used is one line and exit status 2."""

import pytest

from cimemu import many
from cimemu.many import main

ROW = "file,input,shape\na.onnx,x,1x{}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope", "r.csv"], "no such folder"),
        (["a.onnx", "r.csv"], "no such folder"),
        ([".", "nope/r.csv"], "cannot be written"),
        ([".", "r.csv", "--shapes", "nope.csv"], "no such file"),
        ([".", "r.csv", "--shapes", "columns.csv"], "must be file,input,shape"),
        ([".", "r.csv", "--shapes", "sizes.csv"], "must be file,input,shape"),
        ([".", "r.csv", "--shapes", "number.csv"], "must be file,input,shape"),
        ([".", "r.csv", "--images", "0"], "must be above 0"),
        ([".", "r.csv", "--jobs", "0"], "must be above 0"),
        ([".", "r.csv", "--seconds", "nan"], "must be above 0"),
        ([".", "r.csv", "--arch", "nope"], "no such preset"),
        ([".", "r.csv", "--only", "b."], "holds no file"),
    ],
)
def test_wrong_uses_are_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"")
    (tmp_path / "columns.csv").write_text("file,shape\na.onnx\n", encoding="utf-8")
    (tmp_path / "sizes.csv").write_text(ROW.format("x"), encoding="utf-8")
    (tmp_path / "number.csv").write_text(ROW.replace("1x", "=").format("x"), encoding="utf-8")
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_kept_rows_are_in_the_table_before_the_others_are_measured(tmp_path, monkeypatch, capsys):
    """A run that is stopped loses none of what an earlier one found."""
    for name in ("a.onnx", "b.onnx", "c.onnx"):
        (tmp_path / name).write_bytes(name.encode() * (3 if name == "c.onnx" else 1))
    table, written = tmp_path / "t.csv", []
    monkeypatch.setattr(many, "_apart", lambda path, *_: {"verdict": many.AGREES})
    assert many.main([str(tmp_path), str(table)]) == 0
    (tmp_path / "a.onnx").write_bytes(b"another")
    monkeypatch.setattr(many, "_apart", lambda path, *_: {"verdict": many.DIFFERS})
    monkeypatch.setattr(many, "_write", lambda path, rows: written.append(set(rows)))
    assert many.main([str(tmp_path), str(table), "--keep"]) == 1
    assert written[0] >= {"b.onnx", "c.onnx"}
    assert "2 agrees, 1 differs" in capsys.readouterr().out


def test_rows_of_files_that_are_not_measured_stay(tmp_path, monkeypatch):
    """A folder of some of the files adds to the table of all; without --keep the table is of the folder alone."""
    table = tmp_path / "t.csv"
    for number, name in enumerate(("a.onnx", "b.onnx", "c.onnx")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_bytes(name.encode())
        verdict = many.REFUSED if name == "a.onnx" else many.AGREES
        monkeypatch.setattr(many, "_apart", lambda path, *_, verdict=verdict: {"verdict": verdict})
        assert many.main([str(folder), str(table), *(["--keep"] if number < 2 else [])]) == 0
        names = [line.split(",")[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
        assert names == [["a.onnx"], ["a.onnx", "b.onnx"], ["c.onnx"]][number]
