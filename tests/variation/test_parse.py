"""Texts of `--vary` into models and back; every mistake is one line that names the choices."""

from pathlib import Path

import pytest

from cimemu.errors import ArchError
from cimemu.variation import MODELS
from cimemu.variation.compose import compose
from cimemu.variation.parse import make_variation, make_variations, parse_points, spelled, variations_at

MEASURED = Path(__file__).parent / "measured.csv"
EXAMPLES = [
    "lognormal:sigma=0.1",
    "lognormal:sigma=0.1,per=write",
    "normal:relative=0.1,absolute=0.01",
    "level_spread:sigma=[0.1,0.2]",
    f"measured:file={MEASURED},draw=normal",
    f"measured_drift:file={MEASURED.parent / 'aged.csv'},seconds=60",
    f"measured_reads:file={MEASURED.parent / 'reads.csv'},activity=0.2",
    f"measured_converters:file={MEASURED.parent / 'converters.csv'},fit=stretch",
    "write_verify:sigma=0.1,tolerance=0.05,iterations=10,step=0.25",
    "stuck_at:sa0=0.01,sa1=0.001",
    "on_off:ratio=inf",
    "drift:seconds=1e4,nu_sigma=0.01",
    "temperature:celsius=85",
    "stuck_wordline:off=0.01",
    "stuck_bitline:on=0.01",
    "ir_drop:segment_ohm=2.5,bitline_ohm=1",
    "ir_drop:segment_ohm=2.5,rows=gated,solver=fast,activity=0.2",
    "driver:gain=0.01",
    "thermal:read_ns=5",
    "telegraph:amplitude=0.2",
    "converter:offset=0.5,noise=0.1",
    "calibration:what=converter,at=reference,every=3600,rounds=2",
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_model_survives_its_own_spelling(text):
    model = make_variation(text)
    assert make_variation(spelled(model)) == model
    assert make_variation(model.model_dump()) == model
    assert make_variations(text) == make_variations([model]) == (model,)


def test_every_model_has_an_example_a_source_and_described_parameters():
    assert {text.partition(":")[0] for text in EXAMPLES} == set(MODELS) - {"chip"}  # which needs a file: test_chip_file
    for kind in MODELS.values():
        assert kind.source
        assert all(field.description for name, field in kind.model_fields.items() if name != "model")


def test_several_values_are_points():
    assert parse_points("lognormal:sigma=0,0.05,0.1") == ("lognormal", {"sigma": [0, 0.05, 0.1]})
    points = variations_at("stuck_at:sa0=0,0.01,sa1=0.001,0.002")
    assert [(p.sa0, p.sa1) for p in points] == [(0, 0.001), (0, 0.002), (0.01, 0.001), (0.01, 0.002)]
    wires = variations_at("ir_drop:segment_ohm=1,rows=grounded,gated,solver=exact,fast")
    assert [(w.rows, w.solver) for w in wires] == [
        ("grounded", "exact"),
        ("grounded", "fast"),
        ("gated", "exact"),
        ("gated", "fast"),
    ]
    assert variations_at("level_spread:sigma=[0,0.1],[0,0.2]")[1].sigma == (0, 0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing", "no model 'nothing'; choose from lognormal, normal"),
        ("lognorml:sigma=1", "did you mean lognormal?"),
        ("lognormal:sgima=1", "lognormal has no parameter 'sgima'; it has sigma"),
        ("lognormal:sigma=-1", "sigma = -1, must be >= 0"),
        ("lognormal:sigma=nan", "sigma = 'nan', must be"),
        ("lognormal:sigma=0.1,per=chip", "per = 'chip', must be 'cell' or 'write'"),
        ("lognormal:sigma=a", "sigma = 'a', must be a valid number"),
        ("lognormal", "sigma: missing"),
        ("lognormal:0.1", "'0.1' must be PARAM=VALUE; lognormal has sigma"),
        ("lognormal:sigma=0.1,0.2", "sigma has 2 values, give one"),
        ("lognormal:sigma=0.1,sigma=0.2", "sigma given twice"),
        ("stuck_at:sa0=0.9,sa1=0.2", "sa0 + sa1 = 1.1, must be <= 1"),
        ("drift:seconds=-1", "seconds = -1, must be >= 0"),
        ("calibration:what=row", "what = 'row', must be 'none', 'factor', 'column' or 'converter'"),
        ("calibration:every=0", "every = 0, must be > 0"),
        ("calibration:rounds=2", "rounds = 2, must be 1 where at = digital: codes do not change, use at=reference"),
        ({"sigma": 1}, "no model 'None'"),
        (3, "must be MODEL:PARAM=VALUE"),
    ],
)
def test_a_mistake_is_one_line(given, message):
    with pytest.raises(ArchError) as error:
        make_variation(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_fraction_bits_rise_with_small_strengths():
    assert compose(["lognormal:sigma=0.1"]).fraction_bits(7, 1) == 7
    assert compose(["lognormal:sigma=0.01"]).fraction_bits(7, 1) == 10
    assert compose(["lognormal:sigma=0.1", "on_off:ratio=1001"]).fraction_bits(7, 1) == 13
    assert compose(["on_off:ratio=1e6"]).fraction_bits(7, 1) == 14
    assert compose(["on_off:ratio=1e6"]).fraction_bits(7, 15) == 14
    assert compose(["stuck_at:sa0=0.01", "on_off:ratio=inf"]).fraction_bits(7, 1) == 7
