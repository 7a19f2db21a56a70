"""The tutorials: every block runs in order in an empty folder and leaves its picture; as notebooks by jupytext, too."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import ROOT, blocks
from test_manual import run_block

TUTORIALS = sorted((ROOT / "cimemu/docs/tutorials").glob("*.md"))
PICTURES = {
    "golden-model": ["codes.png"],
    "which-chip": ["chips.png", "layers.png"],
    "device-life": ["life.png", "s.png"],
}


def test_every_tutorial_has_its_picture():
    assert {path.stem for path in TUTORIALS} == set(PICTURES)


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_an_empty_folder_to_its_picture(page, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in blocks(page):
        run_block(block, names, lambda: capsys.readouterr().out, page)
    for name in PICTURES[page.stem]:
        assert Path(name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_is_a_notebook(page, tmp_path):
    jupytext, nbclient = pytest.importorskip("jupytext"), pytest.importorskip("nbclient")
    if find_spec("ipykernel") is None:
        pytest.skip("needs ipykernel")
    book = jupytext.read(page)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(code) >= 4
    book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    if page.stem == "golden-model":  # its last part needs files that a command line before it has written
        book.cells = book.cells[
            : next(i for i, cell in enumerate(book.cells) if "Vectors for the bench" in cell.source)
        ]
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / PICTURES[page.stem][0]).read_bytes().startswith(b"\x89PNG")
