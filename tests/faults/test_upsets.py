"""Bits outside cells: every fault is what a slow full run with that bit wrong gives; sites and seeds replay."""

import csv
import json

import nets
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.compute.forward import Emulator
from cimemu.faults import Campaign, upsets
from cimemu.faults.upset_report import read_upsets, upset_rows, upset_summary, write_upsets
from cimemu.faults.upset_sites import KINDS
from cimemu.macro.encode import input_slice_weights
from cimemu.macro.naive import Given, mvm_naive
from cimemu.mapping.layout import accumulator_width

SMALL = {"macro.rows": 24, "macro.columns": 64, "macro.columns_per_adc": 4, "chip.tiles": 64}
MACROS = {
    "lossless": {"macro.adc.bits": 5},
    "clips": {"macro.adc.bits": 3, "macro.active_rows": 10},
    "steps": {"macro.adc.bits": 3, "macro.adc.lsb": 2, "macro.weight.encoding": "differential", "macro.cell.bits": 2},
    "held": {"macro.adc.bits": 4, "macro.accumulator_bits": 14, "macro.accumulator_overflow": "saturate"},
    "wide slices": {"macro.adc.bits": 6, "macro.input.dac_bits": 4, "macro.weight.correction": "digital"},
    "unequal slices": {"macro.adc.bits": 6, "macro.input.slices": [2, 5, 1], "macro.input.dac_bits": 5},
    "replicas": {"macro.adc.bits": 5, "mapping.max_replicas": 2},
}


def wrong(value, bit, stuck):
    """One bit of a number that is not negative."""
    return value ^ (1 << bit) if stuck < 0 else value | (1 << bit) if stuck else value & ~(1 << bit)


def patterns(x, macro):
    """Inputs as they lie in registers."""
    return [[int(v) % 2**macro.input.bits for v in row] for row in x]


def slow_unit(kind, site, matrix, x, met):
    """y [P, N] of inputs x by the definition, with one wrong bit where `met` [P] says that an input meets it."""
    macro, layout = matrix.macro, matrix.layout
    per = macro.conversions_per_output
    words, known = patterns(x, macro), [[int(v) for v in row] for row in x]
    if kind in ("registers", "wordlines"):
        row = layout.row_blocks[site.row_block][0] + site.place
        bits = [site.bit]
        if kind == "wordlines" and site.permanent:
            widths = macro.input.slices or [macro.input.dac_bits] * macro.input_slices
            every = [sum(widths[:i]) + site.bit for i, width in enumerate(widths) if site.bit < width]
            bits = [b for b in every if b < macro.input.bits]
        for p in range(len(x)):
            if met[p]:
                for bit in bits:
                    words[p][row] = wrong(words[p][row], bit, site.stuck)
                if kind == "registers":
                    known[p][row] = words[p][row]
    given = Given(matrix.weights, macro, layout, adc=matrix.adc, row_group=matrix.row_group, out_group=matrix.out_group)
    codes = mvm_naive(np.array(words), given).codes.astype(int)
    place, columns = input_slice_weights(macro).tolist(), matrix.columns.weight.tolist()
    y = np.zeros((len(x), layout.outputs), dtype=object)
    first = [
        min(g for g, (b, _, _) in enumerate(layout.group_spans) if b == rb) for rb in range(len(layout.row_blocks))
    ]
    for p in range(len(x)):
        for n in range(layout.outputs):
            if kind != "accumulators" and not any(
                a <= n < b for c, (a, b) in enumerate(layout.col_blocks) if c == site.column_block
            ):
                faulty = False
            else:
                faulty = met[p]
            running = [0] * len(layout.row_blocks)
            for g, (rb, _, _) in enumerate(layout.group_spans):
                for i in range(macro.input_slices):
                    here = faulty and rb == site.row_block
                    step = here and (site.permanent or (g - first[rb], i) == (site.group, site.slice))
                    for v in range(per):
                        code = codes[p, g, i, n * per + v]
                        if kind == "codes" and step:
                            start = layout.col_blocks[site.column_block][0] * per
                            column = n * per + v - start
                            if (column // macro.columns_per_adc if site.permanent else column) == site.place:
                                code = wrong(code, site.bit, site.stuck)
                        level = matrix.adc.zero + matrix.adc.lsb * code
                        running[rb] += int(level) * columns[v] * place[i]
                    width = accumulator_width(macro, layout, rb)
                    half = 1 << (width - 1)
                    if macro.accumulator_overflow == "saturate" and macro.accumulator_bits:
                        running[rb] = max(-half, min(half - 1, running[rb]))
                    if kind == "accumulators" and step and n == site.place:
                        running[rb] = wrong(running[rb] % (1 << width), site.bit, site.stuck)
                        running[rb] -= (1 << width) if running[rb] >= half else 0
                    elif kind == "accumulators" and here and n == site.place and not macro.accumulator_bits:
                        running[rb] = (running[rb] + half) % (1 << width) - half
            rule = macro.correction
            mine = known[p] if faulty and kind == "registers" else [int(v) for v in x[p]]
            taken = [
                k
                for k, value in enumerate(mine)
                if matrix.row_group is None or matrix.row_group[k] == matrix.out_group[n]
            ]
            y[p, n] = rule.of_y * sum(running) + rule.of_inputs * sum(mine[k] for k in taken)
            if kind in ("registers", "wordlines") and not faulty and met[p]:
                y[p, n] = None  # of another macro: as without the fault
    return y


def full_run(arch, network, images, kind, site):
    """The network's outputs in a run of all layers, of which the faulty one is made by `slow_unit`."""
    from cimemu.mapping.place import make_plan

    plan = make_plan(network, arch)
    emulator = Emulator(network, arch.macro, plan=plan, path="naive")
    values = {**network.constants, network.inputs[0]: images}

    def store(name, array):
        if kind == "buffers" and name == site.layer:
            array = np.ascontiguousarray(array).copy()
            words = array.view(f"u{array.dtype.itemsize}").reshape(len(array), -1)
            for n in range(len(array)) if site.permanent else [site.image]:
                words[n, site.place] = wrong(int(words[n, site.place]), site.bit, site.stuck)
        values[name] = array

    store(network.inputs[0], images)
    for layer in network.layers:
        arrays = [values[name] for name in layer.inputs if name]
        if not layer.on_macros:
            for name, array in zip(layer.outputs, layer.forward(arrays)):
                store(name, array)
            continue
        made = emulator.run_layer(layer.name, arrays)
        if kind != "buffers" and layer.name == site.layer:
            made = faulty_layer(emulator, layer, arrays, made, kind, site)
        store(layer.outputs[0], made)
    return {name: values[name] for name in network.outputs}


def faulty_layer(emulator, layer, arrays, clean, kind, site):
    matrix, g = emulator.matrices[layer.name], layer.geometry
    rows, constants = matrix.driven(arrays[0])
    part, programmed = matrix.units[site.unit], matrix.programmed[site.unit]
    x = rows[:, part.row_start : part.row_stop]
    image, position = np.divmod(np.arange(len(x)), g.positions)
    copies = emulator.copies.get(layer.name, 1)
    met = position % copies == site.replica if site.permanent else (image == site.image) & (position == site.position)
    made = np.array(clean.reshape(len(clean), g.channels_out, g.positions).transpose(0, 2, 1))
    assert not matrix.weight_zero.any()
    for p in np.flatnonzero(met):
        y = slow_unit(kind, site, programmed.matrix, x[p : p + 1], [True])[0]
        acc = constants[image[p]].astype(np.int64).copy()
        known = np.array([value is not None for value in y])
        channels = np.arange(part.out_start, part.out_stop)
        acc[channels[known]] += np.array([int(v) for v in y[known]], dtype=np.int64)
        values = layer.stage.apply(acc[None, None])[0, 0].astype(made.dtype)
        made[image[p], position[p], channels[known]] = values[channels[known]]
    return np.ascontiguousarray(made.transpose(0, 2, 1)).reshape(clean.shape)


@pytest.mark.parametrize("permanent", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c == "steps" else pytest.mark.slow) for c in MACROS])
def test_faults_are_full_runs_of_the_definition(case, kind, permanent):
    network = nets.residual_network(groups=3 if case == "replicas" else 1)
    arch = cimemu.load_arch("rram_128", {**SMALL, **MACROS[case]})
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4)).astype(np.uint8)
    found = upsets(arch, network, images, None, Campaign(kind, 6, permanent, 1), outputs=True)
    clean = Emulator(network, arch.macro).run([images]).tensors
    for site, kept, reached in zip(found.sites, found.outputs, found.counts["reached"]):
        slow = full_run(arch, network, images, kind, site)
        for name in network.outputs:
            fast = clean[name].copy()
            for image, outputs in kept.items():
                fast[image] = outputs[name]
            assert fast.tobytes() == slow[name].tobytes(), site
        assert reached == len(kept)


@pytest.fixture(scope="module")
def digits():
    work, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    return arch, cimemu.quantize(cimemu.load_network(work.network), arch, work.calibration()), *work.inputs(6)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_files_replay(digits, kind, tmp_path):
    first, again = (upsets(*digits, Campaign(kind, 30, seed=5)) for _ in range(2))
    assert first.sites == again.sites
    write_upsets(tmp_path / "a.csv", first)
    named, sites = read_upsets(tmp_path / "a.csv")
    assert (named, tuple(sites)) == (kind, first.sites)
    replayed = upsets(*digits, Campaign(kind, sites))
    for name, counts in first.counts.items():
        assert np.array_equal(counts, again.counts[name])
        assert np.array_equal(counts, replayed.counts[name])
    told = upset_summary(first)
    assert told["low"] <= told["harmful"] <= told["high"]
    assert sum(row["faults"] for row in upset_rows(first, "layer")) == 30


def test_the_highest_bit_of_a_code_does_more_than_the_lowest(digits):
    rows = {row["bit"]: row for row in upset_rows(upsets(*digits, Campaign("codes", 600, seed=2)), "bit")}
    assert rows[min(rows)]["masked"] >= rows[max(rows)]["masked"]


def test_the_command_writes_and_replays_sites(capsys, tmp_path):
    out, again = tmp_path / "a.csv", tmp_path / "b.csv"
    base = ["faults", "rram_128", "digits", "--images", "4"]
    assert main([*base, "--site", "buffers", "--faults", "20", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["site"] == "buffers"
    assert sum(row["faults"] for row in told["layers"]) == 20
    assert main([*base, "--sites", str(out), "--out", str(again), "--json"]) == 0
    assert out.read_bytes() == again.read_bytes()
    assert main([*base, "--cells", "15", "--out", str(tmp_path / "c.csv")]) == 0
    assert main([*base, "--sites", str(tmp_path / "c.csv"), "--out", str(tmp_path / "d.csv")]) == 0
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "d.csv").read_bytes()
    assert len(list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))) == 20


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--site", "dreams"], "must be one of cells, codes"),
        (["--site", "codes", "--cells", "5"], "says --faults N"),
        (["--site", "codes", "--site", "buffers"], "a campaign has one kind of site"),
        (["--permanent"], "--permanent with cells"),
        (["--site", "codes", "--set", "macro.adc=ideal"], "an ideal converter gives no codes"),
        (["--site", "accumulators", "--set", "macro.adc.lsb=1.5"], "levels of its converters are no integers"),
        (["--site", "wordlines", "--set", "macro.timing.skip_zero_slices=true"], "a skipped line is not driven"),
        (["--site", "codes", "--faults", "0"], "--faults = 0, must be >= 1"),
        (["--site", "codes", "--set", "macro.repair.checksum_columns=8"], "put faults right"),
    ],
)
def test_what_has_no_such_bits_is_refused(more, said, capsys):
    assert main(["faults", "rram_128", "digits", "--images", "2", *more]) == 2
    told = capsys.readouterr().err
    assert said in told.replace("\n", " ")
