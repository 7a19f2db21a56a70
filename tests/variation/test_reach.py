"""Variation from the command line, and on a real network."""

import json
import os

import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.compute.forward import Emulator

needs_data = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")


def run_json(capsys, *options):
    assert main(["run", "rram_128", "digits", "--images", "3", "--no-trace", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_line_varies_cells_and_zero_strength_changes_nothing(capsys):
    plain = run_json(capsys)
    assert run_json(capsys, "--vary", "lognormal:sigma=0", "--vary", "stuck_at", "--seed", "7") == plain
    first = run_json(capsys, "--vary", "lognormal:sigma=0.4", "--vary", "stuck_at:sa0=0.05", "--seed", "7")
    again = run_json(
        capsys, "--vary", "lognormal:sigma=0.4", "--vary", "stuck_at:sa0=0.05", "--seed", "7", "--threads", "2"
    )
    other = run_json(capsys, "--vary", "lognormal:sigma=0.4", "--vary", "stuck_at:sa0=0.05", "--seed", "8")
    assert first == again
    assert first["energy_uj"] != other["energy_uj"]  # other cells draw another charge


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lognorml:sigma=1", "did you mean lognormal? choose from lognormal, normal"),
        ("stuck_at:sa2=1", "stuck_at has no parameter 'sa2'; it has sa0, sa1"),
        ("level_spread:sigma=[0.1]", "sigma has 1 values, cells of levels 0 .. 1 need 2"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, text, message):
    assert main(["run", "--images", "1", "--no-trace", "--vary", text]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_list_shows_every_model_with_its_parameters(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "sa0=0.0 sa1=0.0" in out
    assert "segment_ohm on_ohm=100000.0" in out


@pytest.mark.slow
@needs_data
def test_cells_of_resnet20_are_the_same_for_any_number_of_threads():
    work = cimemu.load_workload("cifar10_resnet20")
    arch = cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:16])
    emulator, plan = Emulator(network, arch.macro), cimemu.make_plan(network, arch)

    def cells(threads):
        emulator.program(plan, ["lognormal:sigma=0.1", "stuck_at:sa0=0.01,sa1=0.01"], seed=7, trial=1, threads=threads)
        return [p.matrix.cells for m in emulator.matrices.values() for replica in m.replicas for p in replica]

    one, two = cells(1), cells(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
    values, ideal = (np.concatenate([a.ravel() for a in arrays]) for arrays in (one, _levels(emulator)))
    assert values.size > 2_000_000
    assert abs((values[ideal == 0] == 128).mean() - 0.01) < 4 * np.sqrt(0.01 / (ideal == 0).sum())
    assert abs((values[ideal == 1] == 0).mean() - 0.01) < 4 * np.sqrt(0.01 / (ideal == 1).sum())


def _levels(emulator):
    return [p.matrix.levels for m in emulator.matrices.values() for p in m.programmed]
