"""Every public call answers a wrong argument with a CimemuError in one line, whatever the argument is."""

import math
import pickle
import random
from pathlib import Path

import nets
import numpy as np
import pytest
from decoder import decoder

import cimemu

WRONG = (
    None,
    -1,
    0,
    2**70,
    math.nan,
    math.inf,
    "",
    "nosuch",
    "nul\0",
    "\udc80",
    "a" * 300,
    b"bytes",
    [],
    [None],
    {},
    {"nosuch": 1},
    {"macro.rows": [1]},
    object(),
    Path("no/such/file"),
    Path("/"),
    Path("/dev/null"),
    np.zeros(0),
    np.zeros((2, 2), dtype=object),
    np.array(["a"]),
    np.full((2, 4), np.nan),
    np.ones((2, 2, 2), dtype=complex),
    True,
)
MACRO = {"rows": 8, "columns": 8, "weight": {"bits": 2}, "input": {"bits": 2}}


def plugin_file(folder):
    """A file with a variation model."""
    path = folder / "public_plugin.py"
    path.write_text(
        "from typing import ClassVar, Literal\nfrom cimemu.adc.base import ConverterBase\n\n"
        "class PublicAdc(ConverterBase):\n    model: Literal['public'] = 'public'\n    circuit: str = 'flash'\n"
        "    thresholds: ClassVar = [1.0]\n    levels: ClassVar = [0.0, 1.0]\n"
    )
    return path


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A right call of every public function: (positional arguments, keywords)."""
    folder = tmp_path_factory.mktemp("public")
    arch = cimemu.load_arch("rram_128")
    network = nets.residual_network()
    images = np.zeros((1, 3, 5, 4), np.uint8)
    trace = folder / "t.h5"
    cimemu.run(arch, network, images, trace=trace)
    digits = cimemu.load_workload("digits")
    source = cimemu.load_network(digits.network)
    calibration = digits.calibration()[:4]
    out = folder / "out"
    (folder / "decoder.onnx").write_bytes(decoder().SerializeToString())
    writing = cimemu.load_network(folder / "decoder.onnx")
    zeros = {name: np.zeros((1, *t.shape), t.dtype) for name, t in writing.types.items() if name in writing.inputs}
    writer = cimemu.quantize(writing, arch, zeros)
    return {
        "apply_scheme": ((source, arch, calibration, cimemu.read_scheme("layer")), {}),
        "calibrate_converters": ((network, arch, images), {"granularity": "layer"}),
        "cost_table": ((arch,), {}),
        "diff_traces": ((trace, trace), {}),
        "explain": ((arch, network), {"images": 2, "path": "auto", "vary": (), "seed": 0, "trial": 0}),
        "export_trace": ((trace, out, "csv"), {"window": None, "group": "layers", "power": None, "overwrite": True}),
        "fit": ((arch, network), {"macros": None, "goal": 0.9, "propose": False, "seed": 0}),
        "generate": ((arch, writer, {"token": [[1, 2]]}, 2), {"feedback": None, "position": None, "stop": None, "seed": 0}),
        "grouped_view": ((np.ones((2, 3, 3, 3)), arch.macro), {}),
        "suggest_costs": (
            (28.0,),
            {"supply_v": 0.9, "cell": "rram", "rows": 64, "columns": 64, "cell_bits": 1, "converter": "sar"}
            | {"adc_bits": 6, "clock_ns": 1.0},
        ),
        "import_costs": (("python3", [], out), {"timeout_s": 1.0}),
        "json_schema": (("arch",), {}),
        "list_archs": ((), {}),
        "list_workloads": ((), {}),
        "load_arch": (("rram_128", {"macro.rows": 64}), {}),
        "load_network": ((digits.network,), {"module": None, "input_shape": None}),
        "load_plugin": ((plugin_file(folder),), {}),
        "load_workload": (("digits",), {}),
        "make_plan": ((network, arch), {}),
        "make_shape": (("resnet18",), {"side": 32, "seed": 0}),
        "mvm": ((np.ones((1, 2), np.int64), np.ones((2, 1), np.int64), cimemu.Macro.model_validate(MACRO)),
                {"codes": False, "path": "auto", "cells": None, "vary": (), "seed": 0, "trial": 0, "threads": None}),
        "op_cycles": ((cimemu.Macro.model_validate(MACRO), 8, 8), {}),
        "open_trace": ((trace,), {}),
        "power_of": ((trace, 1000), {}),
        "quantize": ((source, arch), {"calibration": calibration, "method": "minmax", "percentile": 99.0}),
        "read_scheme": (("layer",), {}),
        "run": (
            (arch, network, images),
            {
                "labels": None, "trace": None, "detail": "ops", "seed": 0, "vary": (), "batch": 64, "trial": 0,
                "path": "auto", "threads": None, "budget_bytes": 1 << 30, "overwrite": False, "event_images": None,
                "provenance": None, "progress": None, "metric": None,
                "options": cimemu.Options(), "draws": cimemu.Draws(), "output": cimemu.Output(),
            },
        ),
        "save_onnx": ((source, folder / "s.onnx"), {"overwrite": True}),
        "scheme_of": ((cimemu.read_scheme("layer"), {}), {}),
        "limits": ((arch, network), {}),
        "size": ((arch, network, images, 1000.0), {}),
        "write_chip": (
            (folder / "chip.h5", arch, network),
            {"vary": ["lognormal:sigma=0.1"], "seed": 0, "trial": 0, "on_ohm": 1e5, "overwrite": True},
        ),
        "write_html": ((trace, out), {"power": "1000", "overwrite": True}),
        "write_diff_html": ((trace, trace, out), {"overwrite": True}),
    }  # fmt: skip


def functions():
    return sorted(
        n for n in cimemu.__all__ if callable(getattr(cimemu, n)) and not isinstance(getattr(cimemu, n), type)
    )


def test_every_public_function_is_swept(calls):
    assert functions() == sorted(calls)


def test_the_right_calls_are_right(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = {}
    for name, (arguments, keywords) in calls.items():
        try:
            getattr(cimemu, name)(*arguments, **keywords)
        except cimemu.CimemuError as error:
            refused[name] = str(error)
    assert list(refused) == ["import_costs"], refused  # which has no request to ask


def complaints(function, arguments, keywords):
    """What escapes from a call that is no CimemuError of one line."""
    try:
        function(*arguments, **keywords)
    except cimemu.CimemuError as error:
        return [] if str(error) and "\n" not in str(error) else [f"{str(error)!r} is no line"]
    except Exception as error:  # this is what is looked for
        return [f"{type(error).__name__}: {error}"[:200]]
    return []


def swept(calls, name, chosen, folder, monkeypatch):
    monkeypatch.chdir(folder)
    arguments, keywords = calls[name]
    found = []
    for place in range(len(arguments)):
        for value in chosen:
            given = [*arguments[:place], value, *arguments[place + 1 :]]
            found += [(name, place, repr(value)[:40], c) for c in complaints(getattr(cimemu, name), given, keywords)]
    for key in keywords:
        for value in chosen:
            given = {**keywords, key: value}
            found += [(name, key, repr(value)[:40], c) for c in complaints(getattr(cimemu, name), arguments, given)]
    return found


@pytest.mark.parametrize("name", functions())
def test_a_wrong_argument_is_a_cimemu_error(calls, name, tmp_path, monkeypatch):
    chosen = random.Random(name).sample(WRONG, 6)
    assert swept(calls, name, chosen, tmp_path, monkeypatch) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", functions())
def test_every_wrong_argument_is_a_cimemu_error(calls, name, tmp_path, monkeypatch):
    assert swept(calls, name, WRONG, tmp_path, monkeypatch) == []


@pytest.mark.parametrize("name", ["Arch", "Macro"])
def test_records_refuse_in_one_line(name):
    kind = getattr(cimemu, name)
    for wrong in WRONG:
        assert complaints(kind.model_validate, [wrong], {}) == []
        assert complaints(kind.model_validate_json, [wrong], {}) == []
        assert complaints(kind, [], {"rows": wrong}) == []
        with pytest.raises(cimemu.ArchError):
            kind.model_validate(wrong)


def test_a_public_function_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(cimemu.run)) is cimemu.run
    assert cimemu.run.__doc__.startswith("Emulate")
