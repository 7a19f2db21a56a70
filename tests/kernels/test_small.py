"""What NumPy does where there is too little for compiling: the twins' own tests, and whole runs, with the same bytes."""

import importlib
import inspect
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.engines.exact import layer as exact_layer
from cimemu.lanes import small
from cimemu.lanes.jit import JIT_DISABLED, PACKAGE

TWINS = [path.stem for path in sorted(Path(__file__).parent.glob("test_*.py")) if path.stem != Path(__file__).stem]


def stand_ins():
    """(module of the kernel, its name, what NumPy does) of every kernel that NumPy stands in for."""
    for path in sorted(PACKAGE.rglob("small.py")):
        module = importlib.import_module(".".join(("cimemu", *path.relative_to(PACKAGE).with_suffix("").parts)))
        for value in vars(module).values():
            if isinstance(value, small.Either):
                kernel = getattr(value.by_kernels, "py_func", value.by_kernels)
                yield kernel.__module__, kernel.__name__, value.in_numpy


def callers_of(name):
    """The tests of twins that call a kernel, each with the arguments of one case; drawn ones draw their own."""
    for stem in TWINS:
        for title, test in vars(importlib.import_module(stem)).items():
            inner = getattr(getattr(test, "hypothesis", None), "inner_test", test)
            if title.startswith("test_") and f".{name}(" in inspect.getsource(inner):
                cases = [{m.args[0]: v} for m in marks(test, "parametrize") for v in m.args[1]]
                yield from (partial(test, **case) for case in cases or [{}])


def marks(test, name):
    """Pytest's marks of a name on a test."""
    return [mark for mark in getattr(test, "pytestmark", []) if mark.name == name]


@pytest.mark.parametrize(
    ("module", "name", "in_numpy"), list(stand_ins()), ids=lambda v: str(getattr(v, "__name__", v))
)
def test_numpy_gives_what_the_twin_of_a_kernel_gives(module, name, in_numpy, monkeypatch):
    found = list(callers_of(name))
    assert found
    monkeypatch.setattr(sys.modules[module], name, in_numpy)
    for test in found:
        test()


@pytest.fixture
def never(monkeypatch):
    """Kernels are not compiled, and compiling them never pays."""
    monkeypatch.setattr(small.SPENT, "at_once", False)
    monkeypatch.setattr(small.SPENT, "seconds", 0.0)
    monkeypatch.setattr(small, "PAYS_AFTER", 1e9)
    monkeypatch.setattr(small, "is_compiled", lambda kernel: False)
    monkeypatch.setattr("cimemu.engines.programmed.is_compiled", lambda kernel: False)
    for way in ways():
        monkeypatch.setattr(way, "ready", False)


def ways():
    """Every choice between kernels and NumPy in the modules that are loaded."""
    ours = [module for name, module in list(sys.modules.items()) if name.startswith("cimemu")]
    found = {id(v): v for module in ours for v in vars(module).values() if isinstance(v, small.Either)}
    return list(found.values())


CHIPS = {
    "exact": {"macro.adc": "ideal"},
    "clamp": {"macro.adc.bits": 5},
    "clamp above 3": {"macro.adc.bits": 5, "macro.adc.zero": 3},
    "step": {"macro.adc": {"model": "linear", "bits": 6, "lsb": 2.5}},
    "real levels": {
        "macro.adc": {"model": "nonlinear", "bits": 2, "thresholds": [1, 5, 9], "levels": [0, 2.5, 7.1, 11]}
    },
    "integer levels": {
        "macro.adc": {"model": "nonlinear", "bits": 2, "thresholds": [1, 5, 9], "levels": [0, 3, 7, 11]}
    },
    "2-bit cells": {"macro.cell.bits": 2, "macro.adc.bits": 6},
    "signed inputs": {"macro.input.signed": True, "macro.adc.bits": 6},
    "skipping": {"macro.timing.skip_zero_slices": True, "macro.adc.bits": 6},
    "held": {"macro.accumulator_bits": 12, "macro.accumulator_overflow": "saturate", "macro.adc.bits": 6},
}
DRAWN = (("lognormal:sigma=0.1",), ("stuck_at:sa0=0.1,sa1=0.1", "thermal:amplifier=0.5"), ("normal:absolute=0.1",))


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled at all")
@pytest.mark.parametrize(
    ("chip", "vary"), [*((chip, ()) for chip in CHIPS), *(("clamp", vary) for vary in DRAWN), ("real levels", DRAWN[0])]
)
def test_a_run_in_numpy_gives_the_bytes_of_kernels(chip, vary, monkeypatch, request):
    arch = cimemu.load_arch("rram_128", CHIPS[chip])
    workload = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration()[:32])
    images = workload.inputs(3)[0]

    def made():
        emulator = Emulator(network, arch.macro)
        if vary:
            emulator.program(cimemu.make_plan(network, arch), vary, seed=3)
        return emulator.run([images], keep=frozenset(layer.outputs[0] for layer in network.layers))

    by_kernels = made()
    request.getfixturevalue("never")
    for name in ("convolve_quads", "convolve_pairs"):
        monkeypatch.setattr(exact_layer, name, None)  # nothing calls it
    in_numpy = made()
    assert by_kernels.paths == in_numpy.paths
    assert np.array_equal(by_kernels.counts, in_numpy.counts)
    for name, tensor in by_kernels.tensors.items():
        assert tensor.tobytes() == in_numpy.tensors[name].tobytes(), name
    for one, other in zip(by_kernels.nonzero.values(), in_numpy.nonzero.values()):
        assert all(np.array_equal(a, b) for a, b in zip(one, other))


def test_kernels_are_compiled_once_numpy_has_had_its_time(monkeypatch):
    monkeypatch.setattr(small, "is_compiled", lambda kernel: False)
    monkeypatch.setattr(small.SPENT, "at_once", False)
    monkeypatch.setattr(small.SPENT, "seconds", 0.0)
    said = []
    way = small.Either(lambda: said.append("kernel"), lambda: said.append("NumPy"))
    way()
    assert small.SPENT.seconds > 0
    small.SPENT.seconds = small.PAYS_AFTER
    way()
    small.SPENT.seconds = small.PAYS_AFTER + 1e-6
    way()
    small.SPENT.seconds = 0.0
    way()
    assert said == ["NumPy", "NumPy", "kernel", "kernel"]


def test_a_compiled_kernel_runs_at_once(monkeypatch):
    monkeypatch.setattr(small.SPENT, "at_once", False)
    monkeypatch.setattr(small, "is_compiled", lambda kernel: kernel == "made")
    way = small.Either(lambda: "kernel", lambda: "NumPy", "made")
    assert way() == "kernel"
    assert small.Either(lambda: "kernel", lambda: "NumPy", "made", "missing")() == "NumPy"


def test_a_part_of_what_stands_in_is_not_compiled_halfway(monkeypatch):
    monkeypatch.setattr(small, "is_compiled", lambda kernel: False)
    monkeypatch.setattr(small.SPENT, "at_once", False)
    monkeypatch.setattr(small.SPENT, "seconds", 0.0)
    part = small.Either(lambda: "kernel", lambda: "NumPy")

    def both_halves():
        first = part()
        small.SPENT.seconds = 2 * small.PAYS_AFTER
        return first, part()

    assert small.Either(lambda: None, both_halves)() == ("NumPy", "NumPy")
    assert part() == "kernel"
