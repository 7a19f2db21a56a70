"""Images in a seeded order, changed at random, and JPEGs that are decoded once."""

import io

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cimemu.adapt.images import batches, changed, draw_epoch, load_images
from cimemu.adapt.settings import Augment
from cimemu.errors import WorkloadError
from cimemu.workload.manifest import DataSource, Preprocess


def test_crop_and_mirror_are_what_they_say():
    image = np.arange(2 * 3 * 1, dtype=np.uint8).reshape(1, 2, 3, 1) + 1  # 1 2 3 / 4 5 6
    same = changed(image, np.array([[1, 1]]), np.array([False]), 1, "nhwc")
    assert same[0, :, :, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    moved = changed(image, np.array([[0, 2]]), np.array([False]), 1, "nhwc")
    assert moved[0, :, :, 0].tolist() == [[0, 0, 0], [2, 3, 0]]
    mirrored = changed(image, np.array([[0, 2]]), np.array([True]), 1, "nhwc")
    assert mirrored[0, :, :, 0].tolist() == [[0, 0, 0], [0, 3, 2]]
    planes = changed(image.transpose(0, 3, 1, 2), np.array([[0, 2]]), np.array([True]), 1, "nchw")
    assert planes[0, 0].tolist() == [[0, 0, 0], [0, 3, 2]]


@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 3))
def test_epochs_cut_whole_shuffles(total, wanted, seed):
    epochs = -(-2 * total // wanted)
    drawn = [draw_epoch(total, wanted, Augment(crop_pad=4, flip=True), seed, e) for e in range(epochs)]
    order = np.concatenate([d.order for d in drawn])
    for turn in range(len(order) // total):
        assert sorted(order[turn * total : (turn + 1) * total]) == list(range(total))
    again = draw_epoch(total, wanted, Augment(crop_pad=4, flip=True), seed, epochs - 1)
    assert (again.order == drawn[-1].order).all()
    assert (again.shifts == drawn[-1].shifts).all()
    assert drawn[0].shifts.min() >= 0
    assert drawn[0].shifts.max() <= 8


def test_a_batch_does_not_depend_on_where_one_starts(tiny_train):
    epoch = draw_epoch(len(tiny_train), 100, Augment(crop_pad=4, flip=True), 5, 2)
    whole = list(batches(tiny_train, epoch, Augment(crop_pad=4, flip=True), 32))
    assert [len(labels) for _, labels in whole] == [32, 32, 32, 4]
    late = list(batches(tiny_train, epoch, Augment(crop_pad=4, flip=True), 32, first=2))
    for (x, labels), (same, truth) in zip(whole[2:], late):
        assert (x == same).all()
        assert (labels == truth).all()
    plain = Augment(crop_pad=0, flip=False)
    x, labels = next(batches(tiny_train, draw_epoch(len(tiny_train), 100, plain, 5, 2), plain, 32))
    assert (x == tiny_train.inputs(epoch.order[:32])).all()
    assert (labels == tiny_train.labels[epoch.order[:32]]).all()


def jpeg_file(path, count=5):
    draws = np.random.default_rng(0)
    pieces, images = [], []
    for _ in range(count):
        file = io.BytesIO()
        Image.fromarray(draws.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(file, "JPEG", quality=90)
        pieces.append(np.frombuffer(file.getvalue(), dtype=np.uint8))
        images.append(np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")))
    with h5py.File(path, "w") as file:
        file["jpeg"] = np.concatenate(pieces)
        file["offsets"] = np.cumsum([0, *(len(p) for p in pieces)])
        file["labels"] = np.arange(count)
    return np.stack(images)


def test_jpegs_are_decoded_once_and_kept(tmp_path, monkeypatch):
    images = jpeg_file(tmp_path / "train.h5")
    source = DataSource(file="train.h5", format="hdf5_jpeg", images="jpeg")
    first = load_images(source, Preprocess(), folder=tmp_path, cache=tmp_path / "cache")
    assert (first.images == images).all()
    assert first.labels.tolist() == [0, 1, 2, 3, 4]
    kept = list((tmp_path / "cache").iterdir())
    assert [path.suffix for path in kept] == [".npz"]
    monkeypatch.setattr(Image, "open", None)  # would fail if a JPEG were opened again
    again = load_images(source, Preprocess(), folder=tmp_path, cache=tmp_path / "cache")
    assert (again.images == images).all()
    monkeypatch.undo()
    part = source.model_copy(update={"first": 1, "limit": 2})
    other = load_images(part, Preprocess(), folder=tmp_path, cache=tmp_path / "cache")
    assert (other.images == images[1:3]).all()
    assert other.labels.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f["offsets"].__setitem__(2, 0), "offsets do not cut"),
        (lambda f: f["jpeg"].__setitem__(slice(0, 4), 0), "cannot be read as hdf5_jpeg"),
        (lambda f: f.__delitem__("offsets"), "no dataset 'offsets'"),
    ],
)
def test_damaged_jpeg_files_are_one_line(tmp_path, spoil, message):
    jpeg_file(tmp_path / "train.h5")
    with h5py.File(tmp_path / "train.h5", "r+") as file:
        spoil(file)
    with pytest.raises(WorkloadError, match=message):
        load_images(
            DataSource(file="train.h5", format="hdf5_jpeg", images="jpeg"),
            Preprocess(),
            folder=tmp_path,
            cache=tmp_path,
        )


def test_images_without_labels_are_refused(tmp_path):
    with pytest.raises(WorkloadError, match="need labels"):
        load_images(DataSource(file="x.npz", labels=None), Preprocess(), folder=tmp_path)
    with pytest.raises(WorkloadError, match=r"x\.npz: no such file"):
        load_images(DataSource(file="x.npz"), Preprocess(), folder=tmp_path)
