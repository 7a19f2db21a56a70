"""A network trained from its first weights is written as ONNX that says the same."""

import numpy as np
import pytest

from cimemu.adapt.accuracy import predictions
from cimemu.adapt.library import torch_of
from cimemu.adapt.resnet import make_resnet
from cimemu.adapt.scratch import train_from_scratch
from cimemu.adapt.settings import Rates, TrainSettings
from cimemu.adapt.train import Keep
from cimemu.adapt.vgg import make_vgg
from cimemu.errors import WorkloadError
from cimemu.importer import load_network
from cimemu.layer.execute import run_float

SETTINGS = TrainSettings(epochs=2, images_per_epoch=96, batch=32, rates=Rates(weights=0.05), threads=1)


def test_resnet20_has_the_papers_weights():
    model = make_resnet(20)
    assert sum(p.numel() for p in model.parameters()) == 269_722  # table 6 says 0.27 M
    with pytest.raises(WorkloadError, match="must be 6 n"):
        make_resnet(21)


def test_vgg8_has_six_convolutions_and_two_linear_layers():
    model = make_vgg(width=16)
    convolutions = 9 * (3 * 16 + 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * 2 * (16 + 32 + 64)
    assert sum(p.numel() for p in model.parameters()) == convolutions + (16 * 64 + 1) * 128 + (128 + 1) * 10
    with pytest.raises(WorkloadError, match="must be a multiple of 8"):
        make_vgg(side=12)


MAKERS = {
    "resnet8": lambda side: make_resnet(8, classes=3, width=4),
    "vgg8": lambda side: make_vgg(classes=3, width=4, side=side),
}


@pytest.mark.parametrize("name", MAKERS)
def test_written_network_is_the_trained_one(name, tiny_train, tiny_test, tmp_path):
    out = tmp_path / "net.onnx"
    done = train_from_scratch(name, tiny_train, SETTINGS, out, width=4, tests={"x": tiny_test}, keep=Keep(tmp_path))
    network = load_network(out)
    scores = run_float(network, tiny_test.inputs())[network.outputs[0]]
    assert (scores.argmax(1) == tiny_test.labels).mean() == pytest.approx(done.kept["accuracy_x"])
    state = torch_of().load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    again = MAKERS[name](tiny_train.images.shape[1])
    again.load_state_dict(state)
    assert (predictions(again, tiny_test) == scores.argmax(1)).all()
    with pytest.raises(WorkloadError, match="exists already"):
        train_from_scratch(name, tiny_train, SETTINGS, out, width=4)


def test_names_and_images_that_do_not_fit(tiny_train, tmp_path):
    with pytest.raises(WorkloadError, match="can be trained from scratch"):
        train_from_scratch("vgg9", tiny_train, SETTINGS, tmp_path / "x.onnx")
    grey = type(tiny_train)(
        tiny_train.images[..., :1],
        tiny_train.labels,
        tiny_train.preprocess.model_copy(update={"mean": (0.5,), "std": (1.0,)}),
    )
    with pytest.raises(WorkloadError, match="images of 1 channels"):
        train_from_scratch("resnet8", grey, SETTINGS, tmp_path / "x.onnx")
    assert np.ndim(grey.images) == 4
    oblong = type(tiny_train)(tiny_train.images[:, :4], tiny_train.labels, tiny_train.preprocess)
    with pytest.raises(WorkloadError, match="takes square ones"):
        train_from_scratch("vgg8", oblong, SETTINGS, tmp_path / "x.onnx")


def test_the_keywords_of_training_are_the_fields_of_its_records():
    from typing import get_type_hints

    from cimemu.adapt.run import AdaptKeywords, Result
    from cimemu.adapt.train import Course, CourseKeywords

    assert get_type_hints(CourseKeywords) == get_type_hints(Course)
    assert get_type_hints(AdaptKeywords) == get_type_hints(Course) | get_type_hints(Result)
