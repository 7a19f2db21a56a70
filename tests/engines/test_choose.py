"""One table decides which engine runs; every engine that serves gives the bytes of the naive twin."""

import json

import macros
import numpy as np
import pytest
from amounts import drawn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cli import main
from cimemu.engines.choose import ASKED, ENGINES, NAMES, PATHS, PAYS_FROM, SERIAL
from cimemu.engines.engine import WhyNot
from cimemu.engines.lookup import prepare
from cimemu.engines.programmed import program
from cimemu.engines.steps.run import step_psums
from cimemu.lanes import broad
from cimemu.macro.sums import masked_inputs

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
vectors = pytest.mark.skipif(not prepare.AVAILABLE, reason="the processor has no AVX2: tables and planes do not serve")


def digits(**changes):
    arch = cimemu.load_arch("rram_128", {key.replace("__", "."): value for key, value in changes.items()})
    work = cimemu.load_workload("digits")
    images, _ = work.inputs(8)
    return arch, cimemu.quantize(cimemu.load_network(work.network), arch, calibration=images), images


def test_the_table_and_the_words_for_it_agree():
    assert NAMES == ("exact", "planes", "lookup", "packed", "steps")
    assert {name for names in ASKED.values() for name in names} == set(NAMES)
    assert set(PATHS) == {*ASKED, "naive"}
    assert {engine.name for engine in ENGINES if engine.serial} | {"naive"} == SERIAL
    assert set(PAYS_FROM) < set(NAMES)
    assert [engine.name for engine in ENGINES if engine.gives_codes] == ["steps"]


@drawn(st.integers(0, 2**32 - 1), few=15, many=40)
def test_every_engine_that_serves_gives_the_bytes_of_the_naive_twin(seed):
    x, w, macro = macros.draw(seed)
    slow = program(w, macro).run(x, path="naive")
    programmed = program(w, macro)
    for engine in ENGINES:
        if isinstance(programmed.prepared(engine), WhyNot):
            if ASKED.get(engine.name) == (engine.name,):
                with pytest.raises(cimemu.CimemuError, match=rf"path = {engine.name}: .*use auto"):
                    programmed.run(x, path=engine.name)
            continue
        few = min(PAYS_FROM.values()) > len(x)
        asked = "serial" if engine.name == "packed" and few else engine.name
        fast = program(w, macro).run(x, path=asked)
        assert fast.path == engine.name
        assert (fast.y.dtype, fast.y.tobytes()) == (slow.y.dtype, slow.y.tobytes()), engine.name
        assert np.array_equal(fast.counts, slow.counts)


@settings(common, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_partial_sums_from_words_are_those_of_products(seed):
    x, w, macro = macros.draw(seed)
    matrix = program(w, macro).matrix
    if matrix.packed is None:
        return
    masked = masked_inputs(np.asarray(x).astype(np.int16), matrix)
    for (g, i, words), (g2, i2, products) in zip(step_psums(masked, matrix, True), step_psums(masked, matrix, False)):
        assert (g, i) == (g2, i2)
        assert np.array_equal(words, products)


def test_codes_are_kept_step_by_step_and_every_faster_engine_says_why_not():
    programmed = program([[1] * 4] * 128, cimemu.load_arch("rram_128").macro)
    choice = programmed.choose("auto", codes=True)
    assert choice.engine.name == "steps"
    assert dict(choice.passed_over) == {
        "exact": "every conversion is asked for, and it makes none",
        "planes": "codes are asked for, and it keeps none",
        "lookup": "codes are asked for, and it keeps none",
        "packed": "codes are asked for, and it keeps none",
    }


@vectors
@pytest.mark.parametrize(
    ("changes", "engine", "why"),
    [
        ({"macro.adc.bits": 8}, "exact", {}),
        ({"macro.adc.bits": 4}, "planes", {"exact": "gives 16 another value"}),
        ({"macro.adc.bits": 4, "macro.adc.lsb": 2.5}, "lookup", {"planes": "not one addition and one clamp"}),
        (
            {"macro.adc.bits": 4, "macro.cell.bits": 2},
            "lookup",
            {"planes": "cells or input slices have more than one bit"},
        ),
        ({"macro.rows": 256, "macro.active_rows": 256, "macro.adc.bits": 4}, "planes", {}),
        (
            {"macro.adc.bits": 4, "macro.accumulator_bits": 4, "macro.accumulator_overflow": "wrap"},
            "steps",
            {"lookup": "the accumulator may overflow", "packed": "the accumulator may overflow"},
        ),
    ],
)
def test_the_fastest_engine_that_serves_is_taken_and_the_others_say_why_not(changes, engine, why, monkeypatch):
    monkeypatch.setattr(broad, "HAS_BROAD", False)
    macro = cimemu.load_arch("rram_128", changes).macro
    choice = program(np.full((300, 4), 127), macro).choose("auto")
    assert choice.engine.name == engine
    passed = dict(choice.passed_over)
    assert list(passed) == list(NAMES[: NAMES.index(engine)])
    for name, words in why.items():
        assert words in passed[name]


@pytest.mark.skipif(not broad.HAS_BROAD, reason="the processor has no AVX-512 with VBMI, VNNI and GFNI")
def test_broad_registers_take_steps_before_tables_do():
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 4, "macro.adc.lsb": 2.5}).macro
    assert program(np.full((300, 4), 127), macro).choose("auto").engine.name == "planes"


def test_an_unknown_word_is_one_line_with_all_words():
    with pytest.raises(cimemu.CimemuError, match=r"path = 'quick', must be one of auto, serial, .*naive"):
        program([[1]], cimemu.load_arch("rram_128").macro).run(np.array([[1]]), path="quick")


def test_explain_names_what_a_run_then_takes():
    arch, network, images = digits(macro__adc__bits=5)
    for vary in ((), ("lognormal:sigma=0.1",)):
        told = cimemu.explain(arch, network, images=len(images), vary=vary)
        ran = cimemu.run(arch, network, images, detail=None, vary=vary).paths
        assert {layer.layer for layer in told} == set(ran)
        for layer in told:
            assert layer.engine in ran[layer.layer]
            assert [name for name, _ in layer.passed_over] == list(NAMES[: NAMES.index(layer.engine)])
            assert str(layer).startswith(f"{layer.layer}: {layer.engine}")


def test_run_explain_prints_a_reason_for_every_engine_that_is_faster(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "rram_128", "digits", "-n", "2", "--no-trace", "--set", "macro.adc.bits=5", "--explain"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "  not exact: psums reach from 0 to " in out
    assert main([*arguments, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["engines"]
    assert {"layer", "engine", "passed_over", "matrices", "of"} == set(listed[0])
