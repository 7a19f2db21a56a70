"""Stage 1 of macro-aware adaptation on a tiny network: what shrinks, what fills, what repeats itself."""

import numpy as np
import pytest
from morph_nets import tiny_resnet

import cimemu
from cimemu.adapt.config import AdaptConfig
from cimemu.adapt.library import torch_of
from cimemu.adapt.morph.curve import CURVE, budget, curve
from cimemu.adapt.morph.fill import fill
from cimemu.adapt.morph.network import Watch, morph, weights_of
from cimemu.adapt.morph.run import two_stage
from cimemu.adapt.morph.settings import MorphSettings
from cimemu.adapt.morph.shrink import Goal, Shrink
from cimemu.adapt.morph.widen import widened
from cimemu.adapt.settings import Rates, TrainSettings
from cimemu.adapt.train import Hooks, Keep, train
from cimemu.errors import CimemuError, WorkloadError
from cimemu.fitting.channels import trace_channels
from cimemu.fitting.report import map_network
from cimemu.layer.execute import run_float

TRAIN = TrainSettings(epochs=1, images_per_epoch=96, batch=16, rates=Rates(weights=0.02), threads=1)
SMALL = {"macro.rows": 64, "macro.columns": 64, "macro.weight.bits": 4, "macro.input.bits": 4, "macro.adc.bits": 6}


@pytest.fixture(scope="module")
def arch():
    return cimemu.load_arch("sram_256", SMALL)


@pytest.fixture(scope="module")
def network():
    return tiny_resnet(widths=(12, 16), blocks=2)


def settings(macros=3, **changes):
    return MorphSettings(macros=macros, shrink=TRAIN, retrain=TRAIN, goal=0.7, calibration=32, **changes)


@pytest.mark.parametrize("penalty", ["count", "log"])
def test_shrinking_reaches_its_columns_and_the_dead_stay_silent(arch, network, tiny_train, penalty):
    goal = Goal(columns=Shrink(network, arch.macro, Goal(1)).first // 2, penalty=penalty)
    run = Shrink(network, arch.macro, goal)
    train(run.module, tiny_train, TRAIN.model_copy(update={"epochs": 2}), hooks=Hooks(before_step=run.before_step))
    alive = run.finish(run.module, 0.01)
    assert run.prices.columns(run.counts(alive)) <= goal.columns < run.first
    for width in run.widths:
        for name in run.scales[width.root] + run.biases[width.root]:
            values = run.module.inner.value(name).detach().numpy()
            assert (values[~alive[width.root]] == 0).all()
        assert width.droppable or alive[width.root].any()


def test_the_penalty_takes_more_from_a_channel_that_costs_more(arch, network, tiny_train):
    run = Shrink(network, arch.macro, Goal(columns=1, penalty="log"))
    for names in run.scales.values():
        for name in names:
            run.module.inner.value(name).data.fill_(1.0)
    run.before_step(run.module, 0, 0.1)
    sizes = {root: float(np.mean(size)) for root, size in run.importance(run.module).items()}
    prices = {width.root: run.prices.price(width.root, {}) / len(width.makers) for width in run.widths}
    assert sorted(sizes, key=lambda root: -sizes[root]) == sorted(prices, key=lambda root: prices[root])


def test_filled_widths_fit_by_the_mapper_and_use_more_than_the_uniform_multiple(arch, network):
    found = fill(network, arch, 4, {}, goal=0.95, drop=False)
    assert found.mapped.macros <= 4
    assert found.dropped == ()
    assert found.utilization == found.mapped.cells / (4 * 64 * 64)
    freer = fill(network, arch, 4, {}, goal=0.95, drop=True)
    assert freer.utilization >= found.utilization


def test_where_the_goal_cannot_be_met_branches_go_unless_they_must_stay(arch):
    network = tiny_resnet(widths=(3, 5), blocks=3)
    assert fill(network, arch, 2, {}, goal=0.9, drop=False).dropped == ()
    assert fill(network, arch, 2, {}, goal=0.9, drop=True).utilization > 0.5


def test_a_morphed_network_takes_its_macros_and_repeats_itself(arch, network, tiny_train, tiny_test):
    seen = []
    watch = Watch(report=lambda stage, row: seen.append(stage))
    first = morph(arch, network, settings(), tiny_train, tests={"tiny": tiny_test}, watch=watch)
    again = morph(arch, network, settings(), tiny_train, tests={"tiny": tiny_test})
    assert seen == ["shrink", "retrain"]
    for name, value in first.network.constants.items():
        assert value.tobytes() == again.network.constants[name].tobytes()
    assert set(first.accuracy) == {"seed", "pruned", "expanded", "retrained"}
    lowered = cimemu.quantize(first.network, first.arch, calibration=tiny_train.inputs(slice(0, 8)))
    mapped = map_network(lowered, first.arch).summary()
    assert mapped["macros"] <= 3
    assert mapped["utilization"] * mapped["macros"] == pytest.approx(first.filled.utilization * 3)
    assert mapped["parameters"] == first.parameters == weights_of(first.network)
    assert first.compression == 1 - first.parameters / weights_of(network)


def test_an_interrupted_run_ends_with_the_same_bytes(arch, network, tiny_train, tmp_path):
    whole = morph(arch, network, settings(), tiny_train)

    class KilledError(Exception):
        pass

    def killed(stage, row):
        if stage == "shrink":
            raise KilledError

    with pytest.raises(KilledError):
        morph(arch, network, settings(), tiny_train, keep=Keep(tmp_path), watch=Watch(report=killed))
    resumed = morph(arch, network, settings(), tiny_train, keep=Keep(tmp_path, resume=True))
    for name, value in whole.network.constants.items():
        assert value.tobytes() == resumed.network.constants[name].tobytes()


def test_growing_does_not_change_what_the_pruned_network_says(arch, network, tiny_train):
    from cimemu.adapt.morph.network import _grown
    from cimemu.adapt.morph.norms import with_norms

    images = tiny_train.inputs(slice(0, 8))
    small = with_norms(tiny_resnet(widths=(4, 6)), images)
    found = fill(small, arch, 4, {}, drop=False, goal=0.5)
    channels = trace_channels(small)
    assert all(found.widths[root] >= channels.sizes[root] for root in found.widths)
    grown = _grown(found, seed=1)
    name = small.outputs[0]
    assert np.allclose(run_float(grown, images)[name], run_float(small, images)[name], atol=1e-4)


def test_a_curve_has_the_seed_trained_as_long_first_and_goes_on_where_it_stopped(
    arch, network, tiny_train, tiny_test, tmp_path
):
    wanted = settings(macros=(2, 3))
    rows = curve(arch, network, wanted, tiny_train, tests={"tiny": tiny_test}, keep=Keep(tmp_path))
    assert [row["run"] for row in rows] == ["seed", "macros_2", "macros_3"]
    assert rows[0]["compression"] == 0.0
    assert rows[1]["compression"] > rows[2]["compression"]
    assert all(row["macros"] <= count for row, count in zip(rows[1:], (2, 3)))
    assert all(row["load_cycles"] > 0 and row["uj_per_image"] > 0 and 0 <= row["accuracy_tiny"] <= 1 for row in rows)
    assert len((tmp_path / CURVE).read_text().splitlines()) == 4
    assert cimemu.load_network(tmp_path / "macros_2" / "network.onnx").layers
    (tmp_path / "macros_3" / "result.json").unlink()
    assert curve(arch, network, wanted, tiny_train, tests={"tiny": tiny_test}, keep=Keep(tmp_path, resume=True)) == rows


def test_a_curve_of_a_widened_network_begins_with_that(arch, network, tiny_train, tiny_test, tmp_path):
    wanted = settings(macros=(2,), widen=2)
    rows = curve(arch, network, wanted, tiny_train, tests={"tiny": tiny_test}, keep=Keep(tmp_path))
    wide = widened(network, 2, wanted.shrink.seed)
    assert rows[0]["parameters"] == weights_of(wide) > 2 * weights_of(network)
    assert rows[1]["compression"] == 1 - rows[1]["parameters"] / weights_of(wide)
    (tmp_path / "macros_2" / "result.json").unlink()
    other = settings(macros=(2,), widen=3)
    with pytest.raises(WorkloadError, match="checkpoint"):
        curve(arch, network, other, tiny_train, tests={"tiny": tiny_test}, keep=Keep(tmp_path, resume=True))


def test_the_budget_of_the_seed_is_what_the_others_see():
    own = replace_epochs(settings(), 1, 2)
    total = budget(own)
    assert total.epochs * total.images_per_epoch == 96 * 3


def replace_epochs(kept, one, other):
    return kept.model_copy(
        update={
            "shrink": kept.shrink.model_copy(update={"epochs": one}),
            "retrain": kept.retrain.model_copy(update={"epochs": other}),
        }
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"macros": 5000}, r"morph.macros = 5000, the chip sram_256 has 128; give 1 .. 128, or more chip.tiles"),
        ({"macros": (2, 3)}, r"morph.macros = \[2, 3\]: one number is wanted here"),
    ],
)
def test_a_wrong_number_of_macros_is_one_line(arch, network, tiny_train, change, message):
    with pytest.raises(CimemuError, match=message):
        morph(arch, network, settings(**change), tiny_train)


def test_a_checkpoint_of_other_settings_is_refused(arch, network, tiny_train, tmp_path):
    morph(arch, network, settings(), tiny_train, keep=Keep(tmp_path))
    with pytest.raises(CimemuError, match=r"checkpoint\.pt: was made with"):
        morph(arch, network, settings(threshold=0.5), tiny_train, keep=Keep(tmp_path, resume=True))


def test_both_stages_end_in_a_file_that_the_emulator_runs_as_torch_does(tiny_train, tiny_test, tmp_path):
    config = AdaptConfig(
        set=SMALL,
        scheme={
            "weights": {"bits": 4, "granularity": "column", "method": "mse"},
            "activations": {"bits": 4},
            "converter": {"bits": 5, "granularity": "column"},
        },
        train=TRAIN,
        morph=settings(columns_left=0.7),
        calibration=32,
    )
    out, source = tmp_path / "q.onnx", tiny_resnet(widths=(8, 12), blocks=1)
    done = two_stage("sram_256", source, config, tiny_train, tests={"tiny": tiny_test}, out=out, keep=Keep(tmp_path))
    assert [row["stage"] for row in done.rows] == ["seed", "stage 1", "stage 2"]
    assert done.rows[2]["macros"] <= 3
    made = cimemu.load_network(out)
    chip = cimemu.load_arch("sram_256", {**SMALL, **made.overrides, "mapping.packing": "tight"})
    images = tiny_test.inputs(slice(0, 16))
    run = cimemu.run(chip, cimemu.quantize(made, chip), images)
    assert run.macros == done.rows[2]["macros"]
    torch = torch_of()
    module = done.adapted.module.eval()
    with torch.no_grad():
        assert np.array_equal(np.asarray(run.outputs), module(torch.from_numpy(images)).numpy())
    from cimemu.adapt.exact import compare_with_emulator

    assert all(layer.differ == 0 for layer in compare_with_emulator(module, images))
    again = two_stage(
        "sram_256", source, config, tiny_train, tests={"tiny": tiny_test}, keep=Keep(tmp_path, resume=True)
    )
    assert again.rows == done.rows
