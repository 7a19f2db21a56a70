"""What lifts the rate of images: each change, made for real, gives the rate that was told."""

import json

import nets
import pytest

import cimemu
from cimemu.cli import main
from cimemu.fitting.limits import BUFFERS, DOUBLED, WORTH
from cimemu.timing.rate import image_period
from cimemu.timing.simulate import Simulation
from cimemu.views.answers import questions

NETWORK = nets.residual_network()
SMALL = {
    "chip.tiles": 2,
    "tile.macros": 8,
    "macro.columns_per_adc": 1,
    "macro.adc": {"model": "ideal"},
    "macro.timing.wordline_cycles": 0,
    "mapping.share_macros": False,
}
CHIPS = {
    "one layer after the other": ({}, {"schedule"}),
    "idle macros": ({"schedule": "pipelined"}, {"mapping.max_replicas"}),
    "a narrow digital unit": ({"schedule": "pipelined", "chip.digital.lanes": 1}, {"chip.digital.lanes"}),
    "a narrow mesh": (
        {"schedule": "pipelined", "chip.interconnect.bits_per_cycle": 1},
        {"chip.interconnect.bits_per_cycle"},
    ),
    "a slow memory": ({"schedule": "pipelined", "chip.offchip.bits_per_cycle": 1}, {"chip.offchip.bits_per_cycle"}),
    "a small global buffer": (
        {"schedule": "pipelined", "chip.global_buffer.size_kib": 0.12, "mapping.max_replicas": 8},
        {"chip.global_buffer.size_kib"},
    ),
}


def chip(keys):
    return cimemu.load_arch("rram_128", SMALL | keys)


def rate(arch):
    """Images a second of a chip placed and simulated anew."""
    period, _ = image_period(Simulation(cimemu.make_plan(NETWORK, arch)))
    return 1e9 / arch.clock_ns / period


@pytest.mark.parametrize("name", CHIPS)
def test_every_lift_gives_the_rate_that_it_says_and_the_narrow_part_is_named(name):
    keys, wanted = CHIPS[name]
    arch = chip(keys)
    found = cimemu.limits(arch, NETWORK)
    assert found.now.images_per_s == rate(arch)
    assert found.now.settings == {}
    told = [key for one in found.lifts for key in one.settings]
    assert wanted <= set(told), told
    for one in found.lifts:
        assert one.images_per_s == rate(cimemu.load_arch(arch, dict(one.settings)))
        assert one.times == one.images_per_s / found.now.images_per_s >= WORTH
        assert one.images_per_s <= one.slowest_images_per_s * (1 + 1e-9)
    assert list(found.lifts) == sorted(found.lifts, key=lambda one: -one.times)


def test_a_buffer_is_told_with_the_least_size_that_gives_nearly_all():
    arch = chip(CHIPS["a small global buffer"][0])
    lift = next(one for one in cimemu.limits(arch, NETWORK).lifts if "chip.global_buffer.size_kib" in one.settings)
    size = lift.settings["chip.global_buffer.size_kib"]
    huge = rate(cimemu.load_arch(arch, {"chip.global_buffer.size_kib": 64 * 0.12}))
    assert lift.images_per_s * WORTH >= huge
    assert size <= 0.24 or rate(cimemu.load_arch(arch, {"chip.global_buffer.size_kib": size / 2})) * WORTH < huge


def test_keys_that_are_tried_are_keys_of_a_chip():
    for key in (*DOUBLED, *BUFFERS):
        value = cimemu.load_arch("rram_128")
        for part in key.split("."):
            value = getattr(value, part)
        assert cimemu.load_arch("rram_128", {key: 2 * value})


def test_run_stores_what_lifts_the_rate_and_report_and_page_show_it(tmp_path, capsys):
    words = ["--images", "2", "--set", "schedule=pipelined", "--set", "chip.digital.lanes=1"]
    out = str(tmp_path / "t.h5")
    assert main(["run", "rram_128", "digits", *words, "--limits", "--out", out, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["report"]["limits"]
    assert rows[0]["change"] == "none"
    assert len(rows) > 1
    best = rows[1]["change"]
    assert main(["report", out]) == 0
    printed = capsys.readouterr().out
    assert "What lifts the rate of images" in printed
    assert best.split(" ")[0] in printed
    answer = questions(cimemu.open_trace(out))[-1]
    assert best.split(" ")[0] in answer["detail"]
    again = [word for change in best.split(" ") for word in ("--set", change)]
    assert main(["run", "rram_128", "digits", *words, *again, "--limits", "--no-trace", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["limits"][0]["images/s"] == pytest.approx(rows[1]["images/s"])


def test_a_report_without_limits_names_the_key_that_lifts_its_slowest_unit(tmp_path, capsys):
    out = str(tmp_path / "t.h5")
    slow = ["--set", "chip.digital.lanes=1", "--set", "mapping.max_replicas=64"]
    assert main(["run", "rram_128", "digits", "--images", "1", *slow, "--out", out]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a larger chip.digital.lanes lifts it" in said
    assert "What lifts" not in said
