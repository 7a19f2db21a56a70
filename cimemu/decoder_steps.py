"""A decoder's steps: one token of every text in, logits out, and results that go back in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.importer.onnx_growing import GrowingDecoder, by_names
from cimemu.layer.base import Array
from cimemu.workload.network import Network

Run = Callable[[Network, Sequence[Array], frozenset[str], int], Mapping[str, Array]]


class DecoderSteps:
    """Values of the inputs from step to step, tokens and logits so far.

    `network` is that of the first step. A `growing` decoder has another network in every step, whose caches are a token longer;
    an input with "mask" in its name is then one for every token there is.
    """

    def __init__(
        self,
        network: Network,
        inputs: Mapping[str, Any],
        feedback: Mapping[str, str] | None,
        position: str | None,
        growing: GrowingDecoder | None = None,
    ) -> None:
        """Check what is given. WorkloadError."""
        self.network, self.growing = network, growing
        self.taken = network.inputs if growing is None else growing.inputs
        left = dict(inputs)
        if growing is not None:
            self.feedback = dict(growing.feedback)
            given = next((name for name in self.feedback.values() if name in left), None)
            if given is not None:
                raise WorkloadError(f"input {given}: a cache that grows begins empty, leave it out")
        else:
            self.feedback = _feedback(network) if feedback is None else dict(feedback)
            self._check_feedback()
        self.token = self._token(left)
        self.prompt = _numbers(self.token, left.pop(self.token))
        if self.prompt.ndim != 2 or self.prompt.dtype.kind not in "iu" or not self.prompt.size:
            raise WorkloadError(
                f"prompt '{self.token}': {self.prompt.dtype} of shape {self.prompt.shape}, must be integers [texts, tokens]"
            )
        self.texts = len(self.prompt)
        self.position = self._position() if position is None else position
        if self.position is not None and self.position not in network.inputs:
            raise WorkloadError(f"position = {self.position}: no input of the network, which takes {self._names()}")
        self.masks = frozenset(name for name in network.inputs if growing is not None and "mask" in name) - left.keys()
        own = {self.token, *self.masks}
        self.values = {name: self._first(name, left.pop(name, None)) for name in network.inputs if name not in own}
        if left:
            raise WorkloadError(f"input {next(iter(left))}: not of the network, which takes {self._names()}")
        free = [name for name in network.outputs if name not in self.feedback]
        if not free or len(network.types[free[0]].shape) < 1:
            raise WorkloadError(f"network {network.name}: has no output of logits beside those that are fed back")
        self.answer = free[0]
        self.written: list[NDArray[np.int64]] = []
        self.logits: list[Array] = []

    def run(
        self, network_at: Callable[[int], Network], run: Run, tokens: int, stop: int | None = None
    ) -> Iterator[int]:
        """Run the prompt's tokens, then those that are written, all but the last: the number of each step that was made."""
        given, keep = self.prompt.shape[1], frozenset(self.feedback)
        for step in range(given + tokens - 1):
            network = network_at(step)
            token = self.prompt[:, step] if step < given else self.written[-1]
            arrays = [self._array(network, name, token, step) for name in network.inputs]
            made = run(network, arrays, keep, step)
            logits = made[self.answer].reshape(self.texts, -1, network.types[self.answer].shape[-1])[:, -1]
            self.logits.append(logits)
            for output, name in self.feedback.items():
                self.values[name] = made[output]
            if step >= given - 1:
                self.written.append(logits.argmax(axis=1).astype(np.int64))
            yield step
            if self.written and stop is not None and bool((self.written[-1] == stop).all()):
                return

    def _array(self, network: Network, name: str, token: Array, step: int) -> Array:
        kind = network.types[name]
        shape = (self.texts, *kind.shape)
        if name == self.token:
            return token.astype(kind.dtype).reshape(shape)
        if name == self.position:
            return np.full(shape, step, kind.dtype)
        if name in self.masks:
            return np.ones(shape, kind.dtype)
        value = self.values[name]
        if value.shape != shape:
            raise WorkloadError(
                f"input {name}: {list(value.shape[1:])} after {step} tokens, the network takes {list(kind.shape)}: a cache must "
                "grow by one place a token"
            )
        return value

    def _first(self, name: str, value: Any) -> Array:
        kind = self.network.types[name]
        shape = (self.texts, *kind.shape)
        if value is None:
            if name not in self.feedback.values() and name != self.position:
                raise WorkloadError(f"input {name}: has no first value and nothing is fed back to it, give it one")
            return np.zeros(shape, kind.dtype)
        array = _numbers(name, value)
        if not array.ndim and not kind.shape:
            array = np.full(shape, array).astype(kind.dtype)
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
        return ", ".join(self.taken)


def _numbers(name: str, value: Any) -> Array:
    """An array of what was given for an input."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError):
        raise WorkloadError(f"input {name}: rows of different lengths, must be numbers [texts, ...]") from None


def _feedback(network: Network) -> dict[str, str]:
    """Outputs and inputs whose names say that they belong together. WorkloadError where there are none."""
    found = by_names(network.outputs, network.inputs)
    if not found:
        raise WorkloadError(
            f"network {network.name}: no output is named as an input is (present.0.key, past.0.key), say which is fed back: "
            "feedback={OUTPUT: INPUT} (--feedback OUTPUT=INPUT)"
        )
    return found
