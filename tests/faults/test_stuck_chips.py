"""Chips told by what their stuck cells change alone are full runs of these chips, byte for byte."""

from dataclasses import replace

import drawn_macros
import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.errors import CimemuError
from cimemu.faults.stuck_chips import StuckChips, why_not
from cimemu.faults.touched import lossless_margin
from cimemu.mapping.place import make_plan
from cimemu.stress import Chips
from cimemu.variation.compose import compose
from faults.test_every_fault import CASES, CHIP


def compared(arch, network, images, models, trials, seed=1):
    """Every chip both ways; how many of them differ from the ideal one."""
    plan = make_plan(network, arch)
    full, quick = (Emulator(network, arch.macro, plan=plan) for _ in range(2))
    assert why_not(quick, compose(models, seed), len(images)) is None
    ideal = full.run([images]).tensors
    chips = [compose(models, seed, trial) for trial in range(trials)]
    differing = 0
    for chip, found in zip(chips, StuckChips(quick, plan, images).outputs(chips)):
        full.program(plan, chip.models, chip.seed, chip.trial)
        for name, array in full.run([images]).tensors.items():
            assert found[name].dtype == array.dtype
            assert found[name].tobytes() == array.tobytes(), (chip, name)
            differing += not np.array_equal(array, ideal[name])
    return differing


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("case", [None, *CASES])
def test_chips_are_full_runs(case, replicas):
    network = nets.residual_network(groups=1 if replicas == 1 else 3)
    given = {**CHIP, **CASES.get(case, {}), "mapping.max_replicas": replicas}
    arch = cimemu.load_arch("rram_128", given)
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 5, 4)).astype(np.uint8)
    assert compared(arch, network, images, ["stuck_at:sa0=0.001,sa1=0.001"], 12) > 1
    assert compared(arch, network, images, ["stuck_at:sa0=0.02", "stuck_at:sa1=0.03"], 3) == 3


def tried(number_of):
    """How many architectures drawn over every key were compared, of so many."""
    draws, count = drawn_macros.Draws(5), 0
    for number in range(number_of):
        drawn = draws.draw(number)
        draws.accepted(drawn)
        arch = cimemu.load_arch("rram_128", {"chip.tiles": 64})
        # Accumulators, spares, checksums and flips take full runs.
        tree = {**drawn.tree, "accumulator_bits": None, "repair": {"reads": drawn.tree["repair"].get("reads", 1)}}
        tree["weight"] = {**tree["weight"], "column_flipping": False}
        arch = arch.model_copy(update={"macro": cimemu.Macro.model_validate(tree)})
        try:
            plan = make_plan(drawn.network, arch)
            emulator = Emulator(drawn.network, arch.macro, plan=plan)
        except CimemuError:
            continue
        models = ["stuck_at:sa0=0.01,sa1=0.02"]
        if why_not(emulator, compose(models), len(drawn.x)) is not None:
            continue
        compared(arch, drawn.network, drawn.x, models, 4, seed=number)
        count += 1
    return count


def test_chips_on_architectures_drawn_over_every_key():
    assert tried(25) >= 10


@pytest.mark.slow
def test_chips_on_many_architectures_drawn_over_every_key():
    assert tried(100) >= 40


def test_digits_are_full_runs():
    work, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, work.calibration())
    images, labels = work.inputs(12)
    assert compared(arch, network, images, ["stuck_at:sa0=0.0002,sa1=0.0002"], 20) > 15
    vary = ["stuck_at:sa0=0.01,sa1=0.01"]
    run = cimemu.run(arch, network, images, labels, vary=vary, seed=3, trial=5, detail=None)
    assert Chips(arch, network, images, labels).accuracy(vary, 3, 5) == run.accuracy


@pytest.mark.parametrize(
    ("vary", "overrides", "reason"),
    [
        (["lognormal:sigma=0.1"], {}, "more than stick"),
        (["stuck_at:sa0=0.1", "lognormal:sigma=0.1"], {}, "more than stick"),
        (["stuck_at:sa0=0.1"], {"macro.repair.spare_rows": 1}, "spare lines"),
        (["stuck_at:sa0=0.1"], {"macro.repair.checksum_columns": 4}, "checksum_columns"),
        (["stuck_at:sa0=0.1"], {"macro.accumulator_bits": 30}, "accumulators"),
        (["stuck_at:sa0=0.1"], {"macro.weight.column_flipping": True}, "column_flipping"),
    ],
)
def test_other_chips_run_in_full(vary, overrides, reason):
    network, arch = nets.residual_network(), cimemu.load_arch("rram_128", {**CHIP, **overrides})
    emulator = Emulator(network, arch.macro, plan=make_plan(network, arch))
    assert reason in why_not(emulator, compose(vary), 4)


def test_a_proof_ends_where_a_value_is_no_psum():
    network = nets.residual_network()
    arch = cimemu.load_arch("rram_128", CHIP)
    emulator = Emulator(network, arch.macro, plan=make_plan(network, arch))
    for layer in emulator.matrices.values():
        for programmed in layer.programmed:
            matrix, margin = programmed.matrix, lossless_margin(programmed.matrix)
            assert margin == (0, 127 - matrix.psum_range[1])
            assert min(lossless_margin(replace(matrix, references=None))) > 1000
