"""The pages say what the code and the measured figures say."""

import csv
import re

import pytest
from pages import ROOT, blocks, command_lines, complaint, every_page, name_of

from cimemu.cli import main
from cimemu.printed import OF_FOLDER, PRINTERS, Study, read_study_page, refreshed
from cimemu.ptq.scheme import read_scheme
from cimemu.report import SECTIONS
from cimemu.trace.schema import DATASETS

STUDIES = sorted((ROOT / "workloads/studies").glob("*/study.yaml"))
RESULTS = sorted(path for folder in ("workloads", "arch", "tests/bench") for path in (ROOT / folder).rglob("*.csv"))
HOME = "https://github.com/cimemu/cimemu/blob/main/"
PAGES = pytest.mark.parametrize("page", every_page(), ids=name_of)


@PAGES
def test_printed_blocks_are_fresh(page):
    text = page.read_text(encoding="utf-8")
    assert refreshed(text, page.parent) == text, f"run: python -m cimemu.printed {name_of(page)}"


def test_every_printer_prints_in_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in every_page())
    assert set(re.findall(r"<!-- printed: (\w+)[^\n]*-->", text)) - {"NAME"} == {*PRINTERS, *OF_FOLDER}


@PAGES
def test_no_printed_block_is_empty(page):
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"<!-- (?:printed|output): [^\n]* -->\n(.*?)<!-- end", text, re.S):
        assert len(block.strip().splitlines()) >= 3, block


@PAGES
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    ours = [(ROOT, link.removeprefix(HOME)) if link.startswith(HOME) else (page.parent, link) for link in links]
    lost = [link for folder, link in ours if not re.match("https?:|mailto:", link) and not (folder / link).exists()]
    assert not lost


@PAGES
def test_commands_are_ones_that_the_command_line_takes(page):
    found = [block for block in blocks(page) if block.label in ("", "sh")]
    wrong = [problem for block in found for words in command_lines(block.body) if (problem := complaint(words))]
    assert not wrong


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("cimemu run rram_128 digits --images 3", None),
        ("cimemu run --imgaes 3", "imgaes"),
        ("cimemu fly", "there is no cimemu fly"),
        ("cimemu run --images 0", "--images"),
        ("pytest tests/no_such_test.py", "is not there"),
        ("rm -rf /", "no program"),
    ],
)
def test_a_wrong_command_would_be_noticed(line, problem):
    (words,) = command_lines(line)
    said = complaint(words)
    assert said is None if problem is None else problem in said


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
def test_a_study_holds_its_settings_figures_and_page(path):
    study = read_study_page(path.parent)
    assert isinstance(study, Study)
    assert study.title
    assert study.asked.endswith("?")
    assert all((path.parent / name).is_file() for name in study.settings)
    assert (path.parent / "results.csv").is_file()
    page = (path.parent / "README.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {study.title}\n")
    assert "<!-- printed: commands -->" in page
    for name in study.settings:
        if "schemes" in name:
            assert read_scheme(str(path.parent / name)).converter.kind == "linear"


@pytest.mark.parametrize("path", RESULTS, ids=name_of)
def test_figures_are_whole_tables_that_a_page_prints(path):
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert rows
    assert len(set(header)) == len(header)
    assert {len(row) for row in rows} == {len(header)}
    folder = path.parent.parent if path.parent.name in ("results", "figures") else path.parent
    stem = path.relative_to(folder).with_suffix("").as_posix()
    block = f"<!-- printed: results{'' if stem == 'results' else f' {stem}'} -->"
    assert any(block in page.read_text(encoding="utf-8") for page in folder.glob("*.md"))


def test_a_study_that_is_wrong_names_the_key(tmp_path):
    (tmp_path / "study.yaml").write_text("title: t\nasked: a?\ncommand: [x]\n")
    with pytest.raises(Exception, match="command"):
        read_study_page(tmp_path)


def test_figures_are_printed_with_thousands_apart_and_numbers_to_the_right(tmp_path):
    (tmp_path / "results.csv").write_text('what,how many,share\n"a|b",1234567,0.5\nc,-1234.56,\nd,12,+3\n')
    printed = refreshed("<!-- printed: results -->\nold\n<!-- end -->", tmp_path).splitlines()[1:-1]
    assert printed == [
        "| what | how many | share |",
        "| --- | ---: | ---: |",
        "| a\\|b | 1,234,567 | 0.5 |",
        "| c | -1,234.56 |  |",
        "| d | 12 | +3 |",
    ]


def test_studies_are_no_workloads(capsys):
    assert main(["list"]) == 0
    assert "studies" not in capsys.readouterr().out


def test_dataset_paths_are_told_once():
    paths = [item.path for item in DATASETS]
    assert len(paths) == len(set(paths))
    assert SECTIONS[0] == "summary"
