"""The sections of the contract that the code cites are there."""

import re

import pytest
from pages import ROOT

import cimemu

CONTRACT = (ROOT / "cimemu/docs/design/contract.md").read_text(encoding="utf-8")
HEADINGS = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", CONTRACT, re.M))
CITATION = re.compile(r"\bcontract,? sections? (\d+(?:\.\d+)?)(?:(?:, | and )(\d+(?:\.\d+)?)\b)*")
FILES = [path for folder in ("cimemu", "tests", "arch", "workloads") for path in (ROOT / folder).rglob("*.py")]
FILES += [path for folder in ("cimemu", "arch", "workloads") for path in (ROOT / folder).rglob("*.md")]


def cited(text: str) -> list[str]:
    """The numbers of every section that a text cites."""
    return [number for found in CITATION.finditer(text) for number in re.findall(r"\d+(?:\.\d+)?", found.group(0))]


def test_the_finder_sees_every_form_of_a_citation():
    assert cited("contract section 3, contract, section 1.2 and contract sections 4 and 5.") == ["3", "1.2", "4", "5"]


def test_every_cited_section_is_a_heading_of_the_contract():
    lost = [
        f"{path.relative_to(ROOT)} cites section {number}"
        for path in FILES
        if path.name != "test_contract.py"
        for number in cited(path.read_text(encoding="utf-8"))
        if number not in HEADINGS
    ]
    assert not lost


def test_the_code_cites_the_contract():
    citing = [path for path in FILES if path.suffix == ".py" and cited(path.read_text(encoding="utf-8"))]
    assert len(citing) >= 10


@pytest.mark.parametrize("key", ["input.bits", "input.dac_bits", "weight.bits"])
def test_widths_end_where_the_contract_says(key):
    (top,) = re.findall(r"`input.bits`, `dac_bits` and `weight.bits` lie in 1 \.\. (\d+)", CONTRACT)
    changes = {"macro.input.bits": int(top), "macro.weight.bits": int(top), f"macro.{key}": int(top)}
    assert cimemu.load_arch("rram_128", changes).macro.input.bits == int(top)
    for bits, rule in ((int(top) + 1, f"<= {top}"), (0, ">= 1")):
        with pytest.raises(cimemu.ArchError, match=rf"^[^\n]*macro\.{key} = {bits}, must be {rule}$"):
            cimemu.load_arch("rram_128", {f"macro.{key}": bits})
