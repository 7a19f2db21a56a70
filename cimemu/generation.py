"""Text by a decoder, a token a step: its logits choose the next token, and its caches go back in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.compute.forward import Batch, Emulator
from cimemu.errors import WorkloadError
from cimemu.keywords import filled
from cimemu.layer.base import Array
from cimemu.loading.load import load_workload
from cimemu.macro.sites import by_placed
from cimemu.mapping.place import make_plan
from cimemu.options import Draws, DrawsKeywords
from cimemu.prepare import quantized_network
from cimemu.tally import tally_energy
from cimemu.timing.simulate import Simulation
from cimemu.workload.network import Network

RENAMED = (("present", "past"), ("present", "past_key_values"), ("new", "past"), ("next", "last"))
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
    network: Network | str | Path,
    inputs: Mapping[str, Any],
    tokens: int = 32,
    *,
    feedback: Mapping[str, str] | None = None,
    position: str | None = None,
    stop: int | None = None,
    draws: Draws = Draws(),
    **given: Unpack[DrawsKeywords],
) -> Generated:
    """Have the decoder `network` (quantised) write `tokens` tokens behind a prompt, greedily, on `arch`.

    The network takes one token a step. `inputs` holds the prompt, int [texts, tokens], by the name of the input that takes
    it; what else it holds are first values of other inputs. `feedback` gives outputs to inputs of the next step, input name
    by output name; by default those whose names differ as "present" and "past" do. Their first values are 0. `position` is
    the input that counts the steps from 0 (by default the one integer input that has "position" in its name). The largest
    of the last logits, of the first output that is not fed back, is the next token; `stop` ends a batch of texts whose
    tokens all are it. A cache has a fixed size: an output that is fed back is like its input. `draws` are those of
    `cimemu.run`. Every step is timed and charged by itself. Raises WorkloadError and MappingError.

    >>> import cimemu
    >>> cimemu.generate("rram_128", "decoder.onnx", {"token": [[1, 2]]}, 4)  # doctest: +SKIP
    """
    (draws,) = filled("generate", given, draws)
    chip = load_arch(arch) if isinstance(arch, str | Path) else arch
    made = network if isinstance(network, Network) else quantized_network(load_workload(str(network)), chip)
    if not 1 <= tokens <= MOST_TOKENS:
        raise WorkloadError(f"tokens = {tokens}, must be 1..{MOST_TOKENS}")
    loop = _Loop(made, dict(inputs), feedback, position)
    plan = make_plan(made, chip)
    emulator = Emulator(made, chip.macro, plan=plan)
    if len(draws.vary):
        emulator.program(plan, draws.vary, draws.seed, draws.trial)
    simulation = Simulation(plan, by_placed(plan, emulator.writes), loop.texts)
    cycles, energy = 0, 0.0
    for result in loop.steps(emulator, tokens, stop):
        skipping = chip.macro.timing.skip_zero_slices
        driven = result.nonzero if skipping else None
        timeline = simulation.run(loop.texts, nonzero=driven, pulses=result.pulses)
        activity = result.counts + simulation.traffic_counts()[None]
        tally = tally_energy(plan.arch, plan, activity, timeline.cycles, simulation.programming_counts())
        cycles, energy = cycles + timeline.cycles, energy + tally.total_pj
    return Generated(
        tokens=np.stack(loop.written, axis=1),
        logits=np.stack(loop.logits, axis=1),
        states={name: loop.values[name] for name in loop.feedback.values()},
        cycles=cycles,
        energy_uj=energy / 1e6,
        macs=len(loop.logits) * loop.texts * sum(layer.macs for layer in plan.layers),
    )


class _Loop:
    """Values of the inputs from step to step, tokens and logits so far."""

    def __init__(
        self, network: Network, inputs: dict[str, Any], feedback: Mapping[str, str] | None, position: str | None
    ) -> None:
        self.network = network
        self.feedback = _feedback(network) if feedback is None else dict(feedback)
        self._check_feedback()
        self.token = self._token(inputs)
        self.prompt = _numbers(self.token, inputs.pop(self.token))
        if self.prompt.ndim != 2 or self.prompt.dtype.kind not in "iu" or not self.prompt.size:
            raise WorkloadError(
                f"prompt '{self.token}': {self.prompt.dtype} of shape {self.prompt.shape}, must be integers [texts, tokens]"
            )
        self.texts = len(self.prompt)
        self.position = self._position() if position is None else position
        if self.position is not None and self.position not in network.inputs:
            raise WorkloadError(f"position = {self.position}: no input of the network, which takes {self._names()}")
        self.values = {name: self._first(name, inputs.pop(name, None)) for name in network.inputs if name != self.token}
        if inputs:
            raise WorkloadError(f"input {next(iter(inputs))}: not of the network, which takes {self._names()}")
        free = [name for name in network.outputs if name not in self.feedback]
        if not free or len(network.types[free[0]].shape) < 1:
            raise WorkloadError(f"network {network.name}: has no output of logits beside those that are fed back")
        self.answer = free[0]
        self.written: list[NDArray[np.int64]] = []
        self.logits: list[Array] = []

    def steps(self, emulator: Emulator, tokens: int, stop: int | None) -> Iterator[Batch]:
        """Run the prompt's tokens, then those that are written, all but the last."""
        given, network = self.prompt.shape[1], self.network
        keep = frozenset(self.feedback)
        for step in range(given + tokens - 1):
            token = self.prompt[:, step] if step < given else self.written[-1]
            arrays = [self._array(name, token, step) for name in network.inputs]
            result = emulator.run(arrays, keep, first_image=step * self.texts)
            logits = result.tensors[self.answer].reshape(self.texts, -1, network.types[self.answer].shape[-1])[:, -1]
            self.logits.append(logits)
            for output, name in self.feedback.items():
                self.values[name] = result.tensors[output]
            if step >= given - 1:
                self.written.append(logits.argmax(axis=1).astype(np.int64))
            yield result
            if self.written and stop is not None and bool((self.written[-1] == stop).all()):
                return

    def _array(self, name: str, token: Array, step: int) -> Array:
        kind = self.network.types[name]
        shape = (self.texts, *kind.shape)
        if name == self.token:
            return token.astype(kind.dtype).reshape(shape)
        if name == self.position:
            return np.full(shape, step, kind.dtype)
        return self.values[name]

    def _first(self, name: str, value: Any) -> Array:
        kind = self.network.types[name]
        shape = (self.texts, *kind.shape)
        if value is None:
            if name not in self.feedback.values() and name != self.position:
                raise WorkloadError(f"input {name}: has no first value and nothing is fed back to it, give it one")
            return np.zeros(shape, kind.dtype)
        array = _numbers(name, value)
        if array.shape != shape or array.dtype != kind.dtype:
            raise WorkloadError(f"input {name} is {array.dtype} {array.shape}, must be {kind.dtype} {shape}")
        return array

    def _token(self, inputs: Mapping[str, Any]) -> str:
        """The input that takes the prompt: the one integer input that is given and takes one number a text."""
        network = self.network
        found = [
            name
            for name in network.inputs
            if name in inputs
            and np.dtype(network.types[name].dtype).kind in "iu"
            and name not in self.feedback.values()
            and "position" not in name
        ]
        if len(found) != 1:
            raise WorkloadError(
                f"inputs: {len(found)} integer arrays given, must be one, the prompt; the network takes {self._names()}"
            )
        if network.types[found[0]].elements != 1:
            raise WorkloadError(
                f"input {found[0]}: takes {network.types[found[0]].elements} tokens a step, must be 1: export the decoder "
                "for one token with a cache of a fixed size"
            )
        return found[0]

    def _position(self) -> str | None:
        """The integer input that has "position" in its name."""
        types = self.network.types
        found = [n for n in self.network.inputs if "position" in n and np.dtype(types[n].dtype).kind in "iu"]
        return found[0] if found else None

    def _check_feedback(self) -> None:
        network = self.network
        for output, name in self.feedback.items():
            if output not in network.outputs or name not in network.inputs:
                raise WorkloadError(
                    f"feedback {output} = {name}: must be an output and an input, there are "
                    f"{', '.join(network.outputs)} and {self._names()}"
                )
            if network.types[output] != network.types[name]:
                made, taken = network.types[output], network.types[name]
                raise WorkloadError(
                    f"output {output} is {made.dtype} {list(made.shape)}, input {name} takes {taken.dtype} "
                    f"{list(taken.shape)}: export the decoder with a cache of a fixed size"
                )

    def _names(self) -> str:
        return ", ".join(self.network.inputs)


def _numbers(name: str, value: Any) -> Array:
    """An array of what was given for an input."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError):
        raise WorkloadError(f"input {name}: rows of different lengths, must be numbers [texts, ...]") from None


def _feedback(network: Network) -> dict[str, str]:
    """Outputs and inputs whose names differ in one of the words of RENAMED. WorkloadError where there are none."""
    found = {}
    for output in network.outputs:
        names = [output.replace(new, old, 1) for new, old in RENAMED if new in output]
        taken = next((name for name in names if name in network.inputs), None)
        if taken is not None:
            found[output] = taken
    if not found:
        raise WorkloadError(
            f"network {network.name}: no output is named as an input is (present.0.key, past.0.key), say which is fed back: "
            "feedback={OUTPUT: INPUT} (--feedback OUTPUT=INPUT)"
        )
    return found
