"""Which epoch is kept: the best on images that are not trained on, the start among them; and what is said of a bad end."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, make_images
from test_train import SETTINGS, KilledError, fresh, weights

from cimemu.adapt.held_back import Held, Judge, Score, Trained, hold_back
from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import torch_of
from cimemu.adapt.settings import Augment, HoldBack
from cimemu.adapt.train import CHECKPOINT, Hooks, Keep, train, train_and_keep
from cimemu.cli import main
from cimemu.errors import WorkloadError


def test_a_part_is_held_back_that_the_seed_alone_says():
    data = make_images(200, 5)
    kept, held = hold_back(data, HoldBack(share=0.25, seed=3))
    assert (len(kept), len(held)) == (150, 50)
    both = np.concatenate([kept.images, held.images]).reshape(200, -1)
    assert len(np.unique(both, axis=0)) == len(np.unique(data.images.reshape(200, -1), axis=0))
    again = hold_back(data, HoldBack(share=0.25, seed=3))[1]
    other = hold_back(data, HoldBack(share=0.25, seed=4))[1]
    assert (held.images == again.images).all()
    assert (held.labels == again.labels).all()
    assert (held.images != other.images).any()
    assert len(hold_back(data, HoldBack(share=0.5, largest=7))[1]) == 7
    whole, none = hold_back(data, HoldBack(share=0))
    assert none is None
    assert whole is data


def test_more_right_answers_are_better_and_of_as_many_the_lower_loss():
    assert Score(8, 10, 9.0).better_than(Score(7, 10, 0.1))
    assert Score(8, 10, 0.1).better_than(Score(8, 10, 0.2))
    assert not Score(8, 10, float("nan")).better_than(Score(8, 10, 5.0))
    assert not Score(8, 10, 0.2).better_than(Score(8, 10, 0.2))


def ruined_from(step: int) -> Hooks:
    """All weights 0 behind this step and all later ones."""

    def ruin(model):
        ruin.step += 1
        if ruin.step > step:
            for parameter in model.parameters():
                parameter.data.zero_()

    ruin.step = 0
    return Hooks(after_step=ruin)


LONGER = SETTINGS.model_copy(update={"epochs": 4, "images_per_epoch": 160, "batch": 16})  # 10 steps an epoch


@pytest.mark.parametrize(("step", "epoch"), [(20, 2), (0, 0)])
def test_the_best_epoch_is_kept_and_a_worse_end_is_told(step, epoch, tiny_train, tiny_test, tmp_path):
    data, held = hold_back(tiny_train, HoldBack(share=0.15))
    model, untouched = fresh(), fresh()
    if epoch == 0:  # a start that has learned already
        for each in (model, untouched):
            train(each, data, LONGER)
    done = train_and_keep(
        model,
        data,
        LONGER,
        held=Held(held, Judge()),
        tests={"x": tiny_test},
        keep=Keep(tmp_path),
        hooks=ruined_from(step),
    )
    assert done.kept["epoch"] == epoch
    if epoch:
        twin = LONGER.model_copy(update={"schedule": "cosine"})
        with pytest.raises(KilledError):
            train(untouched, data, twin, hooks=Hooks(before_step=stop_at(step)))
    assert weights(model) == weights(untouched)
    kept = torch_of().load(tmp_path / CHECKPOINT, weights_only=True)
    assert {name: value.numpy().tobytes() for name, value in kept["model"].items()} == weights(model)
    assert done.rows[-1]["held_back_accuracy"] < done.kept["held_back_accuracy"]
    if epoch == 0:
        assert done.below_start is not None
        assert "kept is the start" in done.below_start
        assert "\n" not in done.below_start


def stop_at(step):
    def stop(model, number, share):
        if number == step:
            raise KilledError

    return stop


def test_killed_and_resumed_keeps_the_same_epoch(tiny_train, tmp_path):
    data, held = hold_back(tiny_train, HoldBack(share=0.15))
    whole, later = fresh(), fresh(seed=9)
    first = train_and_keep(whole, data, LONGER, held=Held(held, Judge()))
    often = LONGER.model_copy(update={"checkpoint_minutes": 1e-9})
    with pytest.raises(KilledError):
        train_and_keep(
            fresh(), data, often, held=Held(held, Judge()), keep=Keep(tmp_path), hooks=Hooks(before_step=stop_at(27))
        )
    again = train_and_keep(later, data, LONGER, held=Held(held, Judge()), keep=Keep(tmp_path, resume=True))
    assert weights(later) == weights(whole)
    assert again.start == first.start
    assert again.kept["epoch"] == first.kept["epoch"]
    assert again.kept["held_back_loss"] == first.kept["held_back_loss"]


def test_the_kept_network_below_its_start_on_test_images_is_told_too():
    start = {"epoch": 0, "held_back_accuracy": 0.5, "accuracy_test": 0.9}
    last = {"epoch": 1, "held_back_accuracy": 0.6}
    good = Trained([last], start, {"epoch": 1, "held_back_accuracy": 0.6, "accuracy_test": 0.9})
    bad = replace(good, kept={"epoch": 1, "held_back_accuracy": 0.6, "accuracy_test": 0.8})
    assert good.below_start is None
    ended = replace(good, rows=[last | {"accuracy_test": 0.7}], kept=start)
    assert "test images 90.00 % before, 70.00 % after epoch 1; kept is the start" in ended.below_start
    assert "test images 90.00 % before, 80.00 % in what is kept" in bad.below_start


def test_data_that_nothing_can_be_learned_from_is_one_line(tiny_train):
    broken = tiny_train.images.astype(np.float32)
    broken[7, 1, 2, 0] = np.nan
    with pytest.raises(WorkloadError, match=r"image 7 holds a value that is nan or infinite \(1 images do\)"):
        ImageSet(broken, tiny_train.labels, TINY)
    with pytest.raises(WorkloadError, match="label -1, must be >= 0"):
        ImageSet(tiny_train.images, tiny_train.labels - 1, TINY)
    with pytest.raises(WorkloadError, match="3 labels of 192 images"):
        ImageSet(tiny_train.images, tiny_train.labels[:3], TINY)
    with pytest.raises(WorkloadError, match="holds no image"):
        ImageSet(tiny_train.images[:0], tiny_train.labels[:0], TINY)
    with pytest.raises(WorkloadError, match=r"label 7, but the network tells 3 classes apart \(0 .. 2\)"):
        train(fresh(), ImageSet(tiny_train.images, tiny_train.labels + 5, TINY), SETTINGS)


def test_a_gradient_that_is_no_number_stops_the_run(tiny_train):
    hooks = Hooks(penalty=lambda model: (next(model.parameters()).sum() * 0).sqrt())  # slope 0 * infinity at 0
    with pytest.raises(WorkloadError, match=r"the gradient is nan at step 0 of epoch 1"):
        train(fresh(), tiny_train, SETTINGS, hooks=hooks)


@pytest.mark.parametrize(
    ("shape", "stored", "wanted"),
    [
        ((8, 8, 3), "nhwc", (0, False)),
        ((32, 32, 3), "nhwc", (4, True)),
        ((3, 32, 32), "nchw", (4, True)),
        ((28, 28, 1), "nhwc", (0, False)),
        ((1, 64, 64), "nchw", (0, False)),
        ((16, 128, 3), "nhwc", (0, False)),
        ((40,), "nhwc", (0, False)),
    ],
)
def test_augmentation_suits_the_images_where_nothing_is_said(shape, stored, wanted):
    data = ImageSet(np.zeros((2, *shape), np.uint8), np.zeros(2, np.int64), TINY.model_copy(update={"stored": stored}))
    found = data.suited(Augment())
    assert (found.crop_pad, found.flip) == wanted
    asked = data.suited(Augment(crop_pad=1, flip=True))
    assert (asked.crop_pad, asked.flip) == (1, True)


CONFIG = """
train: {epochs: 2, batch: 16, rates: {weights: 0.02}, threads: 1}
data:
  train: {file: train.npz}
  test: {held_out: {file: test.npz}}
  preprocess: {stored: nhwc, divide: 255, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""
MACRO = ("cell.bits=2", "weight.encoding=differential", "weight.subtract=analog", "input.dac_bits=4", "rows=36")
SCHEME = ("weights.bits=4", "activations.bits=4", "converter.bits=4")


def adapt(folder, file, *more):
    (folder / "config.yaml").write_text(CONFIG)
    words = ["adapt", "rram_128", str(file), "--config", str(folder / "config.yaml"), "--json"]
    words += [w for key in MACRO for w in ("--set", f"macro.{key}")]
    words += [w for key in SCHEME for w in ("--scheme-set", key)]
    return main([*words, *more])


def test_a_run_below_its_start_has_a_status_of_its_own_and_writes_the_start(saved_sets, float_file, capsys):
    out = saved_sets / "net.onnx"
    assert adapt(saved_sets, float_file, "--rate", "50", "--key", "train.gradient_clip=1", "-o", str(out)) == 3
    printed = capsys.readouterr()
    assert printed.err.startswith("cimemu: training ended below its start: held-back images ")
    assert printed.err.count("\n") == 1
    told = json.loads(printed.out)
    assert told["kept"]["epoch"] == 0
    assert told["below_start"] in printed.err
    assert out.is_file()


VARIED = ("stuck_at:sa0=0.02,sa1=0.02", "thermal:amplifier=0.5")


@pytest.mark.parametrize(
    "vary", ["lognormal:sigma=0.0001", *(pytest.param(vary, marks=pytest.mark.slow) for vary in VARIED)]
)
def test_varied_cells_choose_the_epoch_on_chips_of_their_own(vary, saved_sets, float_file, capsys):
    status = adapt(saved_sets, float_file, "--vary", vary, "--rate", "0.005", "--epochs", "1")
    told = json.loads(capsys.readouterr().out)
    assert status in (0, 3)
    assert (status == 3) == (told["below_start"] is not None)
    assert {"accuracy_held_out", "accuracy_held_out_varied", "held_back_accuracy"} <= told["kept"].keys()
    assert told["kept"]["held_back_accuracy"] >= told["start"]["held_back_accuracy"]
