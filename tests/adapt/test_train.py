"""The training loop: same seed, same bytes, also after an interruption."""

import csv

import pytest

from cimemu.adapt.accuracy import accuracy_of
from cimemu.adapt.library import torch_of
from cimemu.adapt.resnet import make_resnet
from cimemu.adapt.settings import Rates, TrainSettings
from cimemu.adapt.train import CHECKPOINT, METRICS, Hooks, Keep, parameter_groups, rate_factor, train
from cimemu.errors import WorkloadError

SETTINGS = TrainSettings(
    epochs=2, images_per_epoch=96, batch=32, rates=Rates(weights=0.05), threads=1, seed=3, nesterov=True
)


def fresh(seed: int = 3):
    torch_of().manual_seed(seed)
    return make_resnet(8, classes=3, width=4)


def weights(model) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


class KilledError(Exception):
    pass


def killed_at(step: int) -> Hooks:
    def stop(model, number, share):
        if number == step:
            raise KilledError

    return Hooks(before_step=stop)


def test_it_learns_and_logs(tiny_train, tiny_test, tmp_path):
    model = fresh()
    before = accuracy_of(model, tiny_test)
    longer = SETTINGS.model_copy(update={"epochs": 6, "images_per_epoch": 192, "batch": 16})
    rows = train(model, tiny_train, longer, tests={"held_out": tiny_test}, keep=Keep(tmp_path))
    assert len(rows) == 6
    assert rows[-1]["accuracy_held_out"] > max(0.6, before.share)
    assert rows[-1]["loss"] < rows[0]["loss"]
    logged = list(csv.DictReader((tmp_path / METRICS).open()))
    assert [row["epoch"] for row in logged] == ["1", "2", "3", "4", "5", "6"]
    assert float(logged[-1]["accuracy_held_out"]) == pytest.approx(rows[-1]["accuracy_held_out"], abs=1e-6)
    assert not list(tmp_path.glob("*.partial"))


def test_a_seed_is_a_network(tiny_train):
    first, second, other = fresh(), fresh(), fresh()
    train(first, tiny_train, SETTINGS)
    train(second, tiny_train, SETTINGS)
    train(other, tiny_train, SETTINGS.model_copy(update={"seed": 4}))
    assert weights(first) == weights(second)
    assert weights(first) != weights(other)


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_killed_and_resumed_is_undisturbed(tiny_train, tmp_path, step):
    whole = fresh()
    train(whole, tiny_train, SETTINGS)
    often = SETTINGS.model_copy(update={"checkpoint_minutes": 1e-9})
    with pytest.raises(KilledError):
        train(fresh(), tiny_train, often, keep=Keep(tmp_path), hooks=killed_at(step))
    later = fresh(seed=99)  # whatever it holds, the checkpoint replaces it
    rows = train(later, tiny_train, SETTINGS, keep=Keep(tmp_path, resume=True))
    assert weights(later) == weights(whole)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[-1]["images"] == 96


def test_checkpoints_are_refused_where_they_do_not_fit(tiny_train, tmp_path):
    with pytest.raises(WorkloadError, match="no checkpoint to resume"):
        train(fresh(), tiny_train, SETTINGS, keep=Keep(tmp_path, resume=True))
    train(fresh(), tiny_train, SETTINGS, keep=Keep(tmp_path))
    with pytest.raises(WorkloadError, match="add --resume"):
        train(fresh(), tiny_train, SETTINGS, keep=Keep(tmp_path))
    with pytest.raises(WorkloadError, match="batch = 32, now it is 16"):
        train(fresh(), tiny_train, SETTINGS.model_copy(update={"batch": 16}), keep=Keep(tmp_path, resume=True))
    with pytest.raises(WorkloadError, match="another network"):
        train(make_resnet(8, classes=4, width=4), tiny_train, SETTINGS, keep=Keep(tmp_path, resume=True))
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(WorkloadError, match="is no checkpoint"):
        train(fresh(), tiny_train, SETTINGS, keep=Keep(tmp_path, resume=True))


def test_a_loss_that_is_no_number_stops_the_run(tiny_train):
    torch = torch_of()
    hooks = Hooks(penalty=lambda model: torch.tensor(float("nan")))
    with pytest.raises(WorkloadError, match=r"loss is nan at step 0 of epoch 1: lower rates\.weights"):
        train(fresh(), tiny_train, SETTINGS, hooks=hooks)


def test_rates_rise_and_fall():
    settings = TrainSettings(epochs=4, warmup_epochs=1)
    factors = [rate_factor(step, 40, settings, 10) for step in range(40)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[25] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.01
    flat = TrainSettings(epochs=4, schedule="constant")
    assert {rate_factor(step, 40, flat, 10) for step in range(40)} == {1}


def test_groups_have_their_rates_and_only_weights_decay():
    torch = torch_of()
    model = fresh()
    model.psum_scale = torch.nn.Parameter(torch.ones(3, 1, 1))
    settings = TrainSettings(rates=Rates(weights=0.1, scales=0.002), weight_decay=0.5)
    groups = {group["name"]: group for group in parameter_groups(model, settings)}
    assert [p.shape for p in groups["scales"]["params"]] == [(3, 1, 1)]
    assert groups["scales"]["lr"] == 0.002
    assert groups["weights"]["weight_decay"] == 0.5
    assert groups["others"]["weight_decay"] == groups["scales"]["weight_decay"] == 0
    assert all(p.ndim > 1 for p in groups["weights"]["params"])
    assert sum(len(group["params"]) for group in groups.values()) == len(list(model.parameters()))


def test_a_device_that_is_not_there_is_one_line(tiny_train):
    with pytest.raises(WorkloadError, match=r"device = cuda:63: PyTorch sees \d+ CUDA devices"):
        train(fresh(), tiny_train, SETTINGS.model_copy(update={"device": "cuda:63"}))
