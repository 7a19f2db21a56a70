"""Random small chips and networks for properties."""

import nets
from hypothesis import strategies as st

import cimemu
from cimemu.arch.schema import Arch
from cimemu.errors import MappingError
from cimemu.mapping.place import make_plan
from cimemu.timing.simulate import Simulation
from cimemu.timing.spans import is_macro as is_macro


def gates(saved, after, wake):
    """`power.gating` of these figures."""
    return {"saved": saved, "after_cycles": after, "wake_cycles": wake}


def priced(arch):
    """The same chip with prices: a table of converters, and a wake-up that costs something."""
    costs = cimemu.load_arch("rram_128").costs
    woken = costs.wake_up.model_copy(update={"energy_pj": 3.25})
    return arch.model_copy(update={"costs": costs.model_copy(update={"wake_up": woken})})


@st.composite
def chips(draw):
    """A valid architecture: any interconnect, schedule, converter, buffers and sharing."""
    active = draw(st.sampled_from([2, 4, 8, 16]))
    adc = draw(
        st.sampled_from(
            [
                {"model": "ideal"},
                {"model": "linear", "bits": 3},
                {"model": "linear", "bits": 2, "circuit": "ramp"},
                {"model": "linear", "bits": 4, "circuit": "flash"},
                {"model": "linear", "bits": 5, "lsb": 2, "zero": 1},
            ]
        )
    )
    encoding = draw(st.sampled_from(["offset", "twos_complement", "differential"]))
    return Arch.model_validate(
        {
            "name": "random",
            "source": "drawn by a test",
            "clock_ns": draw(st.sampled_from([0.5, 1.0, 10.0])),
            "schedule": draw(st.sampled_from(["layer_by_layer", "pipelined"])),
            "allow_reprogram": True,
            "chip": {
                "tiles": draw(st.sampled_from([1, 2, 5, 9])),
                "interconnect": {
                    "kind": draw(st.sampled_from(["bus", "mesh"])),
                    "bits_per_cycle": draw(st.sampled_from([8, 32])),
                    "hop_cycles": draw(st.integers(0, 2)),
                },
                "global_buffer": {
                    "size_kib": draw(st.sampled_from([0.02, 0.25, 4])),
                    "ports": draw(st.integers(1, 3)),
                },
                "digital": {
                    "lanes": draw(st.sampled_from([1, 8])),
                    "startup_cycles": draw(st.integers(0, 3)),
                },
                "offchip": {"bits_per_cycle": 16, "latency_cycles": draw(st.integers(0, 7))},
            },
            "tile": {
                "macros": draw(st.integers(1, 6)),
                "input_buffer": {"size_kib": draw(st.sampled_from([0.5, 4])), "read_bits_per_cycle": 16},
                "output_buffer": {"size_kib": draw(st.sampled_from([0.25, 4]))},
                "adder_lanes": draw(st.sampled_from([1, 4])),
            },
            "macro": {
                "rows": 16,
                "columns": draw(st.sampled_from([16, 24])),
                "active_rows": active,
                "columns_per_adc": draw(st.sampled_from([1, 4, 8])),
                "weight": {"bits": 2, "encoding": encoding},
                "input": {"bits": draw(st.integers(2, 4)), "dac_bits": draw(st.integers(1, 2))},
                "adc": adc,
                "timing": {
                    "wordline_cycles": draw(st.integers(0, 2)),
                    "sample_cycles": draw(st.integers(1, 2)),
                    "shift_add_cycles": draw(st.integers(0, 2)),
                    "overlap": draw(st.booleans()),
                    "skip_zero_slices": draw(st.booleans()),
                    "skip_cycles": draw(st.integers(0, 2)),
                },
            },
            "mapping": {"share_macros": draw(st.booleans()), "max_replicas": draw(st.integers(1, 3))},
            "programming": {"row_write_cycles": 3},
            "power": {
                "gating": draw(st.none() | st.builds(gates, st.floats(0.1, 1), st.integers(0, 40), st.integers(1, 9)))
            },
        }
    )


@st.composite
def networks(draw, bits):
    """A small residual network with inputs of `bits` bits."""
    channels = draw(st.sampled_from([2, 3, 4]))
    return nets.residual_network(
        height=draw(st.integers(1, 5)),
        width=draw(st.integers(1, 4)),
        channels=channels,
        kernel=draw(st.sampled_from([1, 3])),
        groups=draw(st.sampled_from([1, channels])),
        bits=bits,
    )


def simulation_or_none(network, arch):
    """The simulation, or None where the drawn chip is too small for the drawn network."""
    try:
        return Simulation(make_plan(network, arch))
    except MappingError:
        return None
