"""Golden vectors are what the emulator computes, for every key of a macro: cells, codes, running sums, outputs, cycles."""

from collections import Counter

import drawn_macros
import numpy as np
import pytest
from reference import stored_slices

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.events import Kind
from cimemu.golden.files import write_vectors
from cimemu.golden.vectors import layer_vectors
from cimemu.golden.verify import verify_dump
from cimemu.macro.encode import input_slice_weights
from cimemu.macro.naive import Given, mvm_naive
from cimemu.mapping.place import make_plan
from cimemu.timing.simulate import Simulation

FEW, MANY = 10, 440  # architectures by default, and in the slow test


def test_every_key_of_the_schema_is_drawn_with_every_value_of_a_choice():
    assert set(drawn_macros.KEYS) == set(drawn_macros.VALUES), (
        "a key of `macro` is new or gone: say what is drawn for it"
    )
    for key, field in drawn_macros.KEYS.items():
        values, whole = drawn_macros.VALUES[key], drawn_macros.closed(field)
        assert whole is None or set(values) == set(whole), key
        assert whole is not None or len(values) >= 2, key


def outcome(work):
    """What `work` gives, or the error's type and text."""
    try:
        return work(), None
    except cimemu.CimemuError as error:
        return None, (type(error), str(error))


def expected_cells(matrix, v):
    """[rows, physical columns] of one macro, by an independent reading of the encodings."""
    cells, _, _ = stored_slices(matrix.weights, matrix.macro)
    levels = np.stack(cells, axis=2)
    inside = np.ones(levels.shape[:2], bool)
    if matrix.row_group is not None:
        inside = matrix.row_group[:, None] == matrix.out_group
    levels[~inside] = 0
    r, c = slice(*matrix.layout.row_blocks[v.row_block]), slice(*matrix.layout.col_blocks[v.col_block])
    mine, top = levels[r, c].reshape(r.stop - r.start, -1), 2**matrix.macro.cell.bits - 1
    if v.flipped is None:
        return mine
    programmed = np.repeat(inside[r, c], levels.shape[2], axis=1)
    flipped = 2 * mine.sum(axis=0) > top * programmed.sum(axis=0)
    assert np.array_equal(v.flipped[0], flipped)
    return np.where(flipped & programmed, top - mine, mine)


def naive_of(programmed, x):
    """The definition on Python integers."""
    matrix = programmed.matrix
    groups = {"row_group": matrix.row_group, "out_group": matrix.out_group}
    return mvm_naive(
        x, Given(matrix.weights, matrix.macro, matrix.layout, adc=matrix.adc, cells=matrix.cells, **groups)
    )


def compare_macro(v, matrix, x, naive):
    """One macro's vectors beside the definition's codes and running sums."""
    macro, layout, ops = matrix.macro, matrix.layout, len(x)
    assert np.array_equal(v.cells, expected_cells(matrix, v))
    here = np.flatnonzero(matrix.block_of == v.row_block)
    r, c = slice(*layout.row_blocks[v.row_block]), slice(*layout.col_blocks[v.col_block])
    per_output = macro.conversions_per_output
    columns = slice(c.start * per_output, c.stop * per_output)
    place = np.tile(input_slice_weights(macro), len(here))
    assert np.array_equal(v.inputs, x[:, r].astype(np.int64) & (2**macro.input.bits - 1))
    assert np.array_equal((v.wordlines * np.abs(place)[:, None]).sum(axis=1), v.inputs)
    on = v.wordlines.any(axis=2) if macro.timing.skip_zero_slices else np.ones((ops, len(place)), bool)
    assert np.array_equal(v.driven, on)
    if macro.adc.model != "ideal":
        codes = naive.codes[:, here][..., columns].reshape(ops, len(place), -1)
        assert np.array_equal(np.where(on[..., None], v.codes, 65535), codes)
    weighed = np.where(on, place, 0)[..., None]
    if v.shift_add is not None:
        running = naive.running[:, here][..., c].reshape(ops, len(place), -1)
        assert np.array_equal(v.shift_add, running)
    elif v.column_sums is not None:
        assert np.array_equal(v.column_sums, (v.codes * weighed).cumsum(axis=1))
    else:
        counted = [((v.codes == n) * weighed).sum(axis=1) for n in range(2**macro.adc.bits)]
        assert np.array_equal(v.level_sums, np.stack(counted, axis=2))


def compare_cycles(drawn, arch, made):
    """The cycles of every operation are those that the simulation gives them."""
    plan = make_plan(drawn.network, arch)
    nonzero = Emulator(drawn.network, arch.macro).run([drawn.x]).nonzero
    events = []
    Simulation(plan).run(len(drawn.x), nonzero=nonzero or None, sink=events.append)
    joined = {name: np.concatenate([e[name] for e in events]) for name in ("kind", "start", "end")}
    mine = joined["kind"] == Kind.MACRO
    assert sorted((joined["end"] - joined["start"])[mine]) == sorted(np.concatenate([v.op_cycles for v in made.macros]))
    for v in made.macros:
        finished = np.where(v.driven[..., None], v.schedule.codes, 0).max(axis=(1, 2))
        assert (v.op_cycles >= np.maximum(1, finished + arch.macro.timing.shift_add_cycles)).all()


def compare(drawn, folder=None):
    """None where both refuse, else the layer's vectors; with a folder, written and read back too."""
    macro = cimemu.Macro.model_validate(drawn.tree)
    ops = len(drawn.x) * drawn.layer.geometry.positions
    ran, refused = outcome(lambda: Emulator(drawn.network, macro).run([drawn.x]))
    made, also = outcome(lambda: layer_vectors(drawn.network, macro, drawn.x, None, ops))
    assert refused == also, drawn
    if refused is not None:
        return None, refused
    emulator = Emulator(drawn.network, macro)
    matrix = emulator.matrices["fc"]
    whole, numbers = [], iter(made.digital)
    for unit, (x, programmed) in enumerate(zip(matrix.vectors(drawn.x), matrix.programmed)):
        naive, layout = naive_of(programmed, x), programmed.matrix.layout
        for path in ("auto", "serial"):
            assert programmed.run(x, path=path).y.tobytes() == naive.y.tobytes()
        mine = [v for v in made.macros if v.unit == unit]
        assert len(mine) == len(layout.row_blocks) * len(layout.col_blocks)
        for v in mine:
            compare_macro(v, programmed.matrix, x, naive)
        for cb, (a, b) in enumerate(layout.col_blocks):
            digital = next(numbers)
            assert digital.outputs.dtype == naive.y.dtype
            assert digital.outputs.tobytes() == np.ascontiguousarray(naive.y[:, a:b]).tobytes()
            shares = [v.outputs for v in mine if v.col_block == cb]
            if programmed.matrix.integer_result:
                assert np.array_equal(sum(shares), naive.y[:, a:b])
            else:
                assert shares == [None] * len(layout.row_blocks)
        whole.append(naive.y)
    y = np.concatenate(whole, axis=1)
    if y.dtype.kind == "i":
        zeros = np.full(len(drawn.x), drawn.layer.input_zero_point + matrix.drive_offset)
        total = y.reshape(len(drawn.x), -1, y.shape[1]) + matrix.constants(zeros)[:, None]
        seen = ran.tensors["y"]
        seen = seen if drawn.layer.layout == "rows" else np.moveaxis(seen, 1, -1)
        assert np.array_equal(seen.reshape(total.shape), total.astype(np.int32))
    arch = cimemu.load_arch("rram_128", {"chip.tiles": 64}).model_copy(update={"macro": macro})
    compare_cycles(drawn, arch, made)
    if folder is not None:
        files = write_vectors(folder, arch, "test", made, force=False)
        found = verify_dump(folder, folder)
        assert (found.files, found.difference, found.missing) == (files, None, ())
    return made, None


def reached(made, macro):
    """Which overflow really happened: running sums that the accumulator does not hold as they are."""
    if macro.accumulator_bits is None or macro.accumulator_overflow == "error":
        return None
    for v in made.macros:
        values = v.shift_add
        free = layer_free(v, macro)
        if not np.array_equal(values, free):
            return macro.accumulator_overflow
    return None


def layer_free(v, macro):
    """The running sums of a macro with an accumulator that is wide enough."""
    weights = stored_slices(np.zeros((1, 1), int), macro)[1]
    values = (
        v.codes
        if v.levels is None
        else np.take_along_axis(
            np.broadcast_to(v.levels, (v.codes.shape[2], v.levels.shape[1])),
            v.codes.reshape(-1, v.codes.shape[2]).T,
            axis=1,
        ).T.reshape(v.codes.shape)
    )
    if macro.weight.combine == "analog":
        weights = [1, -1] if macro.conversions_per_output == 2 else [1]
    elif macro.weight.subtract == "analog":
        weights = weights[: macro.conversions_per_output]
    place = np.tile(input_slice_weights(macro), v.groups)
    values = np.where(v.driven[..., None], values, 0) * place[:, None]
    return (values.reshape(*values.shape[:2], -1, len(weights)) * np.array(weights)).sum(axis=3).cumsum(axis=1)


def sweep(count, tmp_path, every, seed=1):
    """(accepted, counts by key and value, overflows reached, refusals) of `count` architectures."""
    draws, accepted, overflows, refusals = (
        drawn_macros.Draws(seed, drawn_macros.NOT_IN_VECTORS),
        0,
        Counter(),
        Counter(),
    )
    for number in range(count):
        drawn = draws.draw(number)
        made, refused = compare(drawn, tmp_path / f"v{number}" if number % every == 0 else None)
        if refused is not None:
            refusals[refused[1]] += 1
            continue
        accepted += 1
        draws.accepted(drawn)
        overflows[reached(made, cimemu.Macro.model_validate(drawn.tree))] += 1
    return accepted, draws.counts, overflows, refusals


def test_golden_vectors_are_the_emulators(tmp_path):
    accepted, _, overflows, refusals = sweep(FEW, tmp_path, every=3, seed=6)
    assert accepted >= FEW - 3
    assert overflows["saturate"] >= 1
    assert overflows["wrap"] >= 1
    for text in refusals:
        assert "macro.accumulator_bits" in text


@pytest.mark.slow
def test_golden_vectors_are_the_emulators_on_hundreds_of_architectures(tmp_path):
    accepted, counts, overflows, refusals = sweep(MANY, tmp_path, every=8)
    print(f"{accepted} of {MANY} architectures accepted; reached: {dict(overflows)}")
    for text, number in refusals.items():
        print(f"refused by both, {number}: {text}")
    assert accepted >= 300
    assert min(overflows["saturate"], overflows["wrap"]) >= 30
    for key, values in drawn_macros.VALUES.items():
        for value in values:
            if (key, value) not in drawn_macros.NOT_IN_VECTORS:
                assert counts[key, str(value)] >= 10, (key, value)
    for text in refusals:
        assert "macro.accumulator_bits" in text, "only what the contract excludes is refused"
