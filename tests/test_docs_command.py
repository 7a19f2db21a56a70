"""`cimemu docs`: the list of pages, one page, and what is said where there is no such page."""

import json
import re
from pathlib import Path

import pytest
from pages import ROOT

import cimemu
from cimemu import CimemuError
from cimemu.cli import main
from cimemu.manual import GROUPS, page_text, pages

PACKAGE = Path(cimemu.__file__).parent


def test_every_page_is_listed_once_with_its_title(capsys):
    assert main(["docs"]) == 0
    shown = capsys.readouterr().out
    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "cimemu/docs").rglob("*.md"))
    assert sorted(page.path.relative_to(PACKAGE.parent).as_posix() for page in pages()) == files
    assert len({page.topic for page in pages()}) == len(files)
    for page in pages():
        assert re.search(rf"^  {page.topic} +{re.escape(page.title)}", shown, re.M)
        assert page.group in GROUPS


def test_the_first_page_is_for_newcomers():
    assert next(page.topic for page in pages()) == "first-run"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.topic)
def test_a_page_is_printed_as_markdown_where_there_is_no_terminal(page, capsys):
    assert main(["docs", page.topic]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"# {page.title}\n")
    assert "<!--" not in re.sub(r"`[^`]*`", "", shown)


def test_links_between_pages_are_commands():
    assert "the contract (`cimemu docs contract`)" in page_text("macro")
    assert "https://github.com/cimemu/cimemu/blob/main/arch/README.md" in page_text("macro")


def test_a_terminal_gets_a_formatted_page(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["docs", "time"]) == 0
    shown = capsys.readouterr().out
    assert "# Time" not in shown
    assert "Time" in shown


@pytest.mark.parametrize(
    ("topic", "near"), [("tme", "did you mean time?"), ("Variation", "variation"), ("zzz", "lists all")]
)
def test_an_unknown_topic_is_one_line_with_close_matches(topic, near, capsys):
    assert main(["docs", topic]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert near in said
    with pytest.raises(CimemuError, match="no such page"):
        page_text(topic)


def test_json_holds_the_list_and_a_page(capsys):
    assert main(["docs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"topic": "time", "title": "Time", "group": "manual"} in listed
    assert main(["docs", "time", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["markdown"] == page_text("time")


def test_pages_are_part_of_the_package():
    """Installed or not, they are read from where the package is."""
    assert all(page.path.is_relative_to(PACKAGE) for page in pages())
    assert 'packages = ["cimemu"]' in (ROOT / "pyproject.toml").read_text()
