"""Every fenced block of the README and the manual runs, in the order of its page and in one folder.

Files that a page asks its reader to bring are made by page_files.py. A block with `<!-- not run: reason -->` in front of it
is parsed only (test_docs_fresh.py parses all commands). One with `<!-- slow: reason -->` runs with `pytest -m slow`, where the
files that it needs are there; `torch` asks for PyTorch, `status N` for a last command that ends with N. A session, which begins
with a prompt, is compared with its output; `...` stands for lines that depend on the machine.
"""

import doctest
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from page_files import bring
from pages import ROOT, blocks, command_lines, name_of

from cimemu.cli import main

MANUAL = sorted((ROOT / "cimemu/docs/manual").glob("*.md"))
WORKING = ROOT / "cimemu/docs/design/working.md"
RUN = [ROOT / "README.md", *MANUAL, ROOT / "arch/claims.md", ROOT / "arch/validation.md", WORKING]
DESIGN = sorted((ROOT / "cimemu/docs").glob("design/*.md"))
SITE = [ROOT / "README.md", *sorted((ROOT / "cimemu/docs").rglob("*.md"))]
LABELS = {"", "sh", "python", "pycon", "text", "yaml", "bibtex"}
MOST_WORDS = 1500
# Whose commands take the longest: they run with the slow tests.
LONG_PAGES = {"README", "first-run", "training", "stress", "claims", "networks", "traces", "quantisation", "validation"}


def run_commands(body, printed, page, status=0):
    """Run every command of a block, the last of which ends with `status`; a session's output is compared.

    Tests that a page names are collected only: they run as themselves.
    """
    said = ""
    lines = list(command_lines(body))
    for number, words in enumerate(lines):
        if words[0] == "pip":
            continue
        expected = status if number == len(lines) - 1 else 0
        if words[0] == "pytest":
            assert _status_of("pytest", "--collect-only", "-q", "-n", "0", *words[1:], folder=ROOT) == expected, words
            continue
        if words[0] == "python":
            assert _status_of(*(words[2:] if words[1] == "-m" else words[1:]), module=words[1] == "-m") == expected, (
                words
            )
            continue
        assert words[0] == "cimemu", f"{name_of(page)}: {words} cannot run here, say why by `not run`"
        if words[1] == "check":
            pytest.importorskip("onnxruntime")
        assert main(words[1:]) == expected, words
        said += printed()
    if body.startswith("$ "):
        shown = [line.rstrip() for line in body.splitlines() if not line.startswith("$ ")]
        given = [line.rstrip() for line in said.splitlines()]
        assert [line for line in shown if line != "..." and line not in given] == []


def _status_of(*words, folder=None, module=True):
    """The exit status of `python -m WORDS`, or of a script."""
    command = [sys.executable, *(["-m"] if module else []), *words]
    ran = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    return ran.returncode


def run_block(block, names, printed, page):
    """Run one block, unless a comment in front of it says that it does not run here."""
    if block.kind in ("not run", "slow") or (block.kind == "torch" and find_spec("torch") is None):
        return
    if block.label in ("", "sh"):
        run_commands(block.body, printed, page, int((block.kind or "").partition("status ")[2] or 0))
    elif block.label == "python":
        run_python(block.body, names, page)
    elif block.label == "pycon":
        run_session(block.body, names, page)


def run_python(body, names, page):
    exec(compile(body, name_of(page), "exec"), names)


def run_session(body, names, page):
    """Run a `>>>` session as a doctest."""
    test = doctest.DocTestParser().get_doctest(body, names, name_of(page), name_of(page), 0)
    said = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert not said, "".join(said)


def first_run(names):
    assert names["result"].images == 64
    assert names["qnet"].converters


def variation(names):
    assert names["result"].images == 4
    assert names["varied"].y.shape == (4, 20)
    assert names["outputs"]


def traces(names):
    assert Path("page2.html").stat().st_size > 10_000
    assert Path("waves.vcd").stat().st_size > 100
    assert names["changes"]


def stress(names):
    assert "found" in names
    assert Path("s.png").exists()
    assert Path("sweep.csv").exists()


LEFT = {"first-run": first_run, "variation": variation, "traces": traces, "stress": stress}  # what a page leaves behind


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=name_of(p), marks=[pytest.mark.slow] * (p.stem in LONG_PAGES)) for p in RUN]
)
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bring(page, monkeypatch)
    names = {"__name__": "page"}
    for block in blocks(page):
        run_block(block, names, lambda: capsys.readouterr().out, page)
    if page.stem in LEFT:
        LEFT[page.stem](names)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(page, block, id=name_of(page)) for page in RUN for block in blocks(page) if block.kind == "slow"],
)
def test_a_slow_block_runs(page, block, tmp_path, monkeypatch, capsys):
    if "files" in block.reason and not os.environ.get("CIMEMU_DATA"):
        pytest.skip("CIMEMU_DATA is not set")
    if "PyTorch" in block.reason:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    bring(page, monkeypatch)
    run_commands(block.body, lambda: capsys.readouterr().out, page)


@pytest.mark.parametrize("page", [*RUN, *DESIGN], ids=name_of)
def test_blocks_that_do_not_run_say_why_and_their_python_compiles(page):
    for block in blocks(page):
        assert block.label in LABELS, block.label
        assert block.reason is None or len(block.reason) > 5
        if block.label == "python":
            compile(block.body, name_of(page), "exec")


def not_run():
    """(page, reason) of every block of the site that no test runs; .ci/run does those that install."""
    for page in SITE:
        for block in blocks(page):
            pip = [words[0] for words in command_lines(block.body)] == ["pip"] if block.label in ("", "sh") else False
            if block.kind == "not run" or pip:
                yield name_of(page), block.reason or "installs; `.ci/run` does it"


def test_at_most_one_block_in_twenty_does_not_run_and_each_is_listed():
    found = [block for page in SITE for block in blocks(page) if block.label in ("", "sh", "python", "pycon")]
    left = list(not_run())
    assert len(left) <= 0.05 * len(found)
    listed = re.findall(r"^\| `([^`]+)` \| (.+) \|$", WORKING.read_text(encoding="utf-8"), re.M)
    assert sorted(left) == sorted(listed)


def test_the_readme_is_short_and_keeps_its_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= MOST_WORDS
    assert "pip install . && cimemu run\n" in text
    assert 'pip install ".[test]" && pytest\n' in text


@pytest.mark.parametrize("page", [*RUN, *DESIGN, ROOT / "cimemu/docs/changes.md"], ids=name_of)
def test_a_page_begins_with_one_heading(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.M)) == 1


def test_every_page_of_the_manual_is_linked_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name_of(page) for page in MANUAL if f"({name_of(page)})" not in text] == []


def test_a_trace_reads_with_pandas_by_the_lines_in_traces_readme(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--images", "3", "--json"]) == 0
    names = {}
    exec(next(block for block in blocks(ROOT / "traces/README.md") if block.label == "python").body, names)
    assert names["events"]["end"].max() > 0
    assert len(names["layers"]) > 5


def test_a_wrong_output_of_a_session_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "README.md"
    with pytest.raises(AssertionError):
        run_session(">>> 1 + 1\n3\n", {}, page)
    with pytest.raises(AssertionError):
        run_commands("$ cimemu list\nno such line\n", lambda: capsys.readouterr().out, page)
    with pytest.raises(AssertionError, match="not run"):
        run_commands("rm x\n", str, page)
    with pytest.raises(AssertionError):
        run_commands("cimemu list\n", lambda: capsys.readouterr().out, page, status=1)
