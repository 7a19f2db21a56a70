"""The README's commands and Python do what it says."""

import re
import shlex
from pathlib import Path

import pytest

from cimemu.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()
TRACES = (Path(__file__).parent.parent / "traces/README.md").read_text()


def blocks(text, language):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    return [content for label, content in fenced if label == language]


def commands():
    for block in blocks(README, ""):
        for line in block.splitlines():
            text = line.removeprefix("$ ").split("  #")[0].strip()
            if text.startswith("cimemu "):
                yield text


def test_every_command_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = []
    for text in commands():
        arguments = shlex.split(text)[1:]
        if arguments[0] == "check":
            pytest.importorskip("onnxruntime")
        assert main(arguments) == 0, text
        ran.append(arguments[0])
    assert {"run", "report", "check", "list"} <= set(ran)


def test_the_python_in_the_readme_runs_and_gives_what_the_comments_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    views, first, second = blocks(README, "python")[:3]
    assert main(["run", "--images", "2", "--out", "digits_rram_128.h5", "--json"]) == 0
    exec("import cimemu\n" + views, {})
    assert (tmp_path / "page2.html").stat().st_size > 10_000
    names = {}
    exec(first, names)
    assert names["result"].images == 64
    assert names["qnet"].converters
    exec(second, names)
    result = names["r"]
    assert result.y.shape == (4, 20)
    assert result.conversions == 4 * 3 * 8 * 160
    assert result.codes.shape == (4, 3, 8, 160)
    import cimemu

    assert cimemu.op_cycles(names["macro"], rows_used=128, columns_used=128) == 401


def test_a_trace_reads_with_pandas_by_the_lines_in_traces_readme(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--images", "3", "--json"]) == 0
    names = {}
    exec(blocks(TRACES, "python")[0], names)
    assert names["events"]["end"].max() > 0
    assert len(names["layers"]) > 5
