"""What every subcommand prints and writes by the same rules: names of files, --quiet, --verbose, --json, 80 columns."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

from cimemu.cli import main
from cimemu.report import SECTIONS

RUN = ["run", "rram_128", "digits", "--images", "2"]
DEFAULTS = {  # a command without the name of its file, and that name
    "run": (RUN, "digits_rram_128.h5"),
    "stress": (
        ["stress", "rram_128", "digits", "-n", "2", "--trials", "1", "--vary", "lognormal:sigma=0.1"],
        "digits_rram_128_stress.h5",
    ),
    "sweep": (["sweep", "rram_128", "digits", "-n", "2", "--vary", "macro.adc.bits=6"], "digits_rram_128_sweep.h5"),
    "export": (["export", "a.h5", "--format", "csv"], "a.csv"),
    "init": (["init", "arch", "rram_128"], "arch.yaml"),
}


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "a.h5"
    assert main([*RUN, "--out", str(path), "--json"]) == 0
    return path.read_bytes()


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch, trace):
    monkeypatch.chdir(tmp_path)
    Path("a.h5").write_bytes(trace)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_name_is_numbered_and_printed_and_force_takes_the_unnumbered_one(name, capsys):
    words, first = DEFAULTS[name]
    second = f"{Path(first).stem}_2{Path(first).suffix}"
    for expected in (first, second):
        assert main(words) == 0
        assert expected in capsys.readouterr().out
        assert Path(expected).is_file()
    Path(first).write_bytes(b"old")
    assert main([*words, "--force", "--quiet"]) == 0
    assert capsys.readouterr().out == f"{first}\n"  # all that --quiet leaves
    assert Path(first).read_bytes() != b"old"
    assert not Path(f"{Path(first).stem}_3{Path(first).suffix}").exists()


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_given_name_is_refused_where_it_exists_and_overwritten_with_force(name, capsys):
    words, first = DEFAULTS[name]
    mine = Path(f"mine{Path(first).suffix}")
    mine.write_bytes(b"old")
    assert main([*words, "--out", str(mine)]) == 2
    assert "--force" in capsys.readouterr().err
    assert mine.read_bytes() == b"old"
    assert main([*words, "--out", str(mine), "--force", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert mine.read_bytes() != b"old"


def test_a_run_prints_the_same_with_and_without_a_trace(capsys):
    assert main(RUN) == 0
    kept = capsys.readouterr().out.splitlines()
    assert main([*RUN, "--no-trace"]) == 0
    dropped = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in kept if not line.startswith(("trace ", "More: "))] == [
        line.rstrip() for line in dropped
    ]
    assert sorted(path.name for path in Path().iterdir()) == ["a.h5", "digits_rram_128.h5"]


@pytest.mark.parametrize("detail", ["ops", "cycles"])
def test_json_holds_all_that_the_tables_hold_with_and_without_a_trace(capsys, detail):
    told = []
    for more in (["--out", "b.h5"], ["--no-trace"]):
        assert main([*RUN, *more, "--detail", detail, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0].pop("trace") == "b.h5"
    assert told[1].pop("trace") is None
    assert told[0] == told[1]
    assert set(told[0]["report"]) == set(SECTIONS) - {"summary"}
    assert main(["report", "b.h5", "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    summary = reported.pop("summary")
    assert reported == told[0]["report"]
    assert {key: value for key, value in summary.items() if key != "trace"}.items() <= told[0].items()


def test_verbose_prints_all_tables_the_stages_and_where_a_mistake_lies(capsys):
    assert main(["--verbose", *RUN, "--no-trace"]) == 0
    said = capsys.readouterr()
    assert "Energy and area" in said.out
    assert "Macros" in said.out
    assert [line.partition(":")[0] for line in said.err.splitlines()] == ["images", "timing"]
    assert main([*RUN, "--set", "macro.rowz=3", "-v"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("cimemu: ")
    assert main([*RUN, "-q", "-v"]) == 2
    assert "leave one of them out" in capsys.readouterr().err


def test_quiet_leaves_json_pages_and_errors(capsys):
    assert main(["list", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["report", "a.h5", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["images"] == 2
    assert main(["schema", "arch", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]
    assert main(["report", "none.h5", "-q"]) == 2
    assert "none.h5" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    "words",
    [
        ["report", "a.h5"],
        ["diff", "a.h5", "a.h5"],
        ["list"],
        ["cost", "rram_128"],
        ["validate", "isaac"],
        ["fit", "sram_256", "digits", "--no-propose"],
    ],
)
def test_a_terminal_of_80_columns_is_wide_enough(words):
    import pty

    reader, writer = pty.openpty()
    code = "import sys\nfrom cimemu.cli import main\nsys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=writer, stderr=writer, env=environment) as ran:
        os.close(writer)
        said = b""
        while True:
            try:
                piece = os.read(reader, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            said += piece
    os.close(reader)
    assert ran.returncode == 0
    assert b"\x1b" not in said.removesuffix(b"\x1b[0m")  # colorama's, where numba finds it, when a program ends
    assert max(map(len, said.decode().splitlines())) <= 80


JSON = {
    "run": [*RUN, "--no-trace"],
    "report": ["report", "a.h5"],
    "diff": ["diff", "a.h5", "a.h5"],
    "sweep": DEFAULTS["sweep"][0],
    "stress": DEFAULTS["stress"][0],
    "cost": ["cost", "rram_128"],
    "check": ["check", "rram_128", "digits", "--images", "1"],
    "chip": ["chip", "rram_128", "digits", "--vary", "lognormal:sigma=0.1", "--out", "c.h5"],
    "compare": [
        *("compare", "rram_128", "digits", "--images", "2", "--scheme", "layer", "--calibration", "8"),
        *("--out", "table.csv"),
    ],
    "faults": ["faults", "rram_128", "digits", "--images", "1", "--cells", "5"],
    "fit": ["fit", "rram_128", "digits", "--no-propose"],
    "golden verify": ["golden", "verify", "vectors", "vectors"],
    "list": ["list"],
    "size": ["size", "rram_128", "digits", "--images-per-second", "1000"],
    "search": [
        "search",
        "rram_128",
        "digits",
        "-n",
        "1",
        "--vary",
        "macro.adc.bits=5,6",
        "--goal",
        "energy_uj",
        "--trials",
        "2",
    ],
    "validate": ["validate"],
    "yield": [
        *(*RUN[1:], "--trials", "2", "--accuracy", "0.5", "--vary", "lognormal:sigma=0.1"),
        *("--set", "macro.repair.checksum_columns=8"),
    ],
    "yield --rare": [
        *("yield", *RUN[1:], "--trials", "40", "--accuracy", "1", "--vary", "stuck_at:sa0=0.05", "--rare"),
    ],
    "yield --plan": ["yield", "rram_128", "digits", "--accuracy", "0.99", "--width", "0.05", "--plan", "0.9"],
}
JSON["yield"].insert(0, "yield")
ELSEWHERE = {
    "generate",
    "adapt",
    "claims",
    "docs",
    "rtl bench",
}  # commands whose rows no test runs: minutes, torch, or none


PAGE = ROOT / "cimemu/docs/manual/command-line.md"


def test_the_page_has_a_row_for_every_command_with_json():
    page = PAGE.read_text(encoding="utf-8")
    with_json = {part.partition("\n")[0] for part in page.split("\n## cimemu ")[1:] if "| `--json`" in part}
    rows = {name.split()[0] for name in {*JSON, *ELSEWHERE}}
    assert with_json == rows
    assert all(keys_of(page, name) for name in {*JSON, *ELSEWHERE})


def keys_of(page, row):
    """The keys that a row of the page's table names in code."""
    (line,) = re.findall(rf"^\| (?:`[a-z ]+`, )?`{row}`(?:, `[a-z ]+`)? \| (.+) \|$", page, re.M)
    return set(re.findall("`([a-z_0-9 ]+)`", line))


@pytest.mark.parametrize("name", JSON)
def test_the_page_names_every_key_of_json(name, capsys):
    page = PAGE.read_text(encoding="utf-8")
    if name == "golden verify":
        golden = ["golden", "rram_128", "digits", "--layer", "conv1", "--ops", "1", "--out", "vectors", "-q"]
        assert main(golden) == 0
    assert main([*JSON[name], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    table = page.partition("| key of `summary` |")[2].partition("\n\n")[0]
    summary = set(re.findall("`([a-z_0-9]+)`", table)) - {"summary"}
    if name == "run":
        assert set(told) == summary | {"report"}
        assert set(told["report"]) <= keys_of(page, "run")
        return
    assert set(told) | {"notes"} == keys_of(page, name) | {"notes"}
    if name == "report":
        assert set(told["summary"]) == summary
