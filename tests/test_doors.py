"""Functions that take few records: every field is a keyword too, and a keyword that there is not is named."""

from dataclasses import FrozenInstanceError, fields
from typing import get_type_hints

import nets
import numpy as np
import pytest

import cimemu
from cimemu.keywords import filled
from cimemu.options import DrawsKeywords, RunKeywords
from cimemu.ptq.ranges import Ranges, RangesKeywords
from cimemu.stress import Grid, Population, Work, stress
from cimemu.stress.campaign import WorkKeywords
from cimemu.stress.monte_carlo import StressKeywords
from cimemu.stress.sweep import SweepKeywords

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 4), np.uint8)
VARY = ["lognormal:sigma=0.3"]


@pytest.fixture(scope="module")
def chip():
    return cimemu.load_arch("rram_128"), nets.residual_network()


@pytest.mark.parametrize(
    ("keywords", "records"),
    [
        (DrawsKeywords, (cimemu.Draws,)),
        (RangesKeywords, (Ranges,)),
        (RunKeywords, (cimemu.Options, cimemu.Draws, cimemu.Output)),
        (WorkKeywords, (Work,)),
        (StressKeywords, (Population, Work)),
        (SweepKeywords, (Grid, Work)),
    ],
)
def test_the_keywords_are_the_fields_with_their_kinds(keywords, records):
    kinds = {}
    for record in records:
        kinds |= get_type_hints(record)
    assert get_type_hints(keywords) == kinds


@pytest.mark.parametrize("record", [cimemu.Options(), cimemu.Draws(), cimemu.Output(), Work(), Population()])
def test_the_records_are_frozen(record):
    with pytest.raises(FrozenInstanceError):
        setattr(record, fields(record)[0].name, 1)


def test_records_keywords_and_places_draw_the_same_chip(chip, tmp_path):
    by_record = cimemu.run(
        *chip,
        IMAGES,
        options=cimemu.Options("cycles"),
        draws=cimemu.Draws(7, 1, VARY),
        output=cimemu.Output(tmp_path / "a.h5"),
    )
    by_name = cimemu.run(*chip, IMAGES, trace=tmp_path / "b.h5", detail="cycles", seed=7, trial=1, vary=VARY)
    by_place = cimemu.run(*chip, IMAGES, None, tmp_path / "c.h5", "cycles", 7, VARY, trial=1)
    ideal = cimemu.run(*chip, IMAGES, detail=None)
    for other in (by_name, by_place):
        assert np.array_equal(by_record.outputs, other.outputs)
        assert (by_record.cycles, by_record.energy_uj) == (other.cycles, other.energy_uj)
    assert not np.array_equal(by_record.outputs, ideal.outputs)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes() == (tmp_path / "c.h5").read_bytes()


def test_a_keyword_replaces_a_field_of_its_record(chip):
    draws = cimemu.Draws(7, 0, VARY)
    ideal = cimemu.run(*chip, IMAGES, detail=None)
    assert np.array_equal(cimemu.run(*chip, IMAGES, draws=draws, vary=(), detail=None).outputs, ideal.outputs)
    assert np.array_equal(cimemu.run(*chip, IMAGES, options=cimemu.Options(None), batch=2).outputs, ideal.outputs)


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"sede": 1}, "run: there is no argument sede, did you mean seed?"),
        ({"bach": 1}, "run: there is no argument bach, did you mean batch?"),
        ({"options": 1}, "run: options = 1, must be a cimemu Options"),
        ({"batch": 0}, "batch = 0, must be >= 1"),
        ({"detail": "fine"}, "detail = 'fine', must be ops, cycles or None"),
        ({"vary": "lognormal"}, "run: vary = 'lognormal', must be a list"),
    ],
)
def test_a_wrong_keyword_is_one_line(chip, keywords, line):
    with pytest.raises(cimemu.CimemuError) as raised:
        cimemu.run(*chip, IMAGES, **keywords)
    assert str(raised.value) == line


@pytest.mark.parametrize(
    ("places", "keywords", "line"),
    [
        ((None, "ops", 0, (), 5), {}, "run: 1 arguments too many, after vary give keywords"),
        ((None, "ops"), {"detail": None}, "run: detail is given twice, by its place and by its name"),
        ((3,), {}, "trace = 3, must be a path"),
        ((None, "ops", -1), {}, "seed = -1, must be >= 0"),
        ((None, "ops", 0, "lognormal"), {}, "vary = 'lognormal', must be a list of models"),
    ],
)
def test_a_wrong_place_is_one_line(chip, places, keywords, line):
    with pytest.raises(cimemu.CimemuError) as raised:
        cimemu.run(*chip, IMAGES, None, *places, **keywords)
    assert str(raised.value) == line


@pytest.mark.slow
def test_a_stress_run_takes_records_or_keywords(chip):
    by_record = stress(*chip, IMAGES, population=Population(VARY, trials=2, seed=3), work=Work(workers=1))
    by_name = stress(*chip, IMAGES, vary=VARY, trials=2, seed=3, workers=1)
    assert by_record.columns["trials"].tolist() == by_name.columns["trials"].tolist() == [2]
    assert np.array_equal(by_record.layer_error, by_name.layer_error)
    assert np.any(by_record.layer_error > 0)


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"trials": 1}, "stress: vary is not given, and there is no default"),
        ({"vary": VARY}, "stress: trials is not given, and there is no default"),
        ({"vary": VARY, "trials": 1, "worker": 2}, "stress: there is no argument worker, did you mean workers?"),
        ({"vary": VARY, "trials": 0}, "trials = 0, must be >= 1"),
        ({"vary": VARY, "trials": 1, "width": 2}, "width = 2, must be between 0 and 1 (a share of images)"),
    ],
)
def test_a_wrong_keyword_of_stress_is_one_line(chip, keywords, line):
    with pytest.raises(cimemu.CimemuError) as raised:
        stress(*chip, IMAGES, **keywords)
    assert str(raised.value) == line


def test_a_keyword_of_two_records_goes_to_both():
    output, work = filled("door", {"overwrite": True}, cimemu.Output(), Work())
    assert output.overwrite
    assert work.overwrite
