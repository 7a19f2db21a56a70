"""A tiny set of coloured images that a small network learns in seconds."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cimemu.adapt.images import ImageSet
from cimemu.workload.manifest import Preprocess

TINY = Preprocess(stored="nhwc", divide=255, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def make_images(count: int, seed: int, side: int = 8) -> ImageSet:
    """Noise with one channel brighter: the class."""
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 3, count)
    images = draws.integers(0, 160, (count, side, side, 3))
    images[np.arange(count), :, :, labels] += 60
    return ImageSet(images.astype(np.uint8), labels.astype(np.int64), TINY)


@pytest.fixture(scope="session")
def tiny_train() -> ImageSet:
    return make_images(192, 1)


@pytest.fixture(scope="session")
def tiny_test() -> ImageSet:
    return make_images(96, 2)


@pytest.fixture
def saved_sets(tmp_path, tiny_train, tiny_test) -> Path:
    """A folder with both sets, train.npz and test.npz."""
    for name, images in (("train", tiny_train), ("test", tiny_test)):
        np.savez(tmp_path / f"{name}.npz", images=images.images, labels=images.labels)
    return tmp_path


@pytest.fixture(scope="session")
def float_file(tmp_path_factory, tiny_train) -> Path:
    """A small float network that was trained a little."""
    from cimemu.adapt.scratch import train_from_scratch
    from cimemu.adapt.settings import Rates, TrainSettings

    out = tmp_path_factory.mktemp("float") / "net.onnx"
    settings = TrainSettings(epochs=6, images_per_epoch=192, batch=16, rates=Rates(weights=0.05), threads=1)
    train_from_scratch("resnet8", tiny_train, settings, out, width=4)
    return out


def pytest_collection_modifyitems(items):
    """Every test of this folder is marked torch; without the extra it is skipped and says why."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    skip = pytest.mark.skip(reason="torch is not installed")
    missing = not sys.modules.get("torch") and find_spec("torch") is None
    for item in here:
        item.add_marker(pytest.mark.torch)
        if missing:
            item.add_marker(skip)
