"""Coverage of golden vectors: measured as slow loops do, aimed at what is missing, and no proof that an operation refutes."""

import itertools
import json
import random

import drawn_macros
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.golden.coverage.cover import covered_vectors, random_operations
from cimemu.golden.coverage.goals import Block, measure, wires_of
from cimemu.golden.coverage.result import coverage_of
from cimemu.golden.coverage.sums import ColumnSums
from cimemu.golden.vectors import layer_inputs, vectors_of
from cimemu.golden.verify import verify_dump
from cimemu.macro.encode import columns_of, input_range, input_slice_weights
from cimemu.options import Draws


@pytest.mark.parametrize("driven", [False, True])
def test_sums_of_a_column_are_those_of_all_choices(driven):
    dice = random.Random(3)
    for _ in range(60):
        bits = dice.choice([1, 1, 2, 3])
        cells = np.array([dice.randint(-3, 3) for _ in range(dice.randint(1, 5 if bits == 1 else 3))])
        choices = [np.array(c) for c in itertools.product(range(1 << bits), repeat=len(cells))]
        sums = {int(c @ cells) for c in choices if c.any() or not driven}
        made = ColumnSums(cells, bits, driven=driven)
        low, high = sorted([dice.randint(-40, 40), dice.randint(-40, 40)])
        found = made.within(low, high)
        assert {max(low, made.low) + n for n in range(found.bit_length()) if found >> n & 1} == {
            s for s in sums if low <= s <= high
        }
        choice = made.choice(low, high, dice)
        assert (choice is None) == (found == 0)
        if choice is not None:
            assert low <= int(choice @ cells) <= high
            assert choice.any() or not driven


def measured_slowly(macro, v):
    """{(kind, index...)} by the definitions, one step of one operation after another."""
    met, columns = set(), columns_of(macro)
    per, rows = macro.columns_per_output, v.cells.shape[0]
    ops, steps, count = v.codes.shape
    conversions = len(columns.weight)
    tables = v.thresholds
    for op in range(ops):
        running = [0] * v.output_count
        states = []
        for j in range(steps):
            on, place = bool(v.driven[op, j]), (j // v.slices, j % v.slices)
            states.append(on)
            met.add(("driven" if on else "skipped", *place))
            added = [0] * v.output_count
            for c in range(count) if on else ():
                n, conversion = divmod(c, conversions)
                code, a = int(v.codes[op, j, c]), c // macro.columns_per_adc
                psum = sum(
                    int(v.wordlines[op, j, r]) * int(columns.mix[conversion, s]) * int(v.cells[r, n * per + s])
                    for r in range(rows)
                    for s in range(per)
                )
                if tables is not None:
                    t = [int(x) for x in tables[c if len(tables) > 1 else 0]]
                    assert code == sum(x <= psum for x in t)
                    met.add(("codes", a, code))
                    if len(t) > 1:
                        if psum < t[0] - (t[1] - t[0]):
                            met.add(("clips", a, 0))
                        if psum >= t[-1] + (t[-1] - t[-2]):
                            met.add(("clips", a, 1))
                    value = v.levels[c if len(v.levels) > 1 else 0][code]
                else:
                    assert code == psum
                    value = psum
                if v.shift_add is not None:
                    sign = -1 if v.flipped is not None and v.flipped[0, n * per + conversion] else 1
                    added[n] += sign * int(columns.weight[conversion]) * int(value)
            for g in range(0 if v.reference_codes is None or tables is None or not on else v.reference_codes.shape[2]):
                met.add(("reference codes", g, int(v.reference_codes[op, j, g])))
            if v.shift_add is None:
                continue
            weight = int(input_slice_weights(macro)[place[1]])
            for n in range(v.output_count):
                step, after = added[n] * weight, int(v.shift_add[op, j, n])
                met |= {("accumulators", n, k) for k, has in enumerate((after < 0, after > 0)) if has}
                if step and (running[n] < 0) == (after < 0) and (running[n] ^ after) >> abs(step).bit_length() != 0:
                    met.add(("accumulators", n, 2))
                if macro.accumulator_bits is not None:
                    half = 1 << (macro.accumulator_bits - 1)
                    free = running[n] + step
                    met |= {("overflows", n, k) for k, has in enumerate((free < -half, free >= half)) if has}
                running[n] = after
        for n in range(0 if v.outputs is None else v.output_count):
            met |= {("outputs", n, k) for k, has in enumerate((v.outputs[op, n] < 0, v.outputs[op, n] > 0)) if has}
        pairs = list(itertools.pairwise(states))
        orders = (not any(states), (True, False) in pairs, (False, True) in pairs)
        met |= {("order", k) for k, has in enumerate(orders) if has}
    return met


TWINS = ("codes", "reference codes", "clips", "accumulators", "overflows", "outputs", "driven", "skipped", "order")


def drawn(count, seed, most=60_000):
    """(number, macro, LayerInputs) of drawn architectures with ideal cells, small enough for slow loops."""
    draws, found = drawn_macros.Draws(seed, drawn_macros.NOT_IN_VECTORS), 0
    for number in range(40 * count):
        one = draws.draw(number)
        macro = cimemu.Macro.model_validate(one.tree)
        if macro.rows > 40 or getattr(macro.adc, "bits", 1) > 8:
            continue
        try:
            given = layer_inputs(one.network, macro, one.x, None, 2, plan=None, draws=Draws())
            made = vectors_of(given)
        except cimemu.CimemuError:
            continue
        if sum(v.codes.size * v.cells.shape[0] for v in made.macros) > most:
            continue
        draws.accepted(one)
        found += 1
        yield number, macro, one, given, made
        if found == count:
            return


def test_coverage_is_what_slow_loops_find():
    kinds = set()
    for number, macro, _, _, made in drawn(25, seed=11):
        for v in made.macros:
            block = Block(macro, v, exact=True)
            slow = measured_slowly(macro, v)
            for kind, met in measure(block, wires_of(v)).items():
                if kind in TWINS:
                    fast = {(kind, *index) for index in np.argwhere(met.any(axis=0)).tolist()}
                    assert fast == {goal for goal in slow if goal[0] == kind}, (number, kind, macro)
                    kinds |= {goal[0] for goal in fast}
    assert kinds == set(TWINS)


def check_cover(number, macro, one, given):
    """Everything reachable is reached, and no random operation reaches what is said to be out of reach."""
    made = covered_vectors(one.network, macro, one.x, None, 2)
    stopped = macro.accumulator_bits is not None and macro.accumulator_overflow == "error"
    assert stopped or made.coverage.count("reachable") == 0, (number, macro, made.coverage.rows)
    names = {(h.macro, h.kind, tuple(h.index.values())) for h in made.coverage.holes if h.state == "out of reach"}
    generator, (low, high) = np.random.default_rng(number), input_range(macro)
    for width in (low, 0):  # and of few ones, so that steps are skipped
        x = [
            generator.integers(width, high + 1, (40, x.shape[1]))
            * (generator.random((40, x.shape[1])) < generator.random((40, 1)))
            for x in given.x
        ]
        try:
            tried = vectors_of(given, x)
        except cimemu.CimemuError:
            continue
        left = {
            (h.macro, h.kind, tuple(h.index.values()))
            for h in coverage_of(macro, tried).holes
            if h.state == "out of reach"
        }
        assert names <= left, (number, macro, names - left)
    return made


def test_covering_operations_reach_all_that_can_be_reached():
    for number, macro, one, given, _ in drawn(10, seed=12):
        check_cover(number, macro, one, given)


@pytest.mark.slow
def test_covering_operations_reach_all_that_can_be_reached_on_many_architectures():
    added = [check_cover(*made[:4]).vectors.added for made in drawn(80, seed=13, most=400_000)]
    assert sum(added) > 80


def embedded(layer, settings=None, ops=4):
    arch = cimemu.load_arch("rram_128", settings or {})
    work = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    return arch, covered_vectors(network, arch.macro, work.inputs(2)[0], layer, ops)


def test_a_layer_of_the_embedded_network_is_covered_by_fewer_operations_than_random_ones_take():
    arch, made = embedded("scores", ops=2)
    assert made.coverage.count("reachable") == 0
    assert made.coverage.reached["codes"] > 0
    reach = random_operations(made, arch.macro, 200)
    assert reach.goals > reach.reached
    assert reach.added == made.vectors.added < 40
    again = embedded("scores", ops=2)[1]
    assert [np.array_equal(a.inputs, b.inputs) for a, b in zip(made.vectors.macros, again.vectors.macros)] == [True]


def test_the_command_writes_and_prints_coverage_and_verify_names_added_operations(tmp_path, capsys):
    folder = tmp_path / "v"
    words = ["golden", "rram_128", "digits", "--layer", "scores", "--ops", "2", "--out", str(folder), "--cover"]
    assert main([*words, "--random", "20", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads((folder / "coverage.json").read_text())
    assert told["coverage"]["reached"] == written["reached"] > 0
    assert told["coverage"]["reachable"] == 0
    assert written["goals"] == written["reached"] + written["out_of_reach"] + written["unknown"]
    assert all(hole["reason"] for hole in written["holes"] if hole["state"] == "out of reach")
    counts = [hole.get("last_code", 0) - hole.get("code", 0) + 1 for hole in written["holes"]]
    assert sum(counts) == written["goals"] - written["reached"]
    assert len(counts) < sum(counts) / 5  # codes that follow each other are one entry
    assert told["random"]["tried"] == 20
    assert told["added"] > 0
    assert main([*words, "--force"]) == 0  # what has a coverage.json is golden vectors all the same
    out = capsys.readouterr().out
    assert "reachable" in out
    assert "cannot" not in out
    found = verify_dump(folder, folder)
    assert found.equal
    dump = tmp_path / "dump"
    (dump / "macro_000_000_000").mkdir(parents=True)
    lines = (folder / "macro_000_000_000/op_cycles.hex").read_text().split()
    (dump / "macro_000_000_000/op_cycles.hex").write_text("\n".join([*lines[:-1], "1"]))
    first = verify_dump(folder, dump, ["op_cycles"]).difference
    assert first.terms == {"added operation": told["added"] - 1}


def test_what_does_not_go_together_is_refused_in_one_line(tmp_path, capsys):
    right = ["golden", "rram_128", "digits", "--layer", "scores", "--out", str(tmp_path / "v")]
    lines = [
        ([*right, "--random", "5"], "add --cover"),
        ([*right, "--cover", "--vary", "lognormal:sigma=0.1"], "leave out --vary"),
        (["golden", "verify", "a", "b", "--cover"], "leave them out"),
    ]
    for words, text in lines:
        assert main(words) == 2
        said = capsys.readouterr().err
        assert text in said
        assert said.count("\n") == 1


def test_a_drawn_chip_has_coverage_without_proofs(tmp_path, capsys):
    folder = tmp_path / "v"
    words = ["golden", "rram_128", "digits", "--layer", "scores", "--ops", "2", "--out", str(folder)]
    assert main([*words, "--vary", "lognormal:sigma=0.1", "--json"]) == 0
    kinds = json.loads(capsys.readouterr().out)["coverage"]
    assert kinds["out_of_reach"] == kinds["reachable"] == 0
    assert kinds["reached"] > 0
    assert kinds["unknown"] > 0
