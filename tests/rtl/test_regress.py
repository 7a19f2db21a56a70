"""A regression of several architectures by one command: ten in two minutes, and what is wrong with one does not hide the others."""

import json
import resource
from xml.etree import ElementTree

import pytest
import rtl_tools

import cimemu
from cimemu.cli import main
from cimemu.rtl import regress

TEN = (
    "rram_128", "sram_128", "fefet_128", "isaac", "isaac_isca_2016", "digital_cim", "sinangil_jssc_2021", "wang_vlsi_2022",
    "sram_256", "cityu_imadc_2026",
)  # fmt: skip
SMALL = ["--set", "macro.rows=32", "--set", "macro.columns=32", "--layers", "scores", "--ops", "1"]


def mark(test):
    for one in rtl_tools.needs("make", "iverilog"):
        test = one(test)
    return test


def seconds():
    """Of this process and of those that it started."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


@pytest.mark.slow
@mark
def test_ten_architectures_take_less_than_two_minutes(tmp_path, capsys):
    begin, junit = seconds(), tmp_path / "junit.xml"
    assert main(["rtl", "regress", *TEN, "--layers", "scores", "--ops", "1", "--junit", str(junit)]) == 0
    took = seconds() - begin
    out = capsys.readouterr().out
    print(out, f"{took:.1f} s of processor time")
    assert "10 of 10 are equal" in out
    assert took < 120
    root = ElementTree.parse(junit).getroot()
    assert {suite.get("name").split(".")[0] for suite in root} == set(TEN)
    assert root.find(".//failure") is None


@mark
def test_a_regression_tells_of_each_architecture_and_keeps_its_folders(tmp_path, capsys):
    words = ["rtl", "regress", "rram_128", "isaac", *SMALL, "--out", str(tmp_path / "kept"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["arch"] for one in told] == ["rram_128", "isaac"]
    assert all(one["equal"] and one["error"] is None for one in told)
    assert (tmp_path / "kept/0_rram_128/rtl/dump/macro_000_000_000/codes.hex").is_file()


@mark
def test_what_differs_or_cannot_be_made_is_told_and_the_others_run(tmp_path, capsys, monkeypatch):
    junit = tmp_path / "junit.xml"
    write = regress.write_rtl

    def late(folder, arch, **options):
        """An array whose first rows are never raised, in one of the architectures."""
        write(folder, arch, **options)
        path = folder / "cim_macro_array.sv"
        if arch.name == "isaac":
            path.write_text(path.read_text().replace("if (value != '0)", "if (value != '0 && r > 4)"))

    monkeypatch.setattr(regress, "write_rtl", late)
    huge = tmp_path / "huge.yaml"
    arch = cimemu.load_arch("rram_128", {"macro.rows": 65536}).model_copy(update={"name": "huge"})
    huge.write_text(json.dumps(arch.model_dump(mode="json", exclude_none=True)))
    few = ["--layers", "scores", "--ops", "1"]
    assert main(["rtl", "regress", str(huge), "isaac", "rram_128", *few, "--junit", str(junit)]) == 1
    out = capsys.readouterr().out
    assert "huge: macro.rows x macro.columns" in out
    assert "isaac: layer scores: macro_000_000_000/" in out
    assert "rram_128: equal" in out
    assert "1 of 3 are equal" in out
    failures = ElementTree.parse(junit).getroot().findall(".//failure")
    assert len(failures) >= 2


def test_what_a_regression_needs_is_said_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(regress.shutil, "which", lambda program: None)
    for words, text in (
        (["rtl", "regress", "rram_128"], "make is not installed"),
        (["rtl", "regress"], "no architectures given"),
        (["rtl", "rram_128", "--ops", "2", "--out", "x"], "is of rtl regress"),
        (["rtl", "regress", "rram_128", "--sim", "other"], "must be icarus or verilator"),
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert text in said
        assert said.count("\n") == 1
