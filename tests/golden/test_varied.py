"""Golden vectors of a drawn chip are what a run of that chip computes: cells, codes, outputs, replica by replica."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.golden.files import write_vectors
from cimemu.golden.vectors import layer_vectors
from cimemu.golden.verify import verify_dump
from cimemu.macro.read_noise import Reads
from cimemu.mapping.place import make_plan

CHIP = {"macro.rows": 20, "macro.columns": 32, "macro.active_rows": 8, "chip.tiles": 40}
LINEAR = {
    "macro.adc": {"model": "linear", "bits": 5},
    "macro.accumulator_bits": 13,
    "macro.accumulator_overflow": "saturate",
}
REAL = {"macro.adc": {"model": "linear", "bits": 5, "lsb": 1.5}}
TABLE = {"macro.adc": {"model": "nonlinear", "bits": 2, "thresholds": [0.5, 2, 4.5], "levels": [0, 1.5, 3, 6]}}
WHOLE = {"macro.adc": {"model": "nonlinear", "bits": 2, "thresholds": [0.5, 2, 4.5], "levels": [0, 1, 3, 6]}}
SPREAD = ("lognormal:sigma=0.3", "stuck_at:sa0=0.05,sa1=0.05")
NOISE = ("thermal:celsius=300,on_ohm=1e9", "telegraph:amplitude=0.3,share=0.6", "converter:offset=0.5,noise=0.4")
LINES = ("stuck_wordline:off=0.1,on=0.1", "stuck_bitline:off=0.05,on=0.05")
REFERENCE = {"macro.weight.correction": "reference_column"}
CASES = {
    "spread": (LINEAR, SPREAD),
    "spread and noise": (LINEAR, SPREAD + NOISE),
    "lines": ({**LINEAR, "macro.timing.skip_zero_slices": True}, SPREAD + LINES),
    "real levels": (REAL, SPREAD + NOISE),
    "a table of real levels": (TABLE, SPREAD + NOISE),
    "a table of integers": (WHOLE, SPREAD + LINES),
    "ideal converters": ({"macro.adc": "ideal"}, SPREAD + NOISE + LINES),
    "reference columns": ({**WHOLE, **REFERENCE}, SPREAD + NOISE),
    "reference columns of ideal converters": ({"macro.adc": "ideal", **REFERENCE}, SPREAD + NOISE),
    "a driver": ({**REAL, "macro.input.dac_bits": 2, "macro.input.dac": "pulse"}, ("driver:gain=0.05,inl=0.2",)),
    "wires": (LINEAR, ("ir_drop:segment_ohm=50",)),
    "no models": (LINEAR, ()),
}


def images(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 5, 4)).astype(np.uint8)


QUICK = ("lines",)
EVERY = [
    pytest.param(
        case,
        replicas,
        marks=() if replicas == 3 and case in QUICK else [pytest.mark.slow] + [pytest.mark.long] * (replicas == 1),
    )
    for case in CASES
    for replicas in (1, 3)
]


@pytest.mark.parametrize(("case", "replicas"), EVERY)
def test_vectors_of_a_drawn_chip_are_its_runs(case, replicas, tmp_path):
    overrides, vary = CASES[case]
    arch = cimemu.load_arch("rram_128", {**CHIP, **overrides, "mapping.max_replicas": replicas})
    network, x = nets.residual_network(), images()
    plan = make_plan(network, arch)
    made = layer_vectors(network, arch.macro, x, "conv2", 40, plan=plan, vary=vary, seed=3, trial=2)
    emulator = Emulator(network, arch.macro)
    emulator.program(plan, vary, 3, 2)
    matrix = emulator.matrices["conv2"]
    count = len(matrix.replicas)
    assert count == (replicas if vary else 1)
    tensors = emulator.run([x], keep=frozenset(["a", "b"])).tensors
    ((rows, _, _),) = matrix.on_units(matrix.all_windows(tensors["a"]), matrix.programmed)
    for r in range(count):
        mine = np.flatnonzero(np.arange(40) % 20 % count == r)
        reads = Reads(positions=-(-(20 - r) // count), replicas=count, replica=r)
        written = matrix.replicas[r][0]
        slow = written.run(rows[mine], codes=True, path="naive", reads=reads)
        blocks = [v for v in made.macros if v.replica.number == r]
        assert len(blocks) == len(written.matrix.layout.row_blocks) * len(written.matrix.layout.col_blocks)
        for v in blocks:
            first, stop = written.matrix.layout.row_blocks[v.row_block]
            per_output = written.matrix.macro.columns_per_output
            a, b = (n * per_output for n in written.matrix.layout.col_blocks[v.col_block])
            stored = written.matrix.levels if written.matrix.cells is None else written.matrix.cells
            assert np.array_equal(v.cells, stored[first:stop, a:b])
            if slow.codes is not None:
                here = np.flatnonzero(written.matrix.block_of == v.row_block)
                codes = np.where(v.driven[..., None], v.codes, 65535).reshape(len(mine), v.groups, v.slices, -1)
                assert np.array_equal(codes, slow.codes[:, here][..., a:b])
        for d in made.digital:
            a, b = written.matrix.layout.col_blocks[d.col_block]
            assert d.outputs[mine].tobytes() == np.ascontiguousarray(slow.y[:, a:b]).tobytes()
    total = np.concatenate([d.outputs for d in made.digital], axis=1).reshape(2, 20, -1)
    constants = matrix.constants(np.full(2, matrix.layer.input_zero_point + matrix.drive_offset))
    assert np.array_equal(
        np.moveaxis(matrix.layer.stage.apply(total + constants[:, None]), 2, 1).reshape(2, 3, 5, 4), tensors["b"]
    )
    files = write_vectors(tmp_path / "v", arch, "test", made, force=False)
    found = verify_dump(tmp_path / "v", tmp_path / "v")
    assert (found.files, found.difference, found.missing) == (files, None, ())


def test_threads_change_no_vector():
    """The vectors come from one thread's work; a run of many has the same outputs."""
    overrides, vary = CASES["spread and noise"]
    arch = cimemu.load_arch("rram_128", {**CHIP, **overrides})
    network, x = nets.residual_network(), images()
    plan = make_plan(network, arch)
    made = layer_vectors(network, arch.macro, x, "conv2", 40, plan=plan, vary=vary, seed=3)
    total = np.concatenate([d.outputs for d in made.digital], axis=1).reshape(2, 20, -1)
    for threads in (1, 2, 5):
        emulator = Emulator(network, arch.macro, threads=threads)
        emulator.program(plan, vary, 3)
        matrix = emulator.matrices["conv2"]
        constants = matrix.constants(np.full(2, matrix.layer.input_zero_point + matrix.drive_offset))
        want = np.moveaxis(matrix.layer.stage.apply(total + constants[:, None]), 2, 1).reshape(2, 3, 5, 4)
        assert np.array_equal(want, emulator.run([x], keep=frozenset(["b"])).tensors["b"])


def test_the_command_writes_a_drawn_chip(tmp_path, monkeypatch, capsys):
    from cimemu.cli import main

    monkeypatch.chdir(tmp_path)
    plain = ["golden", "rram_128", "digits", "--layer", "conv1", "--ops", "2"]
    assert main([*plain, "--vary", "lognormal:sigma=0.2", "--seed", "1", "--out", "a"]) == 0
    assert main([*plain, "--vary", "lognormal:sigma=0.2", "--seed", "1", "--out", "b"]) == 0
    assert main([*plain, "--vary", "lognormal:sigma=0.2", "--seed", "2", "--out", "c"]) == 0
    assert main(["golden", "verify", "a", "b"]) == 0
    assert main(["golden", "verify", "a", "c"]) == 1
    assert "cells.hex: row 0" in capsys.readouterr().out
