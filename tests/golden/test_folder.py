"""Golden vectors as a folder: whole or not at all, nothing outside it read, damaged ones told in one line."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import nets
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.golden import files as golden_files
from cimemu.golden.files import write_vectors
from cimemu.golden.format import FileEntry, read_manifest
from cimemu.golden.vectors import layer_vectors
from cimemu.golden.verify import verify_dump
from cimemu.golden.words import first_line


def small(**overrides):
    """(arch, vectors) of two operations on a few macros."""
    tree = {
        "macro.rows": 20,
        "macro.columns": 32,
        "macro.active_rows": 8,
        "macro.timing.skip_zero_slices": True,
        **overrides,
    }
    arch = cimemu.load_arch("rram_128", tree)
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 5, 4)).astype(np.uint8)
    return arch, layer_vectors(nets.residual_network(), arch.macro, x, "conv2", 2)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden") / "v"
    arch, made = small()
    write_vectors(folder, arch, "test", made, force=False)
    return folder


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_a_killed_command_leaves_nothing_under_the_name(tmp_path):
    command = [
        sys.executable,
        "-m",
        "cimemu",
        "golden",
        "rram_128",
        "digits",
        "--layer",
        "conv1",
        "--ops",
        "24",
        "--out",
        "g",
    ]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start = time.monotonic()
    while not any(tmp_path.rglob("*.hex")) and run.poll() is None and time.monotonic() - start < 60:
        time.sleep(0.0005)
    alive = run.poll() is None
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert alive, "the command had ended before it was killed"
    assert not (tmp_path / "g").exists()
    assert all(name.startswith(".g.") and name.endswith(".partial") for name in entries(tmp_path))
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert verify_dump(tmp_path / "g", tmp_path / "g").difference is None


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(golden_files, "lines_of", full)
    with pytest.raises(cimemu.TraceError, match="No space left on device"):
        write_vectors(tmp_path / "v", *small()[:1], "test", small()[1], force=False)
    assert entries(tmp_path) == []


def test_force_replaces_older_vectors_and_nothing_else(tmp_path):
    arch, made = small()
    other, changed = small(**{"macro.adc.bits": 3})
    folder = tmp_path / "v"
    folder.mkdir()
    write_vectors(folder, arch, "test", made, force=False)  # an empty folder is free
    with pytest.raises(cimemu.TraceError, match="exists already"):
        write_vectors(folder, other, "test", changed, force=False)
    write_vectors(folder, other, "test", changed, force=True)
    assert json.loads((folder / "manifest.json").read_text())["macro"]["adc"]["bits"] == 3
    (folder / "mine.txt").write_text("not to be lost")
    with pytest.raises(cimemu.TraceError, match=r"holds mine\.txt"):
        write_vectors(folder, arch, "test", made, force=True)
    assert (folder / "mine.txt").exists()
    assert entries(tmp_path) == ["v"]
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "README.md").write_text("mine")
    with pytest.raises(cimemu.TraceError, match=r"holds README\.md"):
        write_vectors(thesis, arch, "test", made, force=True)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(cimemu.TraceError, match="is a link"):
        write_vectors(tmp_path / "link", arch, "test", made, force=True)


def test_what_a_dump_lacks_is_said(vectors, tmp_path, capsys):
    dump = tmp_path / "dump"
    shutil.copytree(vectors, dump)
    name = next(iter(json.loads((vectors / "manifest.json").read_text())["macros"]))
    (dump / name / "codes.hex").unlink()
    assert verify_dump(vectors, dump).missing == (f"{name}/codes.hex",)
    assert main(["golden", "verify", str(vectors), str(dump)]) == 1
    assert capsys.readouterr().out == f"1 file is missing: {name}/codes.hex\n"
    with pytest.raises(cimemu.TraceError, match="cannot be read"):  # the vectors themselves must be whole
        verify_dump(dump, vectors)
    shutil.rmtree(dump)
    with pytest.raises(cimemu.TraceError, match="has none of the files"):
        verify_dump(vectors, dump)


def renamed(tree, part, new):
    name = next(iter(tree[part]))
    return {**tree, part: {new if key == name else key: value for key, value in tree[part].items()}}


@pytest.mark.parametrize(
    "new", ["../outside", "/etc", "macro_000_000_000/../../outside", "macro_000_000_000\n", "", "."]
)
@pytest.mark.parametrize("part", ["macros", "digital", "files"])
def test_a_path_out_of_the_folder_is_refused(vectors, tmp_path, part, new):
    folder = tmp_path / "v"
    shutil.copytree(vectors, folder)
    (tmp_path / "outside").mkdir()
    tree = json.loads((folder / "manifest.json").read_text())
    if part == "files":
        entry = next(iter(tree["macros"].values()))
        entry["files"][new] = entry["files"].pop("codes.hex")
    else:
        tree = renamed(tree, part, new)
    (folder / "manifest.json").write_text(json.dumps(tree))
    with pytest.raises(cimemu.TraceError, match=r"manifest\.json: damaged") as caught:
        verify_dump(folder, folder)
    assert "\n" not in str(caught.value)


SIDES = [("file", "vectors"), ("folder", "vectors"), ("manifest", "vectors"), ("file", "dump"), ("folder", "dump")]


@pytest.mark.parametrize(("what", "side"), SIDES)
def test_no_link_out_of_a_folder_is_followed(vectors, tmp_path, what, side):
    folder, kept = tmp_path / "v", tmp_path / "elsewhere"
    shutil.copytree(vectors, folder)
    shutil.copytree(vectors, kept)
    name = next(iter(json.loads((vectors / "manifest.json").read_text())["macros"]))
    target = {"file": f"{name}/codes.hex", "folder": name, "manifest": "manifest.json"}[what]
    shutil.rmtree(folder / target) if what == "folder" else (folder / target).unlink()
    (folder / target).symlink_to(kept / target)
    with pytest.raises(cimemu.TraceError, match="is a link out of"):
        verify_dump(*((folder, vectors) if side == "vectors" else (vectors, folder)))
    (folder / target).unlink()
    shutil.move(kept / target, folder / "inside")
    (folder / target).symlink_to(folder / "inside")  # a link inside is the folder's own affair
    assert verify_dump(*((folder, vectors) if side == "vectors" else (vectors, folder))).difference is None


def test_what_is_no_plain_file_or_too_large_is_refused(vectors, tmp_path):
    dump = tmp_path / "dump"
    shutil.copytree(vectors, dump)
    codes = next(dump.glob("macro*/codes.hex"))
    codes.unlink()
    os.mkfifo(codes)
    with pytest.raises(cimemu.TraceError, match="no plain file"):
        verify_dump(vectors, dump)
    codes.unlink()
    with codes.open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(cimemu.TraceError, match="must be <="):
        verify_dump(vectors, dump)


WORDS = [
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**40, 1e308, 0.5, "", "x", "../x", "\u0000", "macro_000_000_000", [], {}, [[]],
    [1, 2], ["op"], {"a": 1}, "9" * 5000,
]  # fmt: skip


def places(tree, path=()):
    """Every place of a JSON tree."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


def changed_structure(r, text):
    tree = json.loads(text)
    for _ in range(r.choice([1, 1, 2, 4])):
        path = r.choice(list(places(tree))[1:])
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        how = r.choice(["replace", "delete", "move", "repeat", "near"])
        if how == "delete" or not isinstance(parent, dict | list):
            del parent[path[-1]]
        elif how == "near" and type(parent[path[-1]]) is int:
            parent[path[-1]] += r.choice([-1, 1, 2, 7])
        elif how == "move" and isinstance(parent, dict):
            parent[r.choice(["op", "codes.hex", "x", "shape", "macro_000_000_009"])] = parent.pop(path[-1])
        elif how == "repeat" and isinstance(parent[path[-1]], list):
            parent[path[-1]] = parent[path[-1]] * 2
        else:
            parent[path[-1]] = r.choice(WORDS)
    return json.dumps(tree).encode()


def changed_bytes(r, data):
    data = bytearray(data)
    for _ in range(r.choice([1, 1, 3, 20])):
        at = r.randrange(len(data)) if data else 0
        how = r.choice(["flip", "cut", "insert", "nest", "end"])
        if how == "flip" and data:
            data[at] ^= 1 << r.randrange(8)
        elif how == "cut":
            del data[at : at + r.choice([1, 2, 30])]
        elif how == "insert":
            data[at:at] = bytes(r.randrange(256) for _ in range(r.choice([1, 3])))
        elif how == "nest":
            data[at:at] = b"[" * r.choice([2, 100_000])
        else:
            del data[at:]
    return bytes(data)


def mutant(vectors, folder, seed):
    """A copy of the vectors with one file changed: the manifest mostly."""
    r = random.Random(seed)
    shutil.copytree(vectors, folder)
    target = folder / "manifest.json"
    if r.random() < 0.25:
        target = r.choice(sorted(folder.glob("*/*.hex")))
    data = target.read_bytes()
    structure = target.name == "manifest.json" and r.random() < 0.7
    target.write_bytes(changed_structure(r, data) if structure else changed_bytes(r, data))
    return folder


def fuzz(vectors, tmp_path, seeds):
    """(verified, refused) mutants; any error but a CimemuError of one line fails."""
    verified = refused = 0
    for seed in seeds:
        folder = mutant(vectors, tmp_path / "m", seed)
        for pair in ((folder, vectors), (vectors, folder), (folder, folder)):
            text = None
            try:
                str(verify_dump(*pair).difference)
            except cimemu.CimemuError as error:
                text = str(error)
            verified, refused = verified + (text is None), refused + (text is not None)
            assert text is None or ("\n" not in text and len(text) < 600), (seed, text)
        shutil.rmtree(folder)
    return verified, refused


def test_mutated_vectors_are_verified_or_refused_in_one_line(vectors, tmp_path):
    verified, refused = fuzz(vectors, tmp_path, range(40))
    assert min(verified, refused) >= 20


@pytest.mark.slow
def test_hundreds_of_mutated_vectors_are_verified_or_refused_in_one_line(vectors, tmp_path):
    verified, refused = fuzz(vectors, tmp_path, range(1000, 1500))
    print(f"500 mutants, 3 comparisons each: {verified} verified, {refused} refused")
    assert min(verified, refused) >= 250


def test_a_partial_dump_is_compared_on_request(vectors, tmp_path, capsys):
    dump, name = tmp_path / "dump", next(iter(read_manifest(vectors).macros))
    (dump / name).mkdir(parents=True)
    shutil.copy(vectors / name / "codes.hex", dump / name)
    found = verify_dump(vectors, dump, ["codes", name])
    assert found.equal
    assert found.files == 1
    assert not verify_dump(vectors, dump, ["codes.hex", "wordlines", name]).equal
    assert f"{name}/wordlines.hex" in verify_dump(vectors, dump, [name]).missing
    assert f"{name}/inputs.hex" not in verify_dump(vectors, dump, [name]).missing, "inputs are given, not answered"
    assert main(["golden", "verify", str(vectors), str(dump), "--only", "codes", "--only", name]) == 0
    assert capsys.readouterr().out.startswith("equal: ")
    for wrong in ("nothing", "../codes", "manifest.json"):
        assert main(["golden", "verify", str(vectors), str(dump), "--only", wrong]) == 2
        assert "must be macros, digital" in capsys.readouterr().err


def test_a_short_file_is_named_and_decoded(vectors, tmp_path, capsys):
    dump, name = tmp_path / "dump", next(iter(read_manifest(vectors).macros))
    shutil.copytree(vectors, dump)
    codes = dump / name / "codes.hex"
    lines = codes.read_text().splitlines()
    codes.write_text("\n".join(lines[:-3]) + "\n")
    found = verify_dump(vectors, dump)
    assert not found.equal
    assert found.short == (f"{name}/codes.hex has {len(lines) - 3:,} of {len(lines):,} numbers",)
    assert found.difference.got == "nothing"
    assert main(["golden", "verify", str(vectors), str(dump)]) == 1
    assert f"1 file is short: {name}/codes.hex has" in capsys.readouterr().out


def test_json_and_junit_say_what_the_line_says(vectors, tmp_path, capsys):
    dump, name = tmp_path / "dump", next(iter(read_manifest(vectors).macros))
    shutil.copytree(vectors, dump)
    (dump / name / "op_cycles.hex").unlink()
    codes = dump / name / "codes.hex"
    lines = codes.read_text().splitlines()
    lines[1] = f"{int(lines[1], 16) ^ 1:x}"
    codes.write_text("\n".join(lines) + "\n")
    assert main(["golden", "verify", str(vectors), str(dump), "--json", "--junit", str(tmp_path / "r.xml")]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["missing"], told["short"]) == (False, [f"{name}/op_cycles.hex"], [])
    assert told["difference"]["where"] == {"op": 0, "group": 0, "slice": 0, "column": 1}
    assert told["difference"]["terms"] == {
        "image": 0, "output position": 0, "output row": 0, "output column": 0, "output channel": 0, "weight slice": 1,
    }  # fmt: skip
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    suite = next(one for one in root if one.get("name") == name)
    assert suite.get("failures") == "2"
    failed = {
        case.get("name"): case.find("failure").get("message") for case in suite if case.find("failure") is not None
    }
    assert failed == {"codes.hex": told["difference"]["text"], "op_cycles.hex": "the dump lacks this file"}
    assert sum(len(one) for one in root) == sum(len(entry.files) for entry in read_manifest(vectors).folders.values())


@pytest.mark.parametrize(
    ("word", "same"),
    [("fffe", True), ("fffffffe", True), ("3fffe", True), ("0fffe", True), ("1fffe", True), ("7fffe", True),
     ("00ffffe", False), ("5fffe", False), ("fffd", False), ("7ffe", False), ("ff_fe", True)],
)  # fmt: skip
def test_a_negative_number_may_be_written_in_more_bits(word, same):
    about = FileEntry(width_bits=16, number_bits=16, kind="signed", index=["op"], shape=[1], what="", sha256="0" * 64)
    assert (first_line(["fffe"], [word], about) is None) == same
