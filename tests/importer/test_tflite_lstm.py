"""TensorFlow Lite's UNIDIRECTIONAL_SEQUENCE_LSTM, unrolled: integers equal the reference kernel, floats stay in their bound."""

import numpy as np
import pytest
from test_tflite_sweeps import Draw
from tflite_build import TflBuilder, litert
from tflite_grids import lstm

import cimemu
from cimemu.check.float_network import check_float
from cimemu.check.litert_runner import LiteRtRun
from cimemu.check.network import check_network
from cimemu.compute.forward import Emulator
from cimemu.importer import load_network
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.recurrent import RecurrentCell
from cimemu.layer.tfl_lstm import TflLstmCell, logistic_table, tanh_table
from cimemu.mapping.place import make_plan

MACRO = cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro
STEPS, INPUTS, HIDDEN = 6, 5, 7


def spotter(path, dtype="int8", *, change=(), coupled=False, hybrid=False, **fields):
    """An LSTM, its last step and a dense layer; `change` are (place, what) of its operands: None leaves one out.

    `hybrid`: the weights of a float LSTM are int8, a scale a gate.
    """
    b, rng = TflBuilder(), np.random.default_rng(0)
    integer = dtype == "int8"
    real = lambda scale, zero=0: (scale, zero) if integer else (None, 0)  # noqa: E731
    x = b.tensor("x", [1, STEPS, INPUTS], dtype, *real(0.02, 3))
    row = []
    for place in range(16):
        hidden = 4 < place < 9
        if 8 < place < 12 or (coupled and place in (1, 5, 12)):
            row.append(-1)
        elif place == 0:
            row.append(x)
        elif place < 9:
            shape = [HIDDEN, HIDDEN if hidden else INPUTS]
            if hybrid:
                row.append(
                    b.tensor(f"w{place}", shape, "int8", 0.004 + 0.001 * place, 0, rng.integers(-127, 128, shape))
                )
                continue
            data = rng.integers(-127, 128, shape) if integer else rng.standard_normal(shape)
            row.append(b.tensor(f"w{place}", shape, dtype, *real(0.01), data=data))
        else:
            data = rng.integers(-5000, 5001, HIDDEN) if integer else rng.standard_normal(HIDDEN)
            row.append(b.tensor(f"w{place}", [HIDDEN], "int32" if integer else dtype, *real(0.0002), data=data))
    row += [-1, -1, b.tensor("h", [1, HIDDEN], dtype, *real(1 / 128, -4), variable=True)]
    row += [b.tensor("c", [1, HIDDEN], "int16" if integer else dtype, *real(2.0**-12), variable=True), -1, -1, -1, -1]
    for place, what in change:
        row[place] = -1 if what is None else b.tensor(f"other{place}", *what)
    inside = [b.tensor(f"i{i}", [0], "float32") for i in range(4)]
    inside.append(b.tensor("hs", [0], dtype, *real(1 / 128, -4)))
    y = b.tensor("y", [1, STEPS, HIDDEN], dtype, *real(1 / 128, -4))
    fields = {"fusedActivationFunction": 4, "cellClip": 10.0, **fields}
    b.op("UNIDIRECTIONAL_SEQUENCE_LSTM", row, [y], inside if integer else None, **fields)
    last = b.tensor("last", [1, HIDDEN], dtype, *real(1 / 128, -4))
    cut = [b.tensor(n, [3], "int32", data=v) for n, v in (("b", [0, -1, 0]), ("e", [1, 9, 9]), ("s", [1, 1, 1]))]
    b.op("STRIDED_SLICE", [y, *cut], [last], shrinkAxisMask=2, beginMask=5, endMask=7)
    z = b.tensor("z", [1, 3], dtype, *real(0.05, 1))
    data = rng.integers(-127, 128, (3, HIDDEN)) if integer else rng.standard_normal((3, HIDDEN))
    b.op("FULLY_CONNECTED", [last, b.tensor("v", [3, HIDDEN], dtype, *real(0.01), data=data), -1], [z])
    return b.save(path, [x], [z])


def codes(images):
    return np.random.default_rng(1).integers(-128, 128, (images, STEPS, INPUTS)).astype(np.int8)


@pytest.mark.parametrize("coupled", [False, True])
def test_every_image_is_a_sequence_of_its_own(tmp_path, coupled):
    found = check_network(load_network(spotter(tmp_path / "n.tflite", coupled=coupled)), MACRO, codes(20))
    assert found.integers.elements == 20 * (STEPS * HIDDEN + HIDDEN + 3)
    assert found.differing == 0


def test_all_steps_share_one_matrix_in_the_cells(tmp_path):
    network = load_network(spotter(tmp_path / "n.tflite"))
    turns = [layer for layer in network.layers if isinstance(layer, MacroLayer) and layer.shares]
    assert len(turns) == STEPS - 1
    assert len({id(layer.weight) for layer in turns}) == 1
    assert turns[0].weight.shape == (4 * HIDDEN, HIDDEN, 1, 1)
    plan = make_plan(network, cimemu.load_arch("rram_128"))
    # 28 outputs of 8 columns are two macros, for the inputs and for the state; the dense layer's 24 columns fit beside.
    assert plan.macros_used == 4


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("clip", [0.0, 0.4])
def test_a_float_file_stays_within_its_bound(tmp_path, coupled, clip):
    path = spotter(tmp_path / "n.tflite", "float32", coupled=coupled, cellClip=clip)
    network = load_network(path)
    assert sum(isinstance(layer, RecurrentCell) for layer in network.layers) == STEPS
    x = np.random.default_rng(2).standard_normal((4, STEPS, INPUTS)).astype(np.float32)
    found = check_float(network, path, x)
    assert found.floats.elements == 4 * (STEPS * HIDDEN + HIDDEN + 3)
    assert not found.failed


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_int8_weights_beside_float_activations_are_hybrid_products(tmp_path, coupled, asymmetric):
    """Codes of each step's input and state, as LiteRT makes them; between the products the gates are floats."""
    path = spotter(tmp_path / "n.tflite", "float32", coupled=coupled, hybrid=True, asymmetricQuantizeInputs=asymmetric)
    network = cimemu.quantize(load_network(path), cimemu.load_arch("rram_128"))
    turns = [layer for layer in network.layers if isinstance(layer, MacroLayer)]
    assert len(turns) == STEPS  # of all inputs, and of the states behind the first step
    assert len({id(layer.weight) for layer in turns[1:]}) == 1
    x = 2 * np.random.default_rng(2).standard_normal((20, STEPS, INPUTS)).astype(np.float32)
    x[3, 2] = 0
    ours = Emulator(network, MACRO).run([x], frozenset(["y"])).tensors["y"]
    theirs = LiteRtRun(network).tensors([x], network)["y"]
    assert np.abs(ours - theirs).max() < 1e-6
    assert not check_network(network, MACRO, x).failed


def test_weights_of_two_kinds_are_refused_in_one_line(tmp_path):
    change = [(2, ([HIDDEN, INPUTS], "float32", None, 0, np.ones((HIDDEN, INPUTS))))]
    with pytest.raises(
        cimemu.WorkloadError, match="weight other2 is float32 of 0 scales, must be int8 of one scale"
    ) as error:
        load_network(spotter(tmp_path / "n.tflite", "float32", hybrid=True, change=change))
    assert "\n" not in str(error.value)


def test_tables_hold_gemmlowp_functions_of_all_codes():
    x = np.arange(-32768, 32768)
    assert np.abs(logistic_table() / 32768 - 1 / (1 + np.exp(-x / 4096))).max() < 4e-4
    assert (logistic_table()[32768], tanh_table(3)[32768]) == (16384, 0)
    for bits in range(7):
        assert np.abs(tanh_table(bits) / 32768 - np.tanh(x / 2.0 ** (15 - bits))).max() < 6e-4


def test_a_cell_by_hand():
    """Gates at 0: half of the last state, nothing new, and half of its hyperbolic tangent."""
    cell = TflLstmCell("c", ("x", "r", "s"), ("h", "n"), 1, False, 3, 0, (1 << 30, -22), 5)
    x, r, state = np.zeros((1, 1, 4), np.int16), np.zeros((1, 1, 4), np.int32), np.full((1, 1, 1), 8192, np.int16)
    hidden, new = cell.forward([x, r, state])
    assert new.item() == 4096  # 1.0 in steps of 2^-12
    # 16384 * 24957 (tanh 1 = 0.7616) / 2^23 = 48.7
    assert hidden.item() == 5 + 49


REFUSED = {
    "peepholes": ({"change": [(9, ([HIDDEN], "int16", 0.01, 0, [1] * HIDDEN))]}, "has peepholes, which is not supported"),
    "projection": ({"change": [(16, ([4, HIDDEN], "int8", 0.01, 0, [[1] * HIDDEN] * 4))]}, "has a projection"),
    "norm": ({"change": [(21, ([HIDDEN], "int16", 0.01, 0, [1] * HIDDEN))]}, "has layer normalisation"),
    "activation": ({"fusedActivationFunction": 1}, r"activation 1, must be 4 \(tanh\)"),
    "half a coupling": ({"change": [(1, None)]}, "has no input gate, but weights or a bias of it"),
    "cell": ({"change": [(19, ([1, HIDDEN], "int16", 0.001, 0, None, 0, None, True))]}, "a power of two from 2"),
    "state": ({"change": [(18, ([2, HIDDEN], "int8", 1 / 128, -4, None, 0, None, True))]}, r"must be a variable of \[1, 7\]"),
    "weight": ({"change": [(2, ([HIDDEN, 4], "int8", 0.01, 0, [[1] * 4] * HIDDEN))]}, r"must be a constant of \[7, 5\]"),
    "scales": ({"change": [(2, ([HIDDEN, INPUTS], "int8", 0.01, 3, [[1] * INPUTS] * HIDDEN))]}, "the zero point 0"),
    "bias": ({"change": [(13, ([HIDDEN], "int32", 0.7, 0, [1] * HIDDEN))]}, "must be input scale x weight scale"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_one_line(tmp_path, name):
    given, said = REFUSED[name]
    with pytest.raises(cimemu.WorkloadError, match=said) as error:
        load_network(spotter(tmp_path / "n.tflite", **given))
    assert "operator 0 (UNIDIRECTIONAL_SEQUENCE_LSTM)" in str(error.value)
    assert "\n" not in str(error.value)


def test_time_in_front_is_the_same_sequence(tmp_path):
    forms = set()
    for seed in range(12):
        (x,) = lstm(Draw(seed, "int8"), tmp_path / "n.tflite")
        network = load_network(tmp_path / "n.tflite")
        forms.add(len(network.types[network.outputs[0]].shape))
        assert check_network(network, MACRO, x).differing == 0
    assert forms == {2, 3}  # [steps, hidden] of an image, or the whole [steps, 1, hidden]
    assert litert((tmp_path / "n.tflite").read_bytes(), x)
