"""A drawn chip as a file: what runs on it is what ran when it was drawn, to the byte; a measured one in the same form."""

import h5py
import numpy as np
import pytest

import cimemu
from cimemu.check.network import check_network, lossless
from cimemu.cli import main
from cimemu.compute.forward import Emulator
from cimemu.drawn_chip import FAULTS
from cimemu.golden.vectors import layer_vectors
from cimemu.variation.parse import make_variation, spelled

DRAWN = [
    ["lognormal:sigma=0.1"],
    ["lognormal:sigma=0.1", "stuck_at:sa0=0.02,sa1=0.01", "drift:seconds=3600"],
    ["on_off:ratio=20", "lognormal:sigma=0.05", "thermal:amplifier=0.4", "ir_drop:segment_ohm=2,solver=fast"],
    ["write_verify:sigma=0.2", "converter:offset=0.5,gain=0.02,inl=0.3,dnl=0.1,noise=0.2", "converter:offset=0.2"],
    ["stuck_wordline:off=0.02", "stuck_bitline:off=0.01", "driver:gain=0.02", "telegraph:amplitude=0.2"],
]


@pytest.fixture(scope="module")
def digits():
    work = cimemu.load_workload("digits")
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 6})
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:32])
    return arch, network, work.inputs(6)[0]


def ran(digits, vary, **more):
    arch, network, images = digits
    return cimemu.run(arch, network, images, vary=vary, **more)


def same(a, b):
    assert a.outputs.tobytes() == b.outputs.tobytes()
    assert a.energy_uj == b.energy_uj
    assert a.cycles == b.cycles


@pytest.mark.parametrize("vary", DRAWN, ids=lambda vary: vary[0].partition(":")[0])
def test_a_run_on_the_file_is_the_run_on_the_drawn_chip(digits, vary, tmp_path):
    arch, network, images = digits
    cimemu.write_chip(tmp_path / "chip.h5", arch, network, vary=vary, seed=11, trial=3)
    known = [{"model": "chip", "file": str(tmp_path / "chip.h5")}]
    same(ran(digits, vary, seed=11, trial=3), ran(digits, known))
    drawn, read = (
        layer_vectors(
            network, arch.macro, images, "conv1", 4, plan=cimemu.make_plan(network, arch), vary=v, seed=s, trial=t
        )
        for v, s, t in ((vary, 11, 3), (known, 0, 0))
    )
    for a, b in zip(drawn.macros, read.macros):
        assert np.array_equal(a.cells, b.cells)
        assert np.array_equal(a.codes, b.codes)


def test_reads_go_on_from_those_of_the_drawn_chip_and_cells_stay(digits, tmp_path):
    arch, network, _ = digits
    vary = ["lognormal:sigma=0.1", "thermal:amplifier=0.4"]
    cimemu.write_chip(tmp_path / "chip.h5", arch, network, vary=vary, seed=11)
    known = [{"model": "chip", "file": str(tmp_path / "chip.h5")}]
    outputs = [ran(digits, known, trial=trial).outputs for trial in (0, 0, 1)]
    assert np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])
    cells = [
        cimemu.run(arch, network, digits[2], vary=[*known, "thermal:amplifier=0.1"], trial=trial).accuracy
        for trial in (0, 1)
    ]
    assert cells == [None, None]  # models beside the file act too


def test_the_file_says_what_it_holds(digits, tmp_path):
    arch, network, _ = digits
    vary = ["stuck_at:sa0=0.1,sa1=0.05", "converter:offset=0.5"]
    totals = cimemu.write_chip(tmp_path / "chip.h5", arch, network, vary=vary, seed=2, on_ohm=2e5)
    with h5py.File(tmp_path / "chip.h5") as file:
        assert file.attrs["arch"] == arch.name
        macros = file["macros"]
        assert len(macros) == totals["macros"]
        group = macros["00000/writing_0"]
        assert group["levels"].shape == (arch.macro.rows, arch.macro.columns)
        assert [group[name].attrs["unit"] for name in ("targets", "levels", "conductances", "faults")] == [
            "level",
            "level",
            "S",
            "",
        ]
        levels, targets, faults = (np.asarray(group[name]) for name in ("levels", "targets", "faults"))
        assert np.allclose(np.asarray(group["conductances"]), levels / 2e5)
        assert len(FAULTS) == 3
        assert (levels[faults == 1] == 0).all()
        assert (levels[faults == 2] == 1).all()
        assert np.array_equal(levels[faults == 0], targets[faults == 0])
        share = [float((faults == kind).mean()) for kind in (1, 2)]
        assert np.allclose(share, [0.1, 0.05], atol=0.01)
        converters = macros["00000/converters"]
        assert converters["transitions"].shape[1:] == (arch.macro.columns // arch.macro.columns_per_adc, 63)
        assert 0.3 < np.asarray(converters["transitions"])[0, :, 0].std() < 0.8


def measured(path, source, change):
    """A chip file with nothing but conductances, as a tester would write it."""
    with h5py.File(source) as drawn, h5py.File(path, "w") as file:
        file.attrs.update(cimemu_chip=1, low_S=1e-6, high_S=11e-6)
        for macro, group in drawn["macros"].items():
            data = file.create_dataset(
                f"macros/{macro}/writing_0/conductances", data=1.0 + 10 * np.asarray(group["writing_0/levels"])
            )
            data.attrs["unit"] = "uS"
        change(file)


def test_a_measured_chip_in_the_same_form(digits, tmp_path):
    arch, network, _ = digits
    cimemu.write_chip(tmp_path / "drawn.h5", arch, network, vary=["stuck_at:sa0=0.1,sa1=0.05"], seed=2)
    measured(tmp_path / "measured.h5", tmp_path / "drawn.h5", lambda file: None)
    same(
        ran(digits, ["stuck_at:sa0=0.1,sa1=0.05"], seed=2),
        ran(digits, [{"model": "chip", "file": str(tmp_path / "measured.h5")}]),
    )


def set_cell(file, value):
    file["macros/00000/writing_0/conductances"][3, 4] = value


def rename(file, name, to):
    file.move(name, to)


WRONG = [
    (lambda file: file["macros"].__delitem__("00000"), "has no macro 0, which the network uses"),
    (lambda file: rename(file, "macros/00000/writing_0", "macros/00000/writing_1"), "has no writing 0"),
    (lambda file: set_cell(file, float("nan")), "macro 0, row 3, column 4: conductances nan, must be 0 or more"),
    (lambda file: file.attrs.__setitem__("high_S", 1e-7), "must be 0 <= low_S < high_S"),
    (lambda file: file.attrs.__delitem__("low_S"), "has no attribute low_S"),
    (lambda file: file.attrs.__setitem__("cell_bits", 2), "cells of 2 bits, the arch's have 1"),
    (lambda file: file.attrs.__setitem__("cimemu_chip", 99), "chip file of form 99"),
    (lambda file: file.attrs.__delitem__("cimemu_chip"), "is no chip file"),
    (
        lambda file: file["macros/00000/writing_0/conductances"].attrs.__setitem__("unit", "ohm"),
        "unit = ohm, must be one of",
    ),
    (
        lambda file: file.create_dataset("macros/00000/writing_0/targets", data=np.full((128, 128), 7, np.uint8)),
        "was written to level 7, this network writes",
    ),
    (
        lambda file: file.require_group("macros/00000/converters").update(
            {"transitions": np.zeros((3, 5)), "gain": np.zeros(3)}
        ),
        "3 converters of 5 thresholds, the network has",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message[:30] for _, message in WRONG])
def test_what_is_wrong_with_a_file_is_said_in_one_line(digits, change, message, tmp_path):
    arch, network, _ = digits
    cimemu.write_chip(tmp_path / "drawn.h5", arch, network, vary=["lognormal:sigma=0.1"])
    measured(tmp_path / "measured.h5", tmp_path / "drawn.h5", change)
    with pytest.raises(cimemu.CimemuError, match=r"\A[^\n]*\Z") as error:
        ran(digits, [{"model": "chip", "file": str(tmp_path / "measured.h5")}])
    assert message in str(error.value)


def test_a_chip_survives_its_own_spelling(digits, tmp_path):
    arch, network, _ = digits
    cimemu.write_chip(tmp_path / "chip.h5", arch, network, vary=["lognormal:sigma=0.1"])
    model = make_variation({"model": "chip", "file": str(tmp_path / "chip.h5")})
    assert make_variation(spelled(model)) == model
    assert (model.owner, model.is_identity) == ("device", False)


def test_what_is_no_chip_and_what_draws_none(digits, tmp_path):
    arch, network, _ = digits
    (tmp_path / "text.h5").write_text("levels")
    for file, message in ((tmp_path / "text.h5", "is no HDF5 file"), (tmp_path / "none.h5", "no such file")):
        with pytest.raises(cimemu.ArchError, match=message):
            ran(digits, [{"model": "chip", "file": str(file)}])
    with pytest.raises(cimemu.CimemuError, match="nothing varies"):
        cimemu.write_chip(tmp_path / "chip.h5", arch, network, vary=[])
    cimemu.write_chip(tmp_path / "chip.h5", arch, network, vary=["lognormal:sigma=0.1"])
    with pytest.raises(cimemu.ArchError, match="is a chip file already"):
        cimemu.write_chip(
            tmp_path / "again.h5", arch, network, vary=[{"model": "chip", "file": str(tmp_path / "chip.h5")}]
        )
    assert not (tmp_path / "again.h5").exists()


def test_check_says_how_far_a_chip_moves_every_layer(digits, tmp_path, capsys):
    arch, network, _ = digits
    chip = tmp_path / "chip.h5"
    cimemu.write_chip(chip, arch, network, vary=["stuck_at:sa0=0.01"], seed=3)
    words = ["check", "rram_128", "digits", "--images", "4", "--set", "macro.adc.bits=6", "--chip", str(chip)]
    assert main(words) == 0  # the lossless comparison stays what it is
    assert "What the chip's own converters and cells move outputs by" in capsys.readouterr().out
    images, _ = cimemu.load_workload("digits").inputs(4)
    emulator, plan = Emulator(network, arch.macro), cimemu.make_plan(network, arch)
    outputs = [network.layers[0].outputs[0], network.outputs[0]]
    ideal = Emulator(network, lossless(arch.macro)).run([images], keep=frozenset(outputs)).tensors
    emulator.program(plan, [{"model": "chip", "file": str(chip)}])
    drawn = emulator.run([images], keep=frozenset(outputs)).tensors
    vary = [{"model": "chip", "file": str(chip)}]
    found = check_network(network, arch.macro, images, plan=plan, vary=vary, batch=3)
    rows = {row.name: row for row in found.movement}
    for name in outputs:
        if name in rows:
            assert rows[name].moved == (ideal[name] != drawn[name]).sum()
    assert any(row.moved for row in found.movement)
    assert main([*words, "--float"]) == 2
    assert "--chip with --float" in capsys.readouterr().err
