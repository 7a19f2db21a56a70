"""Golden vectors: consistent with the emulator, verified line by line."""

import json

import nets
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.golden.vectors import layer_vectors
from cimemu.golden.verify import verify_dump


def chip(**overrides):
    return cimemu.load_arch("rram_128", {"macro.rows": 20, "macro.columns": 32, "macro.active_rows": 8, **overrides})


def images(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 5, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"macro.timing.overlap": True, "macro.timing.skip_zero_slices": True},
        {
            "macro.weight.encoding": "differential",
            "macro.weight.subtract": "analog",
            "macro.adc": {"model": "linear", "bits": 5, "zero": -16},
        },
        {"macro.adc": "ideal"},
        {"macro.input.dac_bits": 2, "macro.cell.bits": 2},
    ],
)
def test_row_blocks_add_up_to_the_layer_and_the_files_hold_what_was_computed(tmp_path, overrides):
    arch, network = chip(**overrides), nets.residual_network()
    made = layer_vectors(network, arch.macro, images(), "conv2", 25).macros
    from cimemu.compute.forward import Emulator

    emulator = Emulator(network, arch.macro, path="naive")
    matrix = emulator.matrices["conv2"]
    source = emulator.run([images()], keep=frozenset(["a"])).tensors["a"]
    x = next(matrix.vectors(source))[:25]
    slow = matrix.programmed[0].run(x, codes=True, path="naive")
    outputs = np.zeros((25, 3), dtype=np.int64)
    layout = matrix.programmed[0].matrix.layout
    for v in made:
        c0, c1 = layout.col_blocks[v.col_block]
        outputs[:, c0:c1] += v.outputs
        assert (v.wordlines.sum(axis=2) <= v.cells.shape[0] * 3).all()
        cycles = v.schedule.codes
        assert (np.diff(np.where(v.driven, cycles.max(axis=2), 0)[v.driven.all(axis=1)], axis=1) > 0).all()
        assert (v.op_cycles > cycles.max(axis=(1, 2), where=v.driven[..., None], initial=0)).all()
    assert np.array_equal(outputs, slow.y)
    if slow.codes is not None:
        first = [v for v in made if v.col_block == 0]
        codes = [np.where(v.driven[..., None], v.codes, 65535).reshape(25, v.groups, v.slices, -1) for v in first]
        got = np.concatenate(codes, axis=1)
        assert np.array_equal(got, slow.codes[..., : got.shape[3]])


def test_the_command_writes_verifies_and_decodes_the_first_difference(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write = ["golden", "rram_128", "digits", "--layer", "down", "--ops", "4", "--out", "vectors"]
    assert main(write) == 0
    assert main(write) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*write, "--force"]) == 0
    assert main(["golden", "verify", "vectors", "vectors"]) == 0
    manifest = json.loads((tmp_path / "vectors/manifest.json").read_text())
    name = list(manifest["macros"])[1]
    about = manifest["macros"][name]["files"]["codes.hex"]
    assert about["index"] == ["op", "group", "slice", "column"]
    dump = tmp_path / "dump" / name
    dump.mkdir(parents=True)
    lines = (tmp_path / "vectors" / name / "codes.hex").read_text().splitlines()
    number = int(np.ravel_multi_index((2, 0, 5, 9), about["shape"]))
    lines[number] = "55" if int(lines[number], 16) != 0x55 else "54"
    (dump / "codes.hex").write_text("// from a simulator\n" + " ".join(lines).upper() + "\n")
    capsys.readouterr()
    assert main(["golden", "verify", "vectors", "dump"]) == 1
    out = capsys.readouterr().out
    # down is on 2 row blocks; step 5 of operation 2; column 9 is in round 1: 5 * (2 + 56) + 2 + 2 * 7 cycles
    assert f"layer down: {name}/codes.hex: op 2, group 0, slice 5, column 9, cycle 306: expected" in out
    (dump / "codes.hex").write_text("\n".join(lines[:10]))
    assert main(["golden", "verify", "vectors", "dump"]) == 1


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden") / "v"
    assert main(["golden", "rram_128", "digits", "--layer", "conv1", "--ops", "3", "--out", str(folder)]) == 0
    return folder


def dumped(vectors, folder, changes):
    """A dump of the first macro's files with some lines changed: {file: {line: word}}; the manifest's entry of it."""
    name, entry = next(iter(json.loads((vectors / "manifest.json").read_text())["macros"].items()))
    (folder / name).mkdir(parents=True)
    for file, lines in changes.items():
        words = (vectors / name / file).read_text().split()
        for line, word in lines.items():
            words[line] = word if isinstance(word, str) else f"{int(words[line], 16) ^ word:x}"
        (folder / name / file).write_text("\n".join(words))
    return verify_dump(vectors, folder).difference, entry


def test_the_earliest_difference_is_told_whatever_its_file(vectors, tmp_path):
    # 8 slices a group, 128 columns: code line 128 * 9 is the first of step 1 of operation 1
    late, soon = {"codes.hex": {128 * 9: 1}}, {"wordlines.hex": {8: 1 << 5}}
    found, entry = dumped(vectors, tmp_path / "a", {**late, **soon})
    assert (entry["slices"], entry["groups"], entry["columns"]) == (8, 1, 128)
    assert found.file == "wordlines.hex"
    assert found.where == {"op": 1, "group": 0, "slice": 0, "row": 5}
    assert (found.cycle, {found.expected, found.got}) == (0, {"0", "1"})
    found, _ = dumped(vectors, tmp_path / "b", {**late, "outputs.hex": {0: 1}, "op_cycles.hex": {0: 1}})
    assert (found.file, found.where) == ("outputs.hex", {"op": 0, "output": 0})
    assert found.cycle == 8 * (2 + 8 * 7) + 1  # the whole operation
    found, _ = dumped(vectors, tmp_path / "c", {**late, "cells.hex": {7: 1 << 31}})
    assert (found.file, found.where, found.cycle) == ("cells.hex", {"row": 7, "column": 31}, None)
    found, _ = dumped(vectors, tmp_path / "d", late)
    assert found.where == {"op": 1, "group": 0, "slice": 1, "column": 0}
    assert found.cycle == (2 + 56) + 2 + 7
    found, _ = dumped(vectors, tmp_path / "e", {"codes.hex": {5: "xx"}})
    assert found.got == "xx"


def test_negative_numbers_are_decoded(vectors, tmp_path):
    found, entry = dumped(vectors, tmp_path / "a", {"outputs.hex": {0: 0}})
    assert found is None
    bits = entry["files"]["outputs.hex"]["width_bits"]
    found, _ = dumped(vectors, tmp_path / "b", {"outputs.hex": {3: f"{(1 << bits) - 5:x}"}})
    assert found.got == "-5"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"slices": 8', '"slices": 0'),
        ('"number_bits": 1,', '"number_bits": 0,'),
        ('"index"', '"inde"'),
        ('"layer"', '"l"'),
    ],
)
def test_a_damaged_manifest_is_one_line(vectors, tmp_path, old, new):
    text = (vectors / "manifest.json").read_text()
    assert old in text
    (tmp_path / "manifest.json").write_text(text.replace(old, new))
    with pytest.raises(cimemu.TraceError, match=r"manifest\.json: damaged"):
        verify_dump(tmp_path, vectors)


def test_a_dump_of_other_things_is_one_line(vectors, tmp_path):
    with pytest.raises(cimemu.TraceError, match="must be hexadecimal"):
        dumped(vectors, tmp_path, {"codes.hex": {3: "hello"}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["golden", "rram_128", "digits"], "--out DIR"),
        (["golden", "verify", "x"], "needs DIR DUMP"),
        (["golden", "verify", "x", "y"], "no readable manifest.json"),
        (["golden", "rram_128", "digits", "--out", "v", "--layer", "nothing"], "there are stem, conv1"),
        (["golden", "rram_128", "digits", "--out", "v", "--ops", "0"], "ops = 0"),
        (
            [
                "golden",
                "rram_128",
                "digits",
                "--out",
                "v",
                "--set",
                "macro.adc.lsb=1.5",
                "--set",
                "macro.accumulator_bits=20",
            ],
            "macro.accumulator_bits = 20",
        ),
        (["golden", "rram_128", "digits", "--out", "no/v"], "cannot be written (No such file or directory)"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_changed_vectors_are_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["golden", "rram_128", "digits", "--ops", "1", "--out", "v"]) == 0
    path = next((tmp_path / "v").glob("macro*/cells.hex"))
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(cimemu.TraceError, match="does not match its checksum"):
        verify_dump(tmp_path / "v", tmp_path / "v")


def test_padding_of_a_dynamic_zero_point_is_the_images_own():
    """Two inputs: images, and a zero point for each, which padding drives."""
    from dataclasses import replace

    from cimemu.compute.forward import Emulator
    from cimemu.layer.base import TensorType

    conv = replace(nets.conv_layer("c", "x", "y", 4, 3, 2, 3), inputs=("x", "z"), dynamic_zero_point=True)
    types = {"x": TensorType((2, 4, 3), "uint8"), "z": TensorType((), "uint8")}
    network = nets.network("dynamic", [conv], types, ["y"])
    rng, macro = np.random.default_rng(4), chip().macro
    x, z = rng.integers(0, 256, (3, 2, 4, 3)).astype(np.uint8), np.array([0, 7, 250], np.uint8)
    made = layer_vectors(network, macro, {"x": x, "z": z}, None, 36)
    emulator = Emulator(network, macro)
    total = np.concatenate([d.outputs for d in made.digital], axis=1).reshape(3, 12, 3)
    acc = total + emulator.matrices["c"].constants(z.astype(np.int64))[:, None]
    ran = emulator.run([x, z]).tensors["y"]
    assert np.array_equal(np.moveaxis(conv.stage.apply(acc), 2, 1).reshape(ran.shape), ran)
    with pytest.raises(cimemu.WorkloadError, match="ops = 37"):
        layer_vectors(network, macro, {"x": x, "z": z}, None, 37)


def test_more_codes_than_memory_has_room_for_are_refused_before_the_work(monkeypatch):
    monkeypatch.setattr("cimemu.golden.vectors.MOST_CODES", 10_000)
    with pytest.raises(cimemu.WorkloadError, match=r"must be <= 10,000; use ops <= 13"):
        layer_vectors(nets.residual_network(), chip().macro, images(), "conv2", 14)
