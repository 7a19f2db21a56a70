"""The live model in a simulator: by cocotb and pyuvm on Icarus, and as C by DPI-C on Verilator."""

import contextlib
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rtl_tools

import cimemu
from cimemu.rtl.generate import write_rtl

HERE = Path(__file__).parent
CHANGES = {"rows": 8, "columns": 8, "weight": {"bits": 4}, "input": {"bits": 3}, "adc": {"model": "linear", "bits": 2}}


def small_arch():
    return cimemu.load_arch("rram_128", {f"macro.{key}": value for key, value in CHANGES.items()})


def failures(folder, sources):
    """How many of the two benches fail on these sources."""
    runner = pytest.importorskip("cocotb_tools.runner", reason="cocotb is not installed").get_runner("icarus")
    from cocotb_tools.check_results import get_results

    runner.build(
        sources=sources,
        hdl_toplevel="cim_macro",
        build_dir=folder / "build",
        build_args=["-g2012"],
        always=True,
        timescale=("1ns", "1ps"),
    )
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    with contextlib.suppress(SystemExit):  # which is how a failed test ends
        runner.test(
            hdl_toplevel="cim_macro", test_module="live_cocotb", build_dir=folder / "build", test_dir=folder,
            extra_env={"LIVE_SEED": "5", "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
            results_xml=str(results),
        )  # fmt: skip
    return get_results(results)


@pytest.mark.filterwarnings("ignore")
def test_a_cocotb_and_a_pyuvm_scoreboard_follow_a_macro_and_catch_a_broken_one(tmp_path):
    for mark in rtl_tools.needs("iverilog"):
        if mark.args[0]:
            pytest.skip(mark.kwargs["reason"])
    pytest.importorskip("pyuvm", reason="pyuvm is not installed")
    write_rtl(tmp_path / "rtl", small_arch())
    sources = [path for path in sorted((tmp_path / "rtl").glob("*.sv")) if not path.name.endswith("_tb.sv")]
    assert failures(tmp_path, sources) == (2, 0)
    shift_add = tmp_path / "rtl/cim_macro_shift_add.sv"
    text = shift_add.read_text()
    broken = text.replace("value_1) <<< 1)", "value_1) <<< 2)")
    assert broken != text
    shift_add.write_text(broken)
    assert failures(tmp_path, sources) == (2, 2)


@pytest.mark.slow
def test_the_c_model_runs_in_systemverilog_by_dpi_c(tmp_path):
    for mark in rtl_tools.needs("verilator"):
        if mark.args[0]:
            pytest.skip(mark.kwargs["reason"])
    write_rtl(tmp_path / "rtl", small_arch())
    folder = tmp_path / "rtl"
    command = [
        "verilator",
        "--binary",
        "--timing",
        "-Wno-fatal",
        "-Irtl",
        "-CFLAGS",
        f"-I{folder}",
        "--top-module",
        "dpi_tb",
    ]
    command += ["--Mdir", "obj", "-o", "run", str(HERE / "dpi_tb.sv"), str(folder / "cim_macro_model.c")]
    (tmp_path / "obj").mkdir()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    said = subprocess.run([tmp_path / "obj/run"], check=True, capture_output=True, text=True).stdout
    got = [int(word) for word in said.split("RESULT ")[1].split()[:5]]
    cells = np.array([[(r * 5 + c * 3) % 2 for c in range(8)] for r in range(3)])
    w = (cells.reshape(3, 2, 4) * [1, 2, 4, 8]).sum(axis=2) - 8
    result = cimemu.mvm([[7, 5, 3]], w, small_arch().macro, codes=True)
    macro = small_arch().macro
    cycles = cimemu.op_cycles(macro, 3, 8)
    last = 3 * (2 + 8 * 2)  # the third step's last round: steps of drive and eight conversions of two cycles
    assert got == [cycles, *result.y[0].tolist(), int(result.codes[0, 0, 1, 3]), last]
