"""Text by a decoder, a token a step: its logits choose the next token, and its caches go back in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.decoder_steps import DecoderSteps
from cimemu.errors import WorkloadError
from cimemu.growing import Lengths, lengths_of
from cimemu.keywords import filled
from cimemu.layer.base import Array
from cimemu.loading.load import load_workload
from cimemu.macro.sites import by_placed
from cimemu.mapping.place import make_plan
from cimemu.options import Draws, DrawsKeywords
from cimemu.prepare import quantized_network
from cimemu.tally import tally_energy
from cimemu.timing.simulate import Simulation
from cimemu.timing.timeline import with_wake_ups
from cimemu.workload.network import Network

MOST_TOKENS = 1 << 16


@dataclass(frozen=True, eq=False)
class Generated:
    """What `cimemu.generate` returns; a step is a run of the network on one token of every text."""

    tokens: NDArray[np.int64]  # [texts, new tokens]
    logits: NDArray[Any]  # [texts, steps, vocabulary], those of the prompt's tokens first
    states: Mapping[str, Array]  # the inputs that results were fed back to, behind the last step
    cycles: int
    energy_uj: float
    macs: int

    @property
    def steps(self) -> int:
        """Runs of the network."""
        return int(self.logits.shape[1])


def generate(
    arch: Arch | str | Path,
    network: Network | Lengths | str | Path,
    inputs: Mapping[str, Any],
    tokens: int = 32,
    *,
    feedback: Mapping[str, str] | None = None,
    position: str | None = None,
    stop: int | None = None,
    draws: Draws = Draws(),
    **given: Unpack[DrawsKeywords],
) -> Generated:
    """Have the decoder `network` write `tokens` tokens behind a prompt, greedily, on `arch`.

    The network takes one token a step: a quantised one, or a file or workload, which is quantised for `arch`. `inputs` holds
    the prompt, int [texts, tokens], by the name of the input that takes it; what else it holds are first values of other
    inputs. `feedback` gives outputs to inputs of the next step, input name by output name; by default those whose names
    differ as "present" and "past" do. Their first values are 0. `position` is the input that counts the steps from 0 (by
    default the one integer input that has "position" in its name). The largest of the last logits, of the first output that
    is not fed back, is the next token; `stop` ends a batch of texts whose tokens all are it. A cache of a network has a
    fixed size: an output that is fed back is like its input. An ONNX file may leave the length of its caches open: they
    begin empty and grow by a token a step, and every step is a network of its own (`cimemu.growing.lengths_of` says how
    its ranges are found). `draws` are those of `cimemu.run`. Every step is timed and charged by itself. Raises
    WorkloadError and MappingError.

    >>> import cimemu
    >>> cimemu.generate("rram_128", "decoder.onnx", {"token": [[1, 2]]}, 4)  # doctest: +SKIP
    """
    (draws,) = filled("generate", given, draws)
    chip = load_arch(arch) if isinstance(arch, str | Path) else arch
    if not 1 <= tokens <= MOST_TOKENS:
        raise WorkloadError(f"tokens = {tokens}, must be 1..{MOST_TOKENS}")
    if isinstance(network, str | Path):
        work = load_workload(str(network))
        network = lengths_of(work, chip, inputs, tokens, feedback=feedback, position=position) or quantized_network(
            work, chip
        )
    if isinstance(network, Lengths):
        steps = DecoderSteps(network.at(0), inputs, None, position, network.decoder)
    else:
        steps = DecoderSteps(network, inputs, feedback, position)
    source = network
    chips = _Steps(chip, draws, steps.texts)
    for _ in steps.run(
        lambda step: source.at(step) if isinstance(source, Lengths) else source, chips.run, tokens, stop
    ):
        pass
    return Generated(
        tokens=np.stack(steps.written, axis=1),
        logits=np.stack(steps.logits, axis=1),
        states={name: steps.values[name] for name in steps.feedback.values()},
        cycles=chips.cycles,
        energy_uj=chips.energy / 1e6,
        macs=chips.macs,
    )


class _Steps:
    """The chip and what its steps took so far; a network is placed and programmed when it is another than before."""

    def __init__(self, chip: Arch, draws: Draws, texts: int) -> None:
        self.chip, self.draws, self.texts = chip, draws, texts
        self.network: Network | None = None
        self.cycles, self.energy, self.macs = 0, 0.0, 0

    def _place(self, network: Network) -> None:
        self.network, self.plan = network, make_plan(network, self.chip)
        self.emulator = Emulator(network, self.chip.macro, plan=self.plan)
        if len(self.draws.vary):
            self.emulator.program(self.plan, self.draws.vary, self.draws.seed, self.draws.trial)
        self.simulation = Simulation(self.plan, by_placed(self.plan, self.emulator.writes), self.texts)

    def run(self, network: Network, arrays: Sequence[Array], keep: frozenset[str], step: int) -> Mapping[str, Array]:
        """One step's tensors; its time and energy are added."""
        if network is not self.network:
            self._place(network)
        plan, simulation = self.plan, self.simulation
        result = self.emulator.run(arrays, keep, first_image=step * self.texts)
        skipping = self.chip.macro.timing.skip_zero_slices
        driven = result.nonzero if skipping else None
        timeline = simulation.run(self.texts, nonzero=driven, pulses=result.pulses)
        activity = result.counts + simulation.traffic_counts()[None]
        activity, programming = with_wake_ups(activity, simulation.programming_counts(), timeline)
        tally = tally_energy(
            plan.arch, plan, activity, timeline.cycles, programming, gated_cycles=timeline.gated_cycles
        )
        self.cycles, self.energy = self.cycles + timeline.cycles, self.energy + tally.total_pj
        self.macs += self.texts * sum(layer.macs for layer in plan.layers)
        return result.tensors
