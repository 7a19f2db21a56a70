"""The generated C99 model against the emulator: codes, sums, outputs and cycles of every operation, through its plain functions."""

import ctypes
import subprocess
import time

import drawn_macros
import numpy as np
import pytest
import rtl_tools

import cimemu
from cimemu.golden.vectors import layer_vectors
from cimemu.rtl.generate import write_rtl

FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-shared", "-fPIC"]
NAME = "cim_macro"


def library(folder, macro, groups):
    """The compiled model of a macro."""
    write_rtl(folder, rtl_tools.arch_with(macro), groups=groups)
    target = folder / "model.so"
    source = folder / f"{NAME}_model.c"
    built = subprocess.run(["cc", *FLAGS, "-o", target, source], check=False, capture_output=True, text=True)
    assert built.returncode == 0, (built.stderr[:2000], macro)
    made = ctypes.CDLL(str(target))
    getattr(made, f"{NAME}_new").restype = ctypes.c_void_p
    for function in ("go", "code", "code_cycle", "sum", "output"):
        if hasattr(made, f"{NAME}_{function}"):
            getattr(made, f"{NAME}_{function}").restype = ctypes.c_longlong
    return made


def programmed(made, v):
    """A model with the cells, groups and references of one macro's vectors."""

    def call(name, *values):
        return getattr(made, f"{NAME}_{name}")(m, *values)

    m = ctypes.c_void_p(getattr(made, f"{NAME}_new")())
    assert call("use", *v.cells.shape[:1], v.output_count) == 1
    assert call("use", 1 << 20, 1) == 0
    for r, row in enumerate(v.cells.tolist()):
        for c, level in enumerate(row):
            call("cell", r, c, level)
    for c, inverted in enumerate([] if v.flipped is None else v.flipped[0].tolist()):
        call("flip", c, inverted)
    for of_output, groups in ((0, v.row_groups), (1, v.output_groups)):
        for index, group in enumerate([] if groups is None else groups.tolist()):
            call("group", of_output, index, group)
    if hasattr(made, f"{NAME}_reference"):
        for is_level, table in ((0, v.thresholds), (1, v.levels)):
            if is_level and table.dtype.kind == "f":
                continue
            for c in range(v.codes.shape[2]):
                for k, value in enumerate(table[c % len(table)].tolist()):
                    call("reference", is_level, c, k, ctypes.c_longlong(value))
    return m, call


def compare(made, v):
    """Every operation; seconds in the model and conversions made there."""
    m, call = programmed(made, v)
    kinds = [kind for kind in (v.shift_add, v.column_sums) if kind is not None]
    run, spent = getattr(made, f"{NAME}_run"), 0.0
    run.restype = ctypes.c_longlong
    inputs = np.ascontiguousarray(v.inputs, dtype=np.int32)
    ops, steps, columns = v.codes.shape
    thin = max(
        1, ops * steps * columns // 4000
    )  # ops that are read number by number; all are compared by outputs and cycles
    for op in range(ops):
        start = time.perf_counter()
        cycles = run(m, inputs[op].ctypes.data_as(ctypes.c_void_p))
        spent += time.perf_counter() - start
        assert cycles == v.op_cycles[op]
        if v.outputs is not None:
            assert [call("output", n) for n in range(v.output_count)] == v.outputs[op].tolist()
        if op % thin:
            continue
        for step in range(steps):
            on = bool(v.driven[op, step])
            got = [call("code_cycle", step, c) for c in range(columns)]
            assert got == (v.schedule.codes[op, step].tolist() if on else [-1] * columns)
            if on:
                assert [call("code", step, c) for c in range(columns)] == v.codes[op, step].tolist()
            for sums in kinds:
                assert [call("sum", step, n) for n in range(sums.shape[2])] == sums[op, step].tolist()
        if v.level_sums is not None:
            flat = v.level_sums[op].reshape(-1).tolist()
            assert [call("sum", 0, n) for n in range(len(flat))] == flat
    call("free")
    return spent, int(v.driven.sum()) * columns


def random_inputs(drawn, macro, conversions):
    """As many random images as give so many conversions."""
    one = layer_vectors(drawn.network, macro, drawn.x, None, 1)
    each = sum(v.codes[0].size for v in one.macros) * drawn.layer.geometry.positions
    images = max(1, -(-conversions // each))
    rng = np.random.default_rng(drawn.seed)
    picks = rng.integers(0, drawn.x.size, (images, *drawn.x.shape[1:]))
    x = drawn.x.reshape(-1)[picks]
    return x, images * drawn.layer.geometry.positions


def sweep(folder, count, conversions):
    draws, found = drawn_macros.Draws(11), 0
    for number in range(40 * count):
        drawn = draws.draw(number)
        drawn.tree["timing"]["pipeline_stages"] = 0  # refused by name
        macro = cimemu.Macro.model_validate(drawn.tree)
        if getattr(macro.adc, "bits", 1) > 8 or macro.rows > 64:
            continue
        try:
            x, ops = random_inputs(drawn, macro, conversions)
            if ops > conversions // 8 + 8:
                continue
            made = layer_vectors(drawn.network, macro, x, None, ops)
        except cimemu.CimemuError:
            continue
        built = library(folder / str(number), macro, rtl_tools.groups_of(made))
        told = [compare(built, v) for v in made.macros]
        spent, conversions_made = sum(t for t, _ in told), sum(n for _, n in told)
        draws.accepted(drawn)
        found += 1
        print(
            f"{number}: {conversions_made:,} conversions, {conversions_made / max(spent, 1e-9) / 1e6:.1f} million a second",
            flush=True,
        )
        if found == count:
            return
    raise AssertionError(f"only {found} architectures")


@pytest.mark.skipif(rtl_tools.shutil.which("cc") is None, reason="no C compiler is installed")
def test_the_c_model_is_the_emulator(tmp_path):
    sweep(tmp_path, 4, 2_000)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(rtl_tools.shutil.which("cc") is None, reason="no C compiler is installed")
def test_the_c_model_is_the_emulator_on_a_million_conversions_of_twenty_architectures(tmp_path):
    sweep(tmp_path, 20, 1_000_000)
