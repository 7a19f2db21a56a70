"""The record of a trial is that of whole counted runs, and of every layer alone on the ideal chip's tensors."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.mapping.place import make_plan
from cimemu.stress.settings import settings
from cimemu.stress.trial import Point, StressTask, _relative

CHIP = {"macro.rows": 20, "macro.columns": 32, "macro.active_rows": 8, "chip.tiles": 40}
CHIPS = [
    {},
    {"mapping.max_replicas": 3},
    {"macro.cell.kind": "digital", "macro.adc": "ideal"},
    {"macro.timing.skip_zero_slices": True, "macro.repair.checksum_columns": 8},
]
VARY = {"lognormal:sigma=0.1": CHIPS[:2], "thermal:amplifier=0.4": CHIPS[:2], "stuck_at:sa0=0.02": CHIPS}


@pytest.mark.parametrize(("model", "chip"), [(model, chip) for model, chips in VARY.items() for chip in chips])
def test_a_record_is_that_of_counted_runs_and_of_layers_alone(model, chip):
    network, arch = nets.residual_network(), cimemu.load_arch("rram_128", {**CHIP, **chip})
    images = np.random.default_rng(0).integers(0, 256, (70, 3, 5, 4)).astype(np.uint8)
    labels = np.arange(70) % 2
    (models,) = settings(arch, [model])
    record = StressTask(arch, (network,), (Point(0, (), models),), images, labels, 3, 2).run(1)

    plan = make_plan(network, arch)
    emulator = Emulator(network, arch.macro, plan=plan)
    every = frozenset(network.types) - frozenset(network.inputs)
    ideal = {network.inputs[0]: images, **emulator.run([images], keep=every).tensors}
    emulator.program(plan, models, 3, 1)
    drawn = emulator.run([images], keep=every)
    uncounted = emulator.run([images], keep=every, counted=False)
    assert not uncounted.counts.any()
    assert drawn.counts.any()
    assert uncounted.paths == drawn.paths
    for name, tensor in drawn.tensors.items():
        assert np.array_equal(uncounted.tensors[name], tensor), name
    for index, masks in drawn.nonzero.items():
        assert all(np.array_equal(a, b) for a, b in zip(uncounted.nonzero[index], masks))

    layers = [layer for layer in network.layers if layer.on_macros]
    whole = [_relative(drawn.tensors[layer.outputs[0]][:2], ideal[layer.outputs[0]][:2]) for layer in layers]
    alone = [
        _relative(
            emulator.run_layer(layer.name, [ideal[t][:2] for t in layer.inputs if t]), ideal[layer.outputs[0]][:2]
        )
        for layer in layers
    ]
    assert np.array_equal(record["layer_error"], whole)
    assert np.array_equal(record["own_error"], alone)
    assert any(set(layer.inputs) <= {*network.inputs, ""} for layer in layers)  # one is told by the whole network's run
    answers = drawn.tensors[network.outputs[0]].reshape(70, -1)
    assert np.array_equal(record["prediction"], answers.argmax(axis=1))
