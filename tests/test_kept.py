"""What a run keeps with its network changes no figure of a later run, and follows every change."""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import h5py
import nets
import numpy as np
import pytest

import cimemu
from cimemu import kept

CHIPS = {
    "exact": {},
    "clamp": {"macro.adc.bits": 4},
    "step": {"macro.adc.bits": 5, "macro.adc.lsb": 2.5},
    "skipping": {"macro.timing.skip_zero_slices": True},
    "pipelined": {"schedule": "pipelined"},
    "in phases": {"chip.tiles": 1, "tile.macros": 2},
}
ASKED = (
    {},
    {"threads": 2},
    {"detail": None},
    {"detail": "cycles"},
    {"path": "serial"},
    {"vary": ["lognormal:sigma=0.2"], "seed": 3},
    {"path": "naive", "detail": None},
    {},
)


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 5, 4)).astype(np.uint8)


def figures(result):
    """Everything that a run gives, as bytes and numbers."""
    found = [result.outputs.tobytes(), result.counts.tobytes(), result.cycles, result.energy_uj, result.paths]
    if result.timeline is not None:
        values = [getattr(result.timeline, field.name) for field in fields(result.timeline)]
        found += [value.tobytes() if isinstance(value, np.ndarray) else value for value in values]
        found.append(result.tally.image_quanta.tolist())
    return found


def fresh():
    return replace(nets.residual_network())


@pytest.mark.parametrize("name", CHIPS)
def test_a_run_after_others_gives_what_a_first_one_gives(name):
    arch, network = cimemu.load_arch("rram_128", CHIPS[name]), fresh()
    for number, asked in enumerate((*ASKED, *reversed(ASKED))):
        x = images(1 + 2 * (number % 3), number)
        assert figures(cimemu.run(arch, network, x, **asked)) == figures(cimemu.run(arch, replace(network), x, **asked))


def test_chips_in_turn_are_told_apart():
    network, archs = fresh(), [cimemu.load_arch("rram_128", changes) for changes in CHIPS.values()]
    first = [figures(cimemu.run(arch, fresh(), images(2))) for arch in archs]
    for number, _ in itertools.product(range(len(archs)), range(2)):
        assert figures(cimemu.run(archs[number], network, images(2))) == first[number]


@pytest.mark.parametrize("name", ["weight", "weight_zero_point", "bias"])
def test_arrays_that_are_changed_in_place_are_noticed(name):
    arch, network = cimemu.load_arch("rram_128"), fresh()
    cimemu.run(arch, network, images(2))
    layer = next(layer for layer in network.layers if layer.on_macros)
    array = getattr(layer, name)
    array.flags.writeable = True
    array += 1
    changed = figures(cimemu.run(arch, network, images(2)))
    assert changed == figures(cimemu.run(arch, replace(network), images(2)))
    array -= 1
    assert changed != figures(cimemu.run(arch, network, images(2)))


def test_a_result_is_its_owners():
    arch, network = cimemu.load_arch("rram_128"), fresh()
    for _ in range(2):
        result = cimemu.run(arch, network, images(2))
        result.timeline.busy[:] = -1
        result.counts[:] = -1
    assert figures(cimemu.run(arch, network, images(2))) == figures(cimemu.run(arch, fresh(), images(2)))


def test_runs_of_one_network_at_the_same_time():
    arch, network = cimemu.load_arch("rram_128", CHIPS["clamp"]), fresh()
    want = [figures(cimemu.run(arch, fresh(), images(2, seed))) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: figures(cimemu.run(arch, network, images(2, seed))), range(8)))
    assert found == want


def test_what_is_kept_is_no_part_of_the_network():
    arch, network = cimemu.load_arch("rram_128"), fresh()
    cimemu.run(arch, network, images(1))
    assert network.kept
    assert "kept" not in vars(pickle.loads(pickle.dumps(network)))
    assert not replace(network).kept


def test_cells_of_a_large_network_are_not_kept(monkeypatch):
    monkeypatch.setattr(kept, "MOST_WEIGHTS", 10)
    arch, network = cimemu.load_arch("rram_128"), fresh()
    first = figures(cimemu.run(arch, network, images(2)))
    assert network.kept["run"]._emulator is None
    assert figures(cimemu.run(arch, network, images(2))) == first


def test_the_second_run_writes_no_cells_and_simulates_nothing(monkeypatch):
    arch, network = cimemu.load_arch("rram_128"), fresh()
    first = figures(cimemu.run(arch, network, images(2)))
    for name in ("Emulator", "Simulation", "make_plan"):
        monkeypatch.setattr(kept, name, None)
    told = []
    again = cimemu.run(arch, network, images(2), progress=lambda *given: told.append(given))
    assert figures(again) == first
    assert told[-1] == ("timing", 2, 2)


def test_a_network_made_for_another_converter_is_priced_by_its_own(tmp_path):
    """A network that brings widths and converters of its own costs what the chip with these keys costs."""
    work, plain = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    x, _ = work.inputs(2)
    keys = {"macro.adc.bits": 5, "macro.input.bits": 6}
    made = cimemu.quantize(
        cimemu.load_network(work.network), cimemu.load_arch("rram_128", keys), work.calibration()[:16]
    )
    brought = replace(made, overrides=keys)
    cimemu.run(plain, brought, x, trace=tmp_path / "a.h5")
    own = cimemu.run(cimemu.load_arch("rram_128", keys), made, x)
    seen = cimemu.run(plain, brought, x)
    assert seen.energy_uj == own.energy_uj != cimemu.run(plain, made, x).energy_uj
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["check/holds"][()].all()
