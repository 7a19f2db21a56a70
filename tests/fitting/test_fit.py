"""`cimemu.fit`: the mapper's own numbers, tied channels, loading as a run charges it, proposals that hold."""

import csv
import json
import os
from pathlib import Path

import fitting_nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cli import main
from cimemu.fitting.channels import trace_channels
from cimemu.fitting.loading import weight_loading
from cimemu.fitting.report import full_widths
from cimemu.fitting.resize import resized
from cimemu.fitting.search import Mapper
from cimemu.layer.execute import run_float

DATA = os.environ.get("CIMEMU_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="CIMEMU_DATA (trained networks) is not set")


def arch(**overrides):
    return cimemu.load_arch("sram_256", overrides)


def groups_of(network):
    channels = trace_channels(network)
    return [tuple(channels.makers(root)) for root in channels.free()]


def test_residual_additions_tie_channels_and_the_classes_stay():
    assert groups_of(fitting_nets.residual()) == [("stem", "outer"), ("inner",), ("wide",), ("wide2",)]


def test_a_depthwise_convolution_keeps_the_width_of_what_it_reads():
    assert groups_of(fitting_nets.branches()) == [("stem",), ("left",), ("right",), ("narrow", "deep")]


@pytest.mark.parametrize("make", [fitting_nets.residual, fitting_nets.branches])
def test_a_resized_network_runs_and_has_the_asked_widths(make):
    network = make()
    channels = trace_channels(network)
    widths = {root: channels.sizes[root] + 1 + i for i, root in enumerate(channels.free())}
    changed = resized(network, channels, widths)
    for root, width in widths.items():
        for name in channels.makers(root):
            assert changed.types[name].shape[0] == width
    images = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    made = run_float(changed, images)["y"]
    assert made.shape == run_float(network, images)["y"].shape
    assert np.isfinite(made).all()
    same = resized(network, channels, {root: channels.sizes[root] for root in channels.free()})
    assert {name: t.shape for name, t in same.types.items()} == {name: t.shape for name, t in network.types.items()}


def test_an_option_a_shortcut_cannot_lose_channels():
    network = fitting_nets.residual()
    channels = trace_channels(network)
    roots = channels.free()
    widths = {root: channels.sizes[root] for root in roots} | {roots[0]: 13}
    with pytest.raises(cimemu.WorkloadError, match="1 channels too many come in"):
        resized(network, channels, widths)


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_the_search_maps_widths_as_the_mapper_maps_the_resized_network(data):
    network = data.draw(st.sampled_from([fitting_nets.residual, fitting_nets.branches]))()
    chip = arch(**{"macro.rows": 64, "macro.active_rows": 64, "macro.columns": 64, "chip.tiles": 32})
    chip = chip.model_copy(update={"mapping": chip.mapping.model_copy(update={"packing": "tight"})})
    image = np.random.default_rng(2).standard_normal((1, 3, 8, 8)).astype(np.float32)
    channels = trace_channels(network)
    mapper = Mapper(cimemu.quantize(network, chip, calibration=image), channels, chip, chip.macros)
    wider = data.draw(st.lists(st.integers(0, 30), min_size=4, max_size=4))
    widths = {root: channels.sizes[root] + more for root, more in zip(channels.free(), sorted(wider))}
    found = mapper(widths)
    plan = cimemu.make_plan(cimemu.quantize(resized(network, channels, widths), chip, calibration=image), chip)
    assert found is not None
    assert (found.macros, found.cells) == (plan.macros_used, int(plan.macro_cells.sum()))


def test_full_widths_are_whole_kernels_of_the_rows():
    assert full_widths(arch(), 9) == (28, 56, 85, 113)  # dense: 85 x 9 = 765 of 3 x 256 rows
    assert full_widths(arch(**{"macro.mapping.rows": "whole_kernels"}), 9) == (28, 56, 84, 112)
    assert full_widths(cimemu.load_arch("rram_128"), 9)[0] == 14
    assert full_widths(arch(), 1) == (256, 512, 768, 1024)


def test_loading_is_what_a_run_in_phases_charges():
    chip = arch(**{"chip.tiles": 1, "tile.macros": 4, "macro.rows": 64, "macro.active_rows": 64, "macro.columns": 64})
    network = fitting_nets.residual()
    images = np.random.default_rng(3).standard_normal((2, 3, 8, 8)).astype(np.float32)
    lowered = cimemu.quantize(network, chip, calibration=images)
    found = cimemu.fit(chip, network, propose=False)
    ran = cimemu.run(chip, lowered, images)
    total = found.mapped.summary()
    assert total["phases"] == ran.plan.phases > 1
    assert total["load_cycles"] == ran.timeline.programming_cycles
    column = ran.tally.components.index("programming")
    assert sum(row["load_nj"] for row in found.mapped.rows) * 1e3 > ran.tally.energy_pj[:, column].sum() > 0
    prices = chip.costs
    bits = total["cell_writes"] * chip.macro.cell.bits
    wanted = total["cell_writes"] * prices.programming.energy_pj + bits * prices.offchip.energy_pj
    assert weight_loading(ran.plan).layer_pj.sum() == pytest.approx(wanted)


@pytest.mark.slow
def test_a_proposal_is_checked_by_the_mapper_and_repeats(monkeypatch):
    monkeypatch.setattr("cimemu.fitting.search.STEPS", 100)
    chip = arch(**{"chip.tiles": 4, "macro.rows": 64, "macro.active_rows": 64, "macro.columns": 64})
    found = cimemu.fit(chip, fitting_nets.residual(), macros=20, goal=0.5)
    proposal = found.proposal
    plan = proposal.mapped.plan
    assert plan.macros_used <= 20
    assert proposal.reached == (plan.utilization >= 0.5)
    assert plan.utilization > found.mapped.plan.utilization
    again = cimemu.fit(chip, fitting_nets.residual(), macros=20, goal=0.5)
    assert again.proposal.groups == proposal.groups


@needs_data
@pytest.mark.long
@pytest.mark.slow
def test_resnet20_widths_fill_nine_tenths_of_256_row_macros(tmp_path, capsys):
    file = Path(DATA) / "networks" / "resnet20_cifar10.onnx"
    out, onnx = tmp_path / "fit.csv", tmp_path / "wide.onnx"
    assert main(["fit", "sram_256", str(file), "--json", "--out", str(out), "--resized", str(onnx)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["macros"], found["full_widths"]["9"][0]) == (49, 28)
    proposal = found["proposal"]
    assert proposal["reached"]
    assert proposal["macros"] <= proposal["budget_macros"] == 49
    # mapped once more from the written file, by the mapper and nothing else
    chip = arch(**{"mapping.packing": "tight"})
    network = cimemu.load_network(onnx)
    image = np.zeros((1, 3, 32, 32), np.float32)
    plan = cimemu.make_plan(cimemu.quantize(network, chip, calibration=image), chip)
    assert plan.utilization == pytest.approx(proposal["utilization"])
    assert plan.utilization >= 0.9
    assert plan.macros_used == proposal["macros"]
    tied = {group["layers"][0]: len(group["layers"]) for group in proposal["groups"]}
    assert tied["node_conv2d"] == 4  # the stem and the three residual additions of the first stage
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["widths"] for row in rows} == {"present", "proposed"}
    assert len(rows) == 2 * 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--macros", "0"], "--macros = 0, must be >= 1"),
        (["--macros", "129"], "give 1 .. 128, or more chip.tiles"),
        (["--goal", "1.5"], "--goal = 1.5, must be <= 1"),
        (["--resized", "x.onnx"], "is quantised, widths are proposed for float networks"),
        (["--no-propose", "--resized", "x.onnx"], "there is no proposal to write"),
    ],
)
def test_mistakes_are_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "quantised.onnx"
    work = cimemu.load_workload("digits")
    chip = arch()
    cimemu.save_onnx(cimemu.quantize(cimemu.load_network(work.network), chip, calibration=work.calibration()), file)
    assert main(["fit", "sram_256", str(file), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_network_without_a_width_to_change_says_so():
    b = fitting_nets.Builder()
    b.conv("y", "x", 4)
    with pytest.raises(cimemu.MappingError, match="no channel width that may change"):
        cimemu.fit(arch(), b.network())
