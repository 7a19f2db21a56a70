"""Bars of long calls: in a terminal, in a notebook, and nowhere else."""

import io
import sys
import types

import cimemu


def test_nothing_is_shown_where_nobody_looks(capsys):
    with cimemu.Progress() as bars:
        bars("images", 1, 2)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    assert bars.stages == {"images": (1, 2)}


def test_a_terminal_has_bars(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with cimemu.Progress() as bars:
        bars("images [a]", 1, 2)
        bars("unknown", 5, 0)
        bars("images [a]", 2, 2)
    assert "images [a]" in sys.stderr.getvalue()


def test_a_notebook_has_bars_in_its_cell(monkeypatch):
    shown = []
    cell = types.SimpleNamespace(update=lambda page: shown.append(page))
    display = types.SimpleNamespace(HTML=str, display=lambda page, display_id: cell)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with cimemu.Progress() as bars:
        bars("images", 1, 2)
        bars("a<b", 3, 0)
    assert "<progress value='1' max='2'></progress>" in shown[0]
    assert "1 of 2" in shown[0]
    assert "a&lt;b" in shown[1]
