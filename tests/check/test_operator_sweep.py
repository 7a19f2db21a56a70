"""Every integer operator against ONNX Runtime in the same process: full grids of codes, many scales and zero points.

`pytest tests/check/test_operator_sweep.py -s` prints the operators, how many elements were compared and how many differ;
`-m slow` does so for 104 sets of parameters an operand type (8 by default).
"""

from collections import Counter

import pytest
from operator_cases import CASES, FLOAT_FUNCTIONS, SATURATES, Draw, compare

import cimemu
from cimemu.check.ort_form import PROBED, is_known, ort_add_form

pytest.importorskip("onnxruntime")
SETS, FULL_SETS = len(Draw.KINDS), 13 * len(Draw.KINDS)
# What ONNX Runtime itself, or cimemu in one line, does not take: multipliers out of range, bias scales of 0 or infinity.
REFUSED = (
    "QLinearGlobalAveragePool parameter out of computation range",
    "must be positive finite float32",
    "holds inf at [0], must be finite",
    SATURATES,
)
ROWS = []


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    print(f"\n{'operator':34} {'sets':>5} {'elements':>13} {'differ':>7}  refused")
    for row in ROWS:
        print("{:34} {:5} {:13,} {:7}  {}".format(*row))


def same_kernel(name):
    """Whether this machine's kernel of the operator is known to have cimemu's form."""
    operator = name.split(",")[0].split()[0]
    if operator.removeprefix("QLinear") == "Add":
        return ort_add_form() == "fma"
    names = {operator, f"QLinear{operator}"} & set(PROBED)
    return all(is_known(found) for found in names)


def sweep(name, case, sets, folder):
    if not same_kernel(name):
        pytest.skip(f"{name}: this machine's ONNX Runtime has another form of the kernel")
    macro = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}}).macro
    elements, differing, largest, refused, compared = 0, 0, 0.0, Counter(), Counter()
    for seed in range(sets):
        for dtype in ("uint8", "int8"):
            try:
                found = compare(case(Draw(seed, dtype)), folder, macro)
            except cimemu.CimemuError as error:
                found = str(error)
            if isinstance(found, str):
                reason = next((known for known in REFUSED if known in found), None)
                assert reason, found
                refused[reason] += 1
                continue
            elements, differing, largest = elements + found[0], differing + found[1], max(largest, found[2])
            compared[dtype] += 1
    assert min(compared["uint8"], compared["int8"]) >= sets / 4, compared
    ROWS.append(
        (name, 2 * sets, elements, differing, "; ".join(f"{count} x {text}" for text, count in refused.items()))
    )
    return elements, differing, largest


@pytest.mark.parametrize("name", CASES)
def test_nothing_differs(name, tmp_path):
    assert sweep(name, CASES[name], SETS, tmp_path)[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_differs_in_the_full_sweep(name, tmp_path):
    assert sweep(name, CASES[name], FULL_SETS, tmp_path)[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
def test_float_functions_differ_by_one_step_at_most_and_rarely(name, tmp_path):
    elements, differing, largest = sweep(name, FLOAT_FUNCTIONS[name], FULL_SETS, tmp_path)
    # One in ten thousand; of Swish, whose exponential is ONNX Runtime's own, as many as `cimemu check` allows.
    assert differing <= elements / {"Swish, QDQ": 1_000}.get(name, 10_000)
    assert largest <= 1
