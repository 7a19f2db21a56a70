"""Varied cells in matrices and networks: at their physical places, the same on every path, thread count and batch."""

import macros
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.macro.sites import planned_sites
from cimemu.variation.base import Block
from cimemu.variation.compose import compose

SPREAD = ["lognormal:sigma=0.2", "stuck_at:sa0=0.05,sa1=0.05"]
NETWORK = nets.residual_network()


LINES = ["stuck_wordline:off=0.05,on=0.1", "stuck_bitline:off=0.05,on=0.05"]
READS = [
    "driver:gain=0.05,inl=0.2",
    "telegraph:amplitude=0.3,share=0.6",
    "telegraph:amplitude=0.3,draw=normal",
    "telegraph:amplitude=0.2,hold=input",
    "telegraph:amplitude=0.1,occupancy=0.9,hold=image",
    "thermal:amplifier=0.4",
]
ERRORS = ["converter:offset=0.5,gain=0.02,inl=0.5,dnl=0.1,noise=0.3"]
WIRES = ["on_off:ratio=20", "ir_drop:segment_ohm=50"]


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 5, 4)).astype(np.uint8)


def chip(**overrides):
    return cimemu.load_arch("rram_128", {key.replace("__", "."): value for key, value in overrides.items()})


def drawn_block(matrix, place, site, vary, seed):
    """Cells of one block from the models alone."""
    (r0, r1), (c0, c1) = matrix.layout.row_blocks[place[0]], matrix.layout.col_blocks[place[1]]
    columns = slice(c0 * matrix.macro.columns_per_output, c1 * matrix.macro.columns_per_output)
    targets = np.ascontiguousarray(matrix.levels[r0:r1, columns])
    top = 2**matrix.macro.cell.bits - 1
    block = Block(targets.astype(float), targets, top, site.macro, site.first_column, site.write)
    for model, stream in compose(vary, seed).at("cells"):
        model.write(block, stream)
    return np.rint(block.levels * 2**matrix.macro.cell.fraction_bits), matrix.cells[r0:r1, columns]


@given(st.integers(0, 2**31))
@settings(deadline=None, derandomize=True, max_examples=6, suppress_health_check=list(HealthCheck))
def test_all_paths_give_the_same_bytes(seed):
    x, w, macro = macros.draw(seed)
    x = x[:1]
    referenced = macro.weight.correction == "reference_column"
    vary = [*SPREAD, *([] if seed % 2 or referenced else LINES), *READS, *ERRORS, *WIRES]
    slow = cimemu.mvm(x, w, macro, codes=True, path="naive", vary=vary, seed=seed)
    for path in ("auto", "fixed", "serial", "steps"):
        fast = cimemu.mvm(x, w, macro, codes=True, path=path, vary=vary, seed=seed)
        quick = cimemu.mvm(x, w, macro, path=path, vary=vary, seed=seed)
        assert quick.y.tobytes() == slow.y.tobytes()
        assert fast.y.tobytes() == slow.y.tobytes()
        assert (fast.codes is None) == (slow.codes is None) or np.array_equal(fast.codes, slow.codes)


def test_strength_zero_changes_no_byte_of_a_product():
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (5, 300)), rng.integers(-128, 128, (300, 20))
    macro = chip().macro
    plain = cimemu.mvm(x, w, macro, codes=True)
    zero = cimemu.mvm(x, w, macro, codes=True, vary=["lognormal:sigma=0", "stuck_at", "on_off:ratio=inf"], seed=3)
    assert (zero.y.dtype, zero.y.tobytes(), zero.path) == (plain.y.dtype, plain.y.tobytes(), plain.path)
    assert np.array_equal(zero.codes, plain.codes)
    assert np.array_equal(zero.counts, plain.counts)


def test_strength_zero_changes_no_byte_of_a_network():
    plain = cimemu.run(chip(), NETWORK, images(3))
    zero = cimemu.run(chip(), NETWORK, images(3), vary=["normal", "drift:seconds=20", "write_verify:sigma=0"], seed=5)
    assert plain.outputs.tobytes() == zero.outputs.tobytes()
    assert np.array_equal(plain.counts, zero.counts)
    assert (plain.cycles, plain.energy_uj) == (zero.cycles, zero.energy_uj)


@pytest.mark.parametrize("overrides", [{}, {"mapping__max_replicas": 3}, {"mapping__share_macros": False}])
def test_cells_are_drawn_at_their_place_on_the_chip(overrides):
    arch = chip(**overrides)
    plan = cimemu.make_plan(NETWORK, arch)
    emulator = Emulator(NETWORK, arch.macro)
    emulator.program(plan, SPREAD, seed=11)
    sites = planned_sites(plan)
    seen = set()
    for name, matrix in emulator.matrices.items():
        assert len(matrix.replicas) == len(sites[name]) == next(p for p in plan.layers if p.name == name).replicas
        for written, placed in zip(matrix.replicas, sites[name]):
            for programmed, unit in zip(written, placed):
                for place, site in unit.items():
                    seen.add((site.macro, site.first_column))
                    alone, here = drawn_block(programmed.matrix, place, site, SPREAD, 11)
                    assert np.array_equal(alone, here)
    assert len(seen) == len(plan.placed)


def by_position(output):
    """[images, positions, channels] of an image tensor [images, channels, rows, columns]."""
    return output.reshape(*output.shape[:2], -1).transpose(0, 2, 1)


def test_replicas_have_cells_of_their_own_and_serve_their_positions():
    arch = chip(mapping__max_replicas=2)
    plan = cimemu.make_plan(NETWORK, arch)
    emulator = Emulator(NETWORK, arch.macro)
    emulator.program(plan, SPREAD, seed=11)
    layer = next(m for m in emulator.matrices.values() if len(m.replicas) == 2)
    shape = (2, *(getattr(layer.layer.geometry, f"{name}_in") for name in ("channels", "height", "width")))
    x = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    both = layer.run(x, path="auto", threads=None, budget_bytes=1 << 30)
    first, second = layer.replicas
    assert not np.array_equal(first[0].matrix.cells, second[0].matrix.cells)
    for r, replica in enumerate((first, second)):
        layer.replicas = [replica]
        alone = layer.run(x, path="auto", threads=None, budget_bytes=1 << 30)
        assert np.array_equal(by_position(both.output)[:, r::2], by_position(alone.output)[:, r::2])
        assert not np.array_equal(both.output, alone.output)


def cells_bytes(arch, vary):
    """What the cells of NETWORK take of a memory bound."""
    emulator = Emulator(NETWORK, arch.macro, plan=cimemu.make_plan(NETWORK, arch))
    return emulator.varied_bytes(compose(vary))


@pytest.mark.parametrize("overrides", [{}, {"mapping__max_replicas": 2, "macro__timing__skip_zero_slices": True}])
def test_threads_batches_and_memory_budget_change_no_byte(overrides):
    arch, x = chip(**overrides), images(5)
    vary = [*SPREAD, *LINES, *READS, *ERRORS]
    small = 5000 + cells_bytes(arch, vary)
    whole = cimemu.run(arch, NETWORK, x, vary=vary, seed=4, trial=2)
    for options in ({"threads": 2}, {"batch": 2}, {"budget_bytes": small}, {"path": "fixed"}):
        again = cimemu.run(arch, NETWORK, x, vary=vary, seed=4, trial=2, **options)
        assert again.outputs.tobytes() == whole.outputs.tobytes()
        assert np.array_equal(again.counts, whole.counts)
        assert again.cycles == whole.cycles
    other = cimemu.run(arch, NETWORK, x, vary=vary, seed=4, trial=3)
    assert other.outputs.tobytes() != whole.outputs.tobytes()


def test_gated_reads_of_a_network_are_the_same_in_any_cut():
    arch, x = chip(macro__rows=32, macro__columns=32, macro__active_rows=16), images(2)
    vary = ["lognormal:sigma=0.1", "ir_drop:segment_ohm=20,on_ohm=1e4,rows=gated", "converter:noise=0.3"]
    whole = cimemu.run(arch, NETWORK, x, vary=vary, seed=4)
    assert whole.outputs.tobytes() != cimemu.run(arch, NETWORK, x, vary=[vary[0], vary[2]], seed=4).outputs.tobytes()
    for options in ({"threads": 2, "batch": 1}, {"budget_bytes": 5000 + cells_bytes(arch, vary)}):
        assert cimemu.run(arch, NETWORK, x, vary=vary, seed=4, **options).outputs.tobytes() == whole.outputs.tobytes()


def test_a_network_is_programmed_again_and_back_to_ideal():
    arch = chip()
    plan = cimemu.make_plan(NETWORK, arch)
    emulator = Emulator(NETWORK, arch.macro)
    ideal = emulator.run([images(2)]).tensors
    first = [emulator.program(plan, SPREAD, 1, trial) and emulator.run([images(2)]).tensors for trial in (0, 1, 0)]
    emulator.program(plan)
    back = emulator.run([images(2)]).tensors
    for name, tensor in ideal.items():
        assert np.array_equal(first[0][name], first[2][name])
        assert not np.array_equal(first[0][name], first[1][name])
        assert np.array_equal(back[name], tensor)


def test_the_trace_says_what_was_varied(tmp_path):
    out = tmp_path / "varied.h5"
    cimemu.run(chip(), NETWORK, images(1), trace=out, vary=["lognormal:sigma=0.01"], seed=9, trial=4)
    attributes = cimemu.open_trace(out).attributes
    assert attributes["vary"] == "lognormal:sigma=0.01,per=cell"
    assert (attributes["seed"], attributes["trial"], attributes["fraction_bits"]) == (9, 4, 10)


def test_mistakes_name_the_remedy():
    x, w, macro = np.ones((1, 4), int), np.ones((4, 2), int), chip().macro
    with pytest.raises(cimemu.ArchError, match="sigma has 3 values"):
        cimemu.mvm(x, w, macro, vary=["level_spread:sigma=[0.1,0.1,0.1]"])
    with pytest.raises(cimemu.ArchError, match="column_flipping with varied cells"):
        cimemu.mvm(x, w, chip(macro__weight__column_flipping=True).macro, vary=SPREAD)
    with pytest.raises(cimemu.ArchError, match="vary with cells or noise given"):
        cimemu.mvm(x, w, macro, vary=SPREAD, cells=np.zeros((4, 16)))
    with pytest.raises(cimemu.ArchError, match="stuck_wordline with a reference column"):
        cimemu.mvm(x, w, chip(macro__weight__correction="reference_column").macro, vary=LINES)


def test_write_pulses_are_charged_as_programming(tmp_path):
    reloading = {
        "mapping__share_macros": False, "chip__tiles": 1, "tile__macros": 2, "allow_reprogram": True,
        "macro__rows": 64, "macro__columns": 64,
    }  # fmt: skip
    plain = cimemu.run(chip(**reloading), NETWORK, images(2))
    assert plain.timeline.programming_cycles > 0
    thrice = cimemu.run(
        chip(**reloading), NETWORK, images(2), vary=["write_verify:sigma=0.3,tolerance=0.0,iterations=3"], seed=1
    )
    writes = plain.tally.energy_quanta[:, plain.tally.components.index("programming")].sum()
    # a cell at level 0 that would land below stays at 0 and is accepted
    assert 2 * writes < thrice.tally.energy_quanta[:, plain.tally.components.index("programming")].sum() < 3 * writes
    rows = sum(e.rows_used for layer in plain.plan.layers for e in layer.blocks)
    assert thrice.timeline.programming_cycles > plain.timeline.programming_cycles
    assert thrice.timeline.cycles - plain.timeline.cycles <= 2 * rows * plain.plan.arch.programming.row_write_cycles
    out = tmp_path / "written.h5"
    cimemu.run(chip(), NETWORK, images(1), trace=out, vary=["write_verify:sigma=0.3,iterations=3"], seed=1)
    attributes = cimemu.open_trace(out).attributes
    cells = sum(
        b.rows_used * b.physical_columns for layer in cimemu.make_plan(NETWORK, chip()).layers for b in layer.blocks
    )
    assert cells < attributes["write_pulses"] <= 3 * cells
    assert attributes["write_pj"] == attributes["write_pulses"] * 46.5
    assert attributes["write_cycles"] % 1000 == 0


def test_cells_off_the_diagonal_get_no_pulse():
    """A packed depthwise layer: pulses of its own cells alone, and one that is not programmed stays at level 0."""
    network = nets.residual_network(channels=4, groups=4)
    plan = cimemu.make_plan(network, chip())
    assert any(unit.groups > 1 for layer in plan.layers for unit in layer.units)
    owned = sum(block.cells for layer in plan.layers for block in layer.blocks)
    emulator = Emulator(network, plan.arch.macro, plan=plan)
    emulator.program(plan, ["write_verify:sigma=0.1"], 1)
    assert sum(pulses.cells for pulses in emulator.writes.values()) == owned
    emulator.program(plan, ["write_verify:sigma=0.5,iterations=2,tolerance=0.1"], 1)
    for written in emulator.matrices.values():
        for ideal, varied in zip(written.programmed, written.replicas[0]):
            made, levels = varied.matrix, ideal.matrix.levels
            if made.row_group is None:
                continue
            off = np.repeat(
                made.row_group[:, None] != made.out_group[None, :], levels.shape[1] // len(made.out_group), 1
            )
            assert off.any()
            assert not made.cells[off].any()
            assert (made.cells[~off] != levels[~off].astype(int) * made.unit).any()
