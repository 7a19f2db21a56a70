"""What the command line says about itself: sections, examples, version, the shell's completion, files to begin with."""

import shlex
import subprocess
import sys

import pytest
import yaml
from pages import complaint

import cimemu
from cimemu.cli import commands, main
from cimemu.cli.help import EXAMPLES, SECTIONS


def test_every_subcommand_is_in_one_section_and_has_an_example():
    placed = [name for names in SECTIONS.values() for name in names]
    assert sorted(placed) == sorted(commands()) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_command_that_is_taken_and_stands_in_the_help(name, capsys):
    program, subcommand, *_ = shlex.split(EXAMPLES[name])
    assert (program, subcommand) == ("cimemu", name)
    assert complaint(shlex.split(EXAMPLES[name])) is None
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"  {EXAMPLES[name]}\n" in said
    assert max(map(len, said.splitlines())) <= 100


def test_help_lists_the_sections_in_order(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    places = [said.index(f"\n{title}:\n") for title in SECTIONS]
    assert places == sorted(places)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cimemu {cimemu.__version__}\n"


@pytest.mark.parametrize(
    ("words", "place", "offered"),
    [("cimemu sch", 1, "schema"), ("cimemu run rram", 2, "rram_128"), ("cimemu run rram_128 dig", 3, "digits")],
)
def test_a_shell_completes_subcommands_chips_and_workloads(words, place, offered):
    import os

    asked = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": str(place), "_CIMEMU_COMPLETE": "complete_bash"}
    code = "import sys; sys.argv = ['cimemu']; from cimemu.cli import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, timeout=60)
    assert offered in ran.stdout.split()


@pytest.mark.parametrize("preset", [name for name, _ in cimemu.list_archs()])
def test_a_chip_to_begin_with_is_the_preset_under_its_own_name(preset, tmp_path, capsys):
    out = tmp_path / "mine.yaml"
    assert main(["init", "arch", preset, "--out", str(out)]) == 0
    made, given = cimemu.load_arch(out), cimemu.load_arch(preset)
    assert made.name == "mine"
    assert made.model_dump(exclude={"name"}) == given.model_dump(exclude={"name"})
    assert yaml.safe_load(out.read_text())["macro"]
    assert out.read_text().startswith("# yaml-language-server: $schema=")
    assert main(["init", "arch", preset, "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err


def test_a_wrong_wish_for_a_chip_to_begin_with_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (["init", "arch", "rram_127"], "no such preset to begin with, there are: cityu_imadc_2026"),
        (["init", "chip", "rram_128"], "there are: arch, workload"),
        (["init", "arch", "rram_128", "--input-shape", "1,3,8,8"], "a chip has no input shape"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
