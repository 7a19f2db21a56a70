"""cimemu's own converters, models of variation and estimators hold to the properties that a plug-in's do."""

import pytest
from variation.test_parse import EXAMPLES

from cimemu.adc import MODELS, IdealAdc, LinearAdc, NonlinearAdc
from cimemu.errors import CimemuError
from cimemu.testing import check_converter, check_estimator, check_operator, check_variation

CONVERTERS = [
    IdealAdc(cycles=3),
    LinearAdc(bits=4),
    LinearAdc(bits=3, lsb=2.5, zero=-1, circuit="flash"),
    NonlinearAdc(bits=2, thresholds=[0.5, 3, 3], levels=[0, 1, -2.5, 9]),
]
ESTIMATORS = [
    ("wire", {"length_um": 100}, "wordline"),
    ("conductance", {"on_us": 10, "read_v": 0.2}, "cell_level"),
    ("capacitance", {"ff": 0.3}, "cell"),
    ("resistive", {"kohm": 5}, "wordline"),
    ("survey", {"extrapolate": True}, "adc"),
    ("sar", {}, "adc"),
    ("flash", {}, "adc"),
    ("ramp", {}, "adc"),
    ("in_memory_ramp", {"cell_pj": 0.01}, "adc"),
]


@pytest.mark.parametrize("adc", CONVERTERS, ids=lambda adc: f"{adc.model}")
def test_converters_of_cimemu(adc):
    lines = check_converter(adc, macros=4)
    assert [line.partition(":")[0] for line in lines] == ["tables", "round trip", "twins", "threads", "lossless"]


def test_every_converter_of_cimemu_is_held_to_them():
    assert {type(adc) for adc in CONVERTERS} == set(MODELS.values())


@pytest.mark.parametrize("text", EXAMPLES)
def test_variations_of_cimemu(text):
    lines = check_variation(text, macros=2)
    assert [line.partition(":")[0] for line in lines] == ["spelling", "draws", "identity", "twins", "threads"]


@pytest.mark.parametrize(("model", "parameters", "component"), ESTIMATORS, ids=lambda value: str(value)[:12])
def test_estimators_of_cimemu(model, parameters, component):
    lines = check_estimator(model, component=component, **parameters)
    assert [line.partition(":")[0] for line in lines] == ["numbers", "refusals", "again", "source"]


@pytest.mark.parametrize("check", [check_converter, check_estimator, lambda name: check_operator(name, [])])
def test_what_is_not_there_is_one_line(check):
    with pytest.raises(CimemuError, match=r"there is none, choose from"):
        check("nosuch")
