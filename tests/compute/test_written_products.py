"""Products of two activations on macros: the digital unit's integers where nothing is lost, else those of the naive twin."""

import attention
import numpy as np
from amounts import drawn
from hypothesis import assume
from hypothesis import strategies as st
from test_laws import plain_macros

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.errors import CimemuError, MappingError


@st.composite
def macros(draw, adcs=("ideal",)):
    """A random macro, which may cut groups apart."""
    tree = draw(plain_macros(encodings=("offset", "twos_complement", "differential")))
    tree["mapping"] = {"groups": draw(st.sampled_from(["block_diagonal", "separate"]))}
    tree["adc"] = draw(st.sampled_from(adcs))
    tree["cell"]["kind"] = draw(st.sampled_from(["current", "charge", "digital"]))
    try:
        return cimemu.Macro.model_validate(tree)
    except CimemuError:
        return assume(False)


def emulated(network, macro, arrays, path="auto", **more):
    try:
        emulator = Emulator(network, macro, path=path)
    except MappingError:
        return assume(False)
    return emulator.run([arrays[name] for name in network.inputs], **more)


@drawn(attention.cases(), macros(), few=10, many=100)
def test_lossless_macros_give_the_digital_units_integers(case, macro):
    network, digital, arrays = case
    assert [layer.op for layer in network.layers if layer.on_macros] == ["WrittenProduct"]
    ours = emulated(network, macro, arrays).tensors["y"]
    theirs = attention.on_digital(digital, arrays)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)


LOSSY = ({"model": "linear", "bits": 3}, {"model": "linear", "bits": 2, "lsb": 1.5, "zero": 0.25})


@drawn(attention.cases(), macros(LOSSY), st.sampled_from(["auto", "serial", "steps"]), few=4, many=100)
def test_lossy_macros_give_what_the_naive_twin_gives(case, macro, path):
    network, _, arrays = case
    ours, naive = (emulated(network, macro, arrays, p) for p in (path, "naive"))
    assert np.array_equal(ours.tensors["y"], naive.tensors["y"])
    assert np.array_equal(ours.counts, naive.counts)
