"""Two networks on the same images: intervals against experiments that are drawn, and what is refused."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from twins import common

import cimemu
from cimemu.cli import main
from cimemu.compare.answers import Answers
from cimemu.compare.paired import _bootstrap, paired


def answers(right):
    """Answers of which those are right."""
    labels = np.zeros(len(right), dtype=np.int64)
    return Answers(labels, np.where(right, 0, 1))


def drawn(rng, images, first, second, pairs=1, spread=0.0):
    """Answers of two networks, or of `pairs` of them whose accuracies differ from seed to seed by `spread`."""
    made = []
    hardness = rng.random(images)  # an image is as hard for all
    for _ in range(pairs):
        for share in (first, second):
            limit = share + rng.normal(0, spread / 2**0.5)
            made.append(answers(0.7 * hardness + 0.3 * rng.random(images) < np.clip(limit, 0, 1)))
    return made


@common
@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=2, max_size=60))
def test_the_interval_is_that_of_scipy_s_bootstrap(values):
    values = np.array(values, dtype=np.float64)
    wanted = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    step = (
        2 / len(values) + 6 * values.std() / len(values) ** 0.5 / 4000**0.5 * 3
    )  # of quantiles of a lattice, and of draws
    assert _bootstrap(values) == pytest.approx((wanted.low, wanted.high), abs=step)


@pytest.mark.parametrize(("pairs", "spread"), [pytest.param(1, 0.0, marks=pytest.mark.slow), (3, 0.03)])
def test_ninety_five_of_a_hundred_intervals_hold_the_difference(pairs, spread):
    rng, held, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        found = paired("t", drawn(rng, 400, 0.6, 0.5, pairs, spread))
        truth = 100 * (expected(0.6) - expected(0.5))
        held += found.low <= truth <= found.high
    assert held / trials >= 0.92


def expected(share):
    """Accuracy of `drawn` by an average over many images."""
    rng = np.random.default_rng(9)
    return float((0.7 * rng.random(10**6) + 0.3 * rng.random(10**6) < share).mean())


def test_images_that_both_get_right_or_wrong_do_not_count():
    few = [answers(np.arange(100) < n) for n in (60, 50)]
    many = [answers(np.concatenate([one.right, np.ones(900, bool)])) for one in few]
    one, other = paired("t", few), paired("t", many)
    assert one.difference == pytest.approx(10)
    assert one.discordant == pytest.approx(0.1)
    assert other.difference == pytest.approx(1)
    assert one.seen == other.seen == "the first is better"
    assert paired("t", few[::-1]).seen == "the second is better"
    assert paired("t", [few[0], few[0]]).seen == "no difference seen"


def test_what_could_be_seen_is_seen_in_four_of_five_experiments():
    rng = np.random.default_rng(3)
    smallest = paired("t", drawn(rng, 4000, 0.6, 0.57)).smallest / 100
    # by how much the limit must move for such a difference of accuracies
    moved = np.interp(smallest, [0, expected(0.6) - expected(0.5)], [0, 0.1])
    found = [paired("t", drawn(rng, 4000, 0.6, 0.6 - moved)).seen == "the first is better" for _ in range(200)]
    assert 0.68 <= np.mean(found) <= 0.92


def table(path, sets):
    """answers.csv of {test: [(label, answer)]}."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("test", "image", "label", "answer"))
        for test, rows in sets.items():
            writer.writerows((test, number, *row) for number, row in enumerate(rows))
    return path


def test_the_command_prints_a_row_for_each_set_of_images(tmp_path, capsys):
    first = table(tmp_path / "a.csv", {"exact": [(1, 1), (2, 2)], "jpeg": [(1, 1), (2, 0), (3, 3)]})
    second = table(tmp_path / "b.csv", {"exact": [(1, 1), (2, 0)], "jpeg": [(1, 1), (2, 0), (3, 3)]})
    assert main(["claims", "paired", str(first), str(second), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["A against B on the same images"]
    assert [(row["images of"], row["images"], row["A - B, points"]) for row in rows] == [
        ("exact", 2, 50),
        ("jpeg", 3, 0),
    ]
    assert main(["claims", "paired", *map(str, (first, second, second, first))]) == 0
    told = capsys.readouterr().out
    assert "no difference seen" in told
    assert "Student's t" in told


def test_traces_are_compared_too(tmp_path, capsys):
    words = ["run", "rram_128", "digits", "--images", "4", "--out"]
    assert main([*words, str(tmp_path / "a.h5")]) == 0
    assert main([*words, str(tmp_path / "b.h5"), "--set", "macro.adc.bits=3"]) == 0
    capsys.readouterr()
    assert main(["claims", "paired", str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["A against B on the same images"]
    for name, column in (("a", "A, %"), ("b", "B, %")):
        assert row[column] == pytest.approx(100 * cimemu.open_trace(tmp_path / f"{name}.h5").attributes["accuracy"])


def test_what_cannot_be_compared_is_one_line(tmp_path, capsys):
    good = table(tmp_path / "a.csv", {"exact": [(1, 1), (2, 2)]})
    bad = {
        "other.csv": "label,answer\n1,1\n",
        "short.csv": "test,image,label,answer\nexact,0,1\n",
        "word.csv": "test,image,label,answer\nexact,0,one,1\n",
        "gap.csv": "test,image,label,answer\nexact,1,1,1\n",
        "none.csv": "test,image,label,answer\n",
    }
    cases = [
        ([good], "1 files given"),
        ([good, tmp_path / "absent.csv"], "cannot be read"),
        ([good, tmp_path / "absent.h5"], "no such file"),
        ([good, table(tmp_path / "c.csv", {"exact": [(1, 1), (3, 2)]})], "compare answers to the same images"),
        ([good, table(tmp_path / "d.csv", {"jpeg": [(1, 1)]})], "no set of images in common"),
    ]
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
    told = ("columns label, answer", "four whole fields", "four whole fields", "not numbered", "has no answers")
    cases += [([good, tmp_path / name], words) for name, words in zip(bad, told, strict=True)]
    for files, words in cases:
        assert main(["claims", "paired", *map(str, files)]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert main(["claims", "converter-area", str(good)]) == 2
    assert "only the claim paired takes files" in capsys.readouterr().err
