"""The READMEs say what the code says."""

import re
from pathlib import Path

import pytest

from cimemu.printed import refreshed
from cimemu.report import SECTIONS
from cimemu.trace.schema import DATASETS

ROOT = Path(__file__).parent.parent
PRINTED = ["README.md", "arch/README.md", "workloads/README.md", "traces/README.md"]


@pytest.mark.parametrize("name", PRINTED)
def test_printed_tables_are_fresh(name):
    text = (ROOT / name).read_text()
    assert refreshed(text) == text, f"run: python -m cimemu.printed {name}"


def test_every_printed_block_is_in_a_readme():
    text = "".join((ROOT / name).read_text() for name in PRINTED)
    printed = {"arch", "component", "workload", "adapt", "trace", "variation"}
    assert set(re.findall(r"<!-- printed: (\w+) -->", text)) == printed


def test_dataset_paths_are_told_once():
    paths = [item.path for item in DATASETS]
    assert len(paths) == len(set(paths))
    assert SECTIONS[0] == "summary"


def test_no_readme_block_is_empty():
    for name in PRINTED:
        for block in re.findall(r"<!-- (?:printed|output): \w+ -->(.*?)<!-- end", (ROOT / name).read_text(), re.S):
            assert len(block.strip().splitlines()) > 3, name
