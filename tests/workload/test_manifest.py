"""Workloads: presets, data formats, and every mistake in one line."""

import os
import pickle
import sys

import numpy as np
import pytest

import cimemu
from cimemu.layer.execute import run_float
from cimemu.workload.data import read_array, read_images
from cimemu.workload.manifest import Preprocess, prepared

MANIFEST = """
name: mine
source: made by a test
network: net.onnx
inputs: {file: data.npz}
"""


def workload(tmp_path, text=MANIFEST, **arrays):
    (tmp_path / "workload.yaml").write_text(text)
    if arrays:
        np.savez(tmp_path / "data.npz", **arrays)
    return cimemu.load_workload(tmp_path)


def refused(message, call, *arguments):
    with pytest.raises(cimemu.WorkloadError) as caught:
        call(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_presets_are_these():
    assert [name for name, _ in cimemu.list_workloads()] == [
        "cifar10_resnet20", "digits", "digits_w4a4", "imagenet_efficientnet_lite0", "imagenet_mobilenet_v2",
        "minilm_retrieval", "tiny_ad", "tiny_kws", "tiny_resnet8", "tiny_sww", "tiny_vww",
    ]  # fmt: skip
    assert all(title for _, title in cimemu.list_workloads())


def test_digits_is_classified_by_the_float_network():
    work = cimemu.load_workload("digits")
    images, labels = work.inputs()
    assert images.shape == (360, 1, 8, 8)
    assert images.dtype == np.float32
    assert work.calibration().shape == (128, 1, 8, 8)
    assert work.network.stat().st_size < 300_000
    network = cimemu.load_network(work.network)
    scores = run_float(network, {network.inputs[0]: images}, [network.outputs[0]])[network.outputs[0]]
    assert (scores.argmax(axis=1) == labels).mean() >= 0.97


def test_a_folder_a_file_and_a_name_are_given_the_same_way(tmp_path):
    by_name = cimemu.load_workload("digits")
    assert cimemu.load_workload(by_name.path).manifest == by_name.manifest
    assert cimemu.load_workload(by_name.path.parent).manifest == by_name.manifest


def test_fewer_images_are_the_first_ones():
    work = cimemu.load_workload("digits")
    few, labels = work.inputs(7)
    whole, all_labels = work.inputs()
    assert np.array_equal(few, whole[:7])
    assert np.array_equal(labels, all_labels[:7])
    refused("has 360 images, 361 asked for", work.inputs, 361)
    refused("images = 0, must be >= 1", work.inputs, 0)


def test_data_that_the_environment_must_name_says_so(monkeypatch):
    monkeypatch.delenv("CIMEMU_DATA", raising=False)
    work = cimemu.load_workload("cifar10_resnet20")
    refused("environment variable CIMEMU_DATA", work.inputs)
    refused("environment variable CIMEMU_DATA", lambda: work.network)


def test_preparation_divides_shifts_scales_and_turns_the_axes():
    stored = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    rule = Preprocess(stored="nhwc", divide=2, mean=(1, 2, 3), std=(1, 2, 4))
    made = prepared(stored, rule, "here")
    assert made.shape == (2, 3, 2, 2)
    assert made[1, 2, 0, 1] == (float(stored[1, 0, 1, 2]) / 2 - 3) / 4
    refused("preprocess.mean has 2 values", prepared, stored, Preprocess(stored="nhwc", mean=(1, 2)), "here")


def test_the_centre_is_cropped(tmp_path):
    stored = np.arange(2 * 5 * 6 * 3, dtype=np.uint8).reshape(2, 5, 6, 3)
    made = prepared(stored, Preprocess(stored="nhwc", network="nhwc", crop=3, dtype="uint8"), "here")
    assert np.array_equal(made, stored[:, 1:4, 1:4])
    turned = prepared(stored.transpose(0, 3, 1, 2), Preprocess(crop=4), "here")
    assert np.array_equal(turned, stored[:, 0:4, 1:5].transpose(0, 3, 1, 2))
    refused("preprocess.crop = 6, stored images are 5 x 6, must be at most 5", prepared, stored,
            Preprocess(stored="nhwc", crop=6), "here")  # fmt: skip
    refused("preprocess.crop = 2, stored images have 2 axes", prepared, stored[:, 0], Preprocess(crop=2), "here")


def test_labels_are_moved(tmp_path):
    moved = MANIFEST.replace("data.npz}", "data.npz, label_offset: 1}")
    labels = workload(tmp_path, moved, images=IMAGES, labels=LABELS).inputs()[1]
    assert labels.tolist() == [1, 2, 3]
    below = workload(tmp_path, moved.replace(": 1}", ": -1}"), images=IMAGES, labels=LABELS)
    refused("label_offset = -1 makes label 0 negative, must be at least 0", below.inputs)


@pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
def test_imagenet_photographs_are_decoded_cropped_and_labelled():
    pytest.importorskip("PIL.Image")
    photographs, labels = cimemu.load_workload("imagenet_efficientnet_lite0").inputs(2)
    codes, moved = cimemu.load_workload("imagenet_mobilenet_v2").inputs(2)
    assert photographs.shape == (2, 3, 224, 224)
    assert np.array_equal(codes.transpose(0, 3, 1, 2), photographs * 128 + 127)
    assert moved.tolist() == (labels + 1).tolist() == [1, 11]


def test_jpegs_need_pillow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "x.h5").write_bytes(b"x")
    refused('pip install "cimemu[jpeg]"', read_images, tmp_path / "x.h5", "hdf5_jpeg", "jpeg", None, 0, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MANIFEST + "preprocess: {crop: 0}\n", "preprocess.crop = 0, must be"),
        (MANIFEST + "quantise: {}\n", "no such key; did you mean quantize?"),
        (MANIFEST + "quantize: {activations: best}\n", "quantize.activations = 'best', must be"),
        ("name: x\nsource: y\n", "network: missing"),
        ("a: &a [1]\nb: *a\n", "aliases are not allowed"),
        ("- 1\n", "must be a workload file"),
        (MANIFEST.replace("mine", "../mine"), "name = '../mine'"),
    ],
)
def test_a_wrong_manifest_names_file_key_value_and_rule(tmp_path, text, message):
    refused(message, workload, tmp_path, text)


def test_what_is_no_workload_says_what_there_is(tmp_path):
    refused(
        "presets: cifar10_resnet20, digits, digits_w4a4, imagenet_efficientnet_lite0, imagenet_mobilenet_v2, m",
        cimemu.load_workload,
        "nothing",
    )
    (tmp_path / "net.bin").write_bytes(b"x")
    refused("write a workload.yaml", cimemu.load_workload, tmp_path / "net.bin")


IMAGES, LABELS = np.zeros((3, 1, 2, 2), np.float32), np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES, "labels": LABELS}, "no array 'images', has pictures, labels"),
        ({"images": IMAGES, "labels": LABELS[:2]}, "3 images and 2 labels"),
        ({"images": IMAGES * np.nan, "labels": LABELS}, "images[0, 0, 0, 0] = nan, must be finite"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels[0] = -1, must be >= 0"),
        ({"images": IMAGES, "labels": LABELS * 0.5}, "must be integers"),
        ({"images": np.array(["a", "b", "c"]), "labels": LABELS}, "must be numbers"),
        ({"images": np.array([{}, {}, {}], dtype=object), "labels": LABELS}, "cannot be read as npz"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, message):
    refused(message, workload(tmp_path, **arrays).inputs)


def test_broken_files_are_one_line(tmp_path):
    work = workload(tmp_path, images=IMAGES, labels=LABELS)
    whole = (tmp_path / "data.npz").read_bytes()
    for cut in (0, 10, len(whole) // 2):
        (tmp_path / "data.npz").write_bytes(whole[:cut])
        refused("cannot be read as npz", work.inputs)
    (tmp_path / "data.npz").unlink()
    refused("no such file", work.inputs)
    (tmp_path / "x.h5").write_bytes(whole)
    refused("cannot be read as hdf5", read_images, tmp_path / "x.h5", "auto", "images", None, 0, None, None)
    refused("tells no format", read_images, tmp_path / "workload.yaml", "auto", "images", None, 0, None, None)


def test_cifar10_in_its_own_formats(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 3072)).astype(np.uint8)
    labels = [3, 1, 4, 1, 5]
    (tmp_path / "batch").write_bytes(pickle.dumps({b"data": pixels, b"labels": labels}))
    images, found = read_images(tmp_path / "batch", "auto", "", None, 0, None, None)
    assert found.tolist() == labels
    # pixel (row 2, column 7) of the green plane of image 3
    assert images[3, 2, 7, 1] == pixels[3, 1024 + 2 * 32 + 7]
    records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
    (tmp_path / "batch.bin").write_bytes(records.tobytes())
    binary, again = read_images(tmp_path / "batch.bin", "auto", "", None, 1, 2, None)
    assert again.tolist() == labels[1:3]
    assert np.array_equal(binary, images[1:3])
    (tmp_path / "batch.bin").write_bytes(records.tobytes()[:-1])
    refused("must be a multiple of 3073", read_images, tmp_path / "batch.bin", "auto", "", None, 0, None, None)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_would_run_a_command_is_refused_and_does_not_run_it(tmp_path):
    target = tmp_path / "ran"
    (tmp_path / "batch").write_bytes(pickle.dumps({b"data": Hostile(target), b"labels": [0]}))
    refused("only arrays and plain values", read_images, tmp_path / "batch", "cifar10_python", "", None, 0, None, None)
    assert not target.exists()


def test_hdf5_images_and_single_arrays(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["y"] = IMAGES, LABELS
    images, labels = read_images(tmp_path / "x.h5", "auto", "x", "y", 1, None, None)
    assert images.shape == (2, 1, 2, 2)
    assert labels.tolist() == [1, 2]
    refused("no dataset 'z', has x, y", read_images, tmp_path / "x.h5", "auto", "z", None, 0, None, None)
    np.save(tmp_path / "a.npy", IMAGES)
    assert read_array(tmp_path / "a.npy").shape == IMAGES.shape
    np.savez(tmp_path / "a.npz", one=IMAGES, two=IMAGES)
    refused("name one `images`", read_array, tmp_path / "a.npz")


def test_windows_join_consecutive_rows_and_a_reconstruction_is_scored(tmp_path):
    text = (
        MANIFEST.replace("{file: data.npz}", "{file: data.npz, labels: null, window: 3}")
        + "preprocess: {dtype: int8, scale: 0.5, zero_point: 1}\n"
        + "metric: {kind: reconstruction, output_scale: 0.25, output_zero_point: 2}\n"
    )
    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    work = workload(tmp_path, text, images=rows)
    images, labels = work.inputs()
    # window 1 is rows 1 .. 3 = 2 .. 7; codes 2 v + 1
    assert images.tolist()[1] == [5, 7, 9, 11, 13, 15]
    assert images.dtype == np.int8
    assert labels is None
    assert work.inputs(2)[0].shape == (2, 6)
    refused("has 3 images, 4 asked for", work.inputs, 4)
    real = np.stack([rows[i : i + 3].reshape(-1) for i in range(3)])
    exact = (real / 0.25 + 2).astype(np.int16)
    assert work.metrics(exact, None) == {"mean_squared_error": 0.0, "auc": None}
    # every output one code (0.25) off: squared 0.0625; samples 0 (normal) and 1 tie or not by their errors
    worse = exact + np.array([[1], [1], [4]], dtype=np.int16)
    found = work.metrics(worse, np.array([0, 0, 1]))
    assert found["mean_squared_error"] == pytest.approx((0.0625 + 0.0625 + 1) / 3)
    assert found["auc"] == 1.0


def test_clips_with_a_label_each_are_scored_by_their_mean(tmp_path):
    text = (
        MANIFEST.replace("{file: data.npz}", "{file: data.npz, window: 2, first: 1}")
        + "preprocess: {dtype: int8, scale: 1.0}\nmetric: {kind: reconstruction}\n"
    )
    clips = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    work = workload(tmp_path, text, images=clips, labels=np.array([0, 1, 1]))
    images, labels = work.inputs()
    # 3 windows a clip, the first of the first clip left out
    assert images[:3].tolist() == [[2, 3, 4, 5], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert labels.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert work.inputs(4)[1].tolist() == [0, 0, 1, 1]
    refused("has 8 images, 9 asked for", work.inputs, 9)
    # window errors 9, 0 | 4, 4, 4 | 25, 0, 0: clip means 4.5 | 4 | 8.33: one of two anomalous clips above the normal one
    off = np.sqrt([9, 0, 4, 4, 4, 25, 0, 0])[:, None].astype(int)
    found = work.metrics(images + off, labels)
    assert found == {"mean_squared_error": pytest.approx(46 / 8), "auc": 0.5}
    flat = workload(tmp_path, text, images=clips[0], labels=np.array([0, 1, 1, 0]))
    refused("store [clips, rows, bins]", flat.inputs)
    short = workload(tmp_path, text, images=clips[:, :1], labels=np.array([0, 1, 1]))
    refused("windows of 2 need as many", short.inputs)


def test_a_detector_is_scored_by_false_alarms_and_misses(tmp_path):
    text = MANIFEST + "metric: {kind: detection, positive: 2}\n"
    work = workload(tmp_path, text, images=np.zeros((4, 2, 2), np.float32), labels=np.array([2, 2, 0, 1]))
    outputs = np.array([[0, 0, 9], [9, 0, 0], [0, 0, 9], [0, 9, 0]])
    assert work.metrics(outputs, np.array([2, 2, 0, 1])) == {"false_positives": 1, "false_negatives": 1}
    assert work.metrics(outputs, None) == {"false_positives": None, "false_negatives": None}


def test_the_area_under_the_curve_counts_pairs():
    from cimemu.workload.metrics import area_under_curve

    scores, labels = np.array([1.0, 3.0, 2.0, 2.0]), np.array([0, 1, 1, 0])
    # pairs (3, 1), (3, 2), (2, 1) above, (2, 2) a tie: 3.5 of 4
    assert area_under_curve(scores, labels) == 0.875
    assert area_under_curve(scores, labels * 0) is None
