"""`cimemu check --against FILE.npz`: compared truly, or refused in one line."""

import io
import zipfile

import numpy as np
import pytest
from small_nets import ARCH, images, product

import cimemu
from cimemu.check.network import check_network, lossless
from cimemu.compute.forward import Emulator

COUNT = 3


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return product(tmp_path_factory.mktemp("net") / "n.onnx")


@pytest.fixture(scope="module")
def x():
    return images(COUNT, 12)


@pytest.fixture(scope="module")
def tensors(network, x):
    ran = Emulator(network, lossless(ARCH.macro)).run([x], keep=frozenset(network.types))
    return {name: np.asarray(value) for name, value in ran.tensors.items()}


@pytest.fixture
def against(tmp_path, network, x):
    def run(arrays):
        np.savez(tmp_path / "t.npz", **arrays)
        return check_network(network, ARCH.macro, x, against=str(tmp_path / "t.npz"))

    return run


def refusal(run, *arguments):
    with pytest.raises(cimemu.WorkloadError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_networks_own_tensors_agree_and_its_inputs_are_not_counted(against, tensors):
    found = against(tensors)
    assert (found.status, found.images, found.uncompared) == ("agrees", COUNT, ())
    assert {diff.name: diff.kind for diff in found.tensors} == {
        "x": "input", "xq": "integer", "yq": "integer", "y": "float"
    }  # fmt: skip
    assert found.elements == COUNT * (12 + 7 + 7)
    assert found.integers.elements == COUNT * 19
    assert found.floats.elements == COUNT * 7


def test_a_subset_is_compared_and_the_rest_is_named(against, tensors):
    found = against({"yq": tensors["yq"]})
    assert (found.status, found.elements) == ("agrees", COUNT * 7)
    assert found.uncompared == ("xq", "y")
    assert found.as_dict()["uncompared"] == ["xq", "y"]


def test_one_changed_element_is_found_wherever_it_is(against, tensors):
    for name in ("xq", "yq", "y", "x"):
        for place in [(0, 0), (COUNT - 1, tensors[name].shape[1] - 1)]:
            changed = tensors[name].copy()
            changed[place] += changed.dtype.type(1)
            found = against({**tensors, name: changed})
            assert (found.status, found.differing) == ("differs", 1)
            diff = next(d for d in found.tensors if d.differing)
            assert (diff.name, diff.first, diff.largest) == (name, place, pytest.approx(1, rel=1e-5))


STORED = {
    "big-endian": lambda v: v.astype(v.dtype.newbyteorder(">")),
    "columns first": np.asfortranarray,
    "every second of a wider one": lambda v: np.repeat(v, 2, axis=1)[:, ::2],
    "wider": lambda v: v.astype(np.float64 if v.dtype.kind == "f" else np.int64),
    "whole numbers in floats": lambda v: v.astype(np.float64),
}


@pytest.mark.parametrize("how", STORED)
def test_other_storage_of_the_same_values_agrees_and_of_others_does_not(against, tensors, how):
    assert against({name: STORED[how](value) for name, value in tensors.items()}).status == "agrees"
    changed = tensors["yq"].copy()
    changed[1, 2] ^= 1
    found = against({"yq": STORED[how](changed)})
    assert (found.differing, found.tensors[0].first) == (1, (1, 2))


def test_values_that_an_integer_type_would_wrap_onto_ours_differ(against, tensors):
    ours = tensors["yq"]
    wrapped = ours.astype(np.int64).astype(np.uint64)
    assert against({"yq": wrapped}).differing == int((ours < 0).sum()) > 0
    assert against({"yq": ours.astype(np.int64) + 256}).differing == ours.size
    assert against({"yq": ours + 0.25}).differing == ours.size
    for odd in (np.nan, np.inf, -np.inf, 1e300):
        assert against({"yq": np.full(ours.shape, odd)}).differing == ours.size


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_no_number_is_a_difference_and_json_says_so(against, tensors, odd):
    found = against({"y": np.full(tensors["y"].shape, odd, np.float32)})
    assert (found.status, found.differing) == ("differs", tensors["y"].size)
    assert found.as_dict()["differences"][0]["largest"] == np.inf


REFUSED = {
    "no arrays": (lambda t: {}, "holds no arrays"),
    "no images": (lambda t: {k: v[:0] for k, v in t.items()}, "0 images"),
    "no images of one": (lambda t: {"yq": t["yq"][:0]}, "0 images"),
    "fewer of one": (lambda t: {**t, "yq": t["yq"][:1]}, r"of \[1, 3\] images"),
    "more than given": (lambda t: {"yq": np.tile(t["yq"], (2, 1))}, "has 6 images, 3 inputs are given"),
    "misspelt": (lambda t: {"yq": t["yq"], "xq_": t["xq"]}, "'xq_' is no tensor of the network"),
    "two misspelt": (lambda t: {"a": t["yq"], "b": t["xq"]}, "1 names more"),
    "misspelt over two lines": (lambda t: {"y\nq\x1b[31m": t["yq"]}, r"'y\\x0aq\\x1b\[31m' is no tensor"),
    "a constant": (lambda t: {"yq": t["yq"], "w": t["xq"]}, "'w' is a constant"),
    "inside one step": (lambda t: {"yq": t["yq"], "r": t["y"]}, "'r' lies inside"),
    "inputs alone": (lambda t: {"x": t["x"]}, "inputs alone"),
    "complex": (lambda t: {"yq": t["yq"] + 5j}, "complex numbers"),
    "text": (lambda t: {"yq": t["yq"].astype(str)}, "text"),
    "bytes": (lambda t: {"yq": t["yq"].astype("S4")}, "text"),
    "objects": (lambda t: {"yq": t["yq"].astype(object)}, "Python objects"),
    "records": (lambda t: {"yq": np.zeros(3, [("a", "i4")])}, "records"),
    "dates": (lambda t: {"yq": t["yq"].astype("datetime64[s]")}, "dates"),
    "scalar": (lambda t: {"yq": np.int8(3)}, r"shape \(\)"),
    "another shape": (lambda t: {"yq": t["yq"][:, :-1]}, r"shape \(3, 6\), must be \[images, 7\]"),
    "an axis more": (lambda t: {"yq": t["yq"][:, None]}, "must be"),
    "half precision": (lambda t: {"y": t["y"].astype(np.float16)}, "float16, must be float32"),
    "integers for floats": (lambda t: {"y": t["y"].astype(np.int32)}, "int32, must be float32"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_compared_is_refused(against, tensors, what):
    make, said = REFUSED[what]
    with pytest.raises(cimemu.WorkloadError, match=said) as caught:
        against(make(tensors))
    assert "\n" not in str(caught.value)


def test_wide_floats_are_refused_where_there_are_any(against, tensors):
    if np.dtype(np.longdouble).itemsize > 8:
        assert "at most float64" in refusal(against, {"yq": tensors["yq"].astype(np.longdouble)})


def entry(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    return stream.getvalue()


def test_a_file_that_is_no_plain_npz_is_one_line(tmp_path, network, x, tensors):
    path = tmp_path / "t.npz"

    def check():
        return check_network(network, ARCH.macro, x, against=str(path))

    assert "no such file" in refusal(check)
    path.mkdir()
    assert "is a folder, name an .npz" in refusal(check)
    path.rmdir()
    np.save(tmp_path / "t.npy", tensors["yq"])
    path.write_bytes((tmp_path / "t.npy").read_bytes())
    assert "not a readable .npz" in refusal(check)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("yq.npy", entry(tensors["yq"]))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("yq.npy", entry(tensors["yq"] + 1))
    assert "twice" in refusal(check)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("yq", entry(tensors["yq"]))
        archive.writestr("yq.npy", entry(tensors["yq"] + 1))
    assert "twice" in refusal(check)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("yq", b"some notes")
    assert "no plain array" in refusal(check)


def test_damaged_files_are_one_line_or_a_difference(tmp_path, network, x, tensors):
    path = tmp_path / "t.npz"
    np.savez_compressed(path, yq=tensors["yq"], y=tensors["y"])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(150):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if number % 3 == 0 else whole)
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = int(rng.integers(0, 256))
        path.write_bytes(damaged)
        try:
            found = check_network(network, ARCH.macro, x, against=str(path))
        except cimemu.CimemuError as error:
            refused += "\n" not in str(error)
        else:
            assert found.elements
            refused += 1
    assert refused == 150


def test_nothing_is_unpickled(tmp_path, network, x):
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    np.savez(tmp_path / "t.npz", yq=np.array([Trap()] * 3, dtype=object))
    with pytest.raises(cimemu.WorkloadError, match="Python objects"):
        check_network(network, ARCH.macro, x, against=str(tmp_path / "t.npz"))
    assert not marker.exists()


def test_no_images_are_refused_whatever_the_reference(network):
    pytest.importorskip("onnxruntime")
    with pytest.raises(cimemu.WorkloadError, match="no images"):
        check_network(network, ARCH.macro, images(0, 12))
    with pytest.raises(cimemu.WorkloadError, match="batch = 0"):
        check_network(network, ARCH.macro, images(2, 12), batch=0)


def test_a_difference_in_a_later_batch_has_its_own_coordinate(tmp_path, network, tensors, x):
    changed = tensors["yq"].copy()
    changed[2, 5] += 1
    np.savez(tmp_path / "t.npz", yq=changed)
    for batch in (1, 2, 3, 64):
        found = check_network(network, ARCH.macro, x, against=str(tmp_path / "t.npz"), batch=batch)
        assert (found.differing, found.tensors[0].first) == (1, (2, 5))
