"""`cimemu size`: the smallest chip that reaches a rate, or what holds it back."""

import json

import nets
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.tally import OF_MACROS
from cimemu.timing.rate import images_to_time, slowest, steady_cycles
from cimemu.timing.simulate import Simulation

NETWORK = nets.residual_network(height=6, width=5)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, *NETWORK.types["x"].shape)).astype(np.uint8)


def chip(**changes):
    return cimemu.load_arch("rram_128", {key.replace("__", "."): value for key, value in changes.items()})


@pytest.mark.parametrize("preset", ["rram_128", "sram_256", "digital_cim"])
@pytest.mark.parametrize("rate", [1_000, 100_000, 250_000])
@pytest.mark.parametrize("schedule", ["pipelined", "layer_by_layer"])
def test_a_chip_that_reaches_the_rate_does_so_in_a_run_of_its_settings(preset, rate, schedule):
    arch = cimemu.load_arch(preset, {"schedule": schedule})
    sized = cimemu.size(arch, NETWORK, IMAGES, rate)
    again = cimemu.load_arch(arch, sized.settings)
    simulation = Simulation(cimemu.make_plan(NETWORK, again))
    timeline = simulation.run(images_to_time(simulation))
    assert slowest(simulation).cycles <= timeline.busy.max() / timeline.images + 1
    steady = (
        max(steady_cycles(timeline), slowest(simulation).cycles) if schedule == "pipelined" else timeline.image_cycles
    )
    found = 1e9 / arch.clock_ns / steady
    assert sized.reached == (sized.images_per_s >= rate)
    assert found == pytest.approx(sized.images_per_s, rel=0.02)
    result = cimemu.run(again, NETWORK, IMAGES)
    assert result.plan.arch.tiles == sized.tiles
    assert sized.area_mm2 == pytest.approx(float(result.tally.area_um2.sum()) / 1e6)
    events = float(result.tally.energy_pj[:-1].sum()) / len(IMAGES)
    leakage = float(result.tally.leakage_uw.sum()) / 1e3
    assert sized.power_mw == pytest.approx(events * sized.images_per_s * 1e-9 + leakage)
    assert {layer.name: layer.replicas for layer in result.plan.layers if layer.on_macros} == sized.copies


@pytest.mark.parametrize("schedule", ["pipelined", "layer_by_layer"])
def test_gates_take_their_share_off_the_leakage(schedule):
    gates = {"saved": 1.0, "after_cycles": 0, "wake_cycles": 1}
    plain, gated = (
        cimemu.size(chip(schedule=schedule, **more), NETWORK, IMAGES, 1000) for more in ({}, {"power__gating": gates})
    )
    tally = cimemu.run(cimemu.load_arch("rram_128", plain.settings), NETWORK, IMAGES[:1]).tally
    rest = sum(uw for name, uw in zip(tally.components, tally.leakage_uw) if name not in OF_MACROS) / 1e3
    assert rest < gated.leakage_mw < plain.leakage_mw
    assert plain.leakage_mw == pytest.approx(tally.leakage_uw.sum() / 1e3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chip.digital.lanes": 1}, r"digital works .* a larger chip\.digital\.lanes lifts it"),
        ({"chip.interconnect.bits_per_cycle": 1}, r"link/.* a larger chip\.interconnect\.bits_per_cycle"),
        (
            {"chip.interconnect.kind": "bus", "chip.interconnect.bits_per_cycle": 1},
            r"bus .*chip\.interconnect\.bits_per_cycle",
        ),
        (
            {"chip.offchip.bits_per_cycle": 1, "chip.offchip.latency_cycles": 10_000},
            r"offchip .*chip\.offchip\.bits_per_cycle",
        ),
        ({"chip.global_buffer.write_bits_per_cycle": 1, "chip.global_buffer.ports": 1}, r"global_buffer/port0 .*ports"),
        ({"schedule": "layer_by_layer"}, r"one image at a time .*schedule=pipelined"),
    ],
)
def test_a_rate_out_of_reach_names_what_is_in_the_way(changes, said):
    import re

    sized = cimemu.size(cimemu.load_arch("rram_128", {"schedule": "pipelined", **changes}), NETWORK, IMAGES, 5e6)
    assert not sized.reached
    assert sized.images_per_s < 5e6
    assert re.search(said, sized.limit), sized.limit


def test_it_is_reached_from_the_command_line(capsys):
    words = ["size", "rram_128", "digits", "--images-per-second", "50000", "--set", "schedule=pipelined"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reached"]
    assert found["images_per_s"] >= 50_000
    assert main(words) == 0
    out = capsys.readouterr().out
    tried = next(line for line in out.splitlines() if line.startswith("try it")).split("cimemu ")[1].split()
    assert main([*tried, "--images", "24", "--no-trace", "--json"]) == 0
    ran = json.loads(capsys.readouterr().out)
    assert ran["images_per_s"] > 0.5 * found["images_per_s"]  # the first image fills the chip


def test_a_rate_that_is_none_is_refused():
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(cimemu.CimemuError, match="images_per_second"):
            cimemu.size(chip(), NETWORK, IMAGES, rate)
