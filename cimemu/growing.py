"""A decoder whose caches grow, quantised for a chip: a network for every length, of one set of weights and ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimemu.arch.schema import Arch
from cimemu.decoder_steps import DecoderSteps
from cimemu.errors import WorkloadError
from cimemu.importer.onnx_growing import GrowingDecoder, growing_decoder
from cimemu.layer.base import Array
from cimemu.layer.execute import run_float
from cimemu.loading.bare import BareWorkload, only_array
from cimemu.lower import left_in_float
from cimemu.ptq.gates import one_range
from cimemu.ptq.quantize import quantised_tensors, quantize
from cimemu.ptq.ranges import Observed, Observer, Ranges
from cimemu.workload.manifest import Workload
from cimemu.workload.network import Network
from cimemu.workload.npz import is_npz, npy_array, npz_array, npz_names


@dataclass(frozen=True, eq=False)
class Lengths:
    """The networks of a growing decoder on `arch`; `observed` are a float one's ranges, over all lengths."""

    decoder: GrowingDecoder
    arch: Arch
    ranges: Ranges
    observed: Observed | None

    def at(self, length: int) -> Network:
        """The integer network for caches of `length` tokens."""
        return quantize(self.decoder.network(length), self.arch, self.observed, ranges=self.ranges)


def lengths_of(
    work: Workload,
    arch: Arch,
    inputs: Mapping[str, Any],
    tokens: int,
    *,
    feedback: Mapping[str, str] | None = None,
    position: str | None = None,
    calibration: Any = None,
) -> Lengths | None:
    """The networks of a workload's ONNX file for `inputs`, of which one is the prompt; None where no cache of it grows.

    The ranges of a float decoder are those of the texts `calibration`, int [texts, tokens], which it reads; or else of the
    prompt and of the tokens that it writes behind it in float. WorkloadError.
    """
    if work.network.suffix.lower() != ".onnx":
        return None
    values = work.given.values if isinstance(work, BareWorkload) else {}
    decoder = growing_decoder(work.network, inputs, feedback, values)
    if decoder is None:
        return None
    if isinstance(work, BareWorkload):
        if work.given.shapes:
            raise WorkloadError(
                f"{work.network}: its caches grow, every step has its own shapes: leave the input shapes out"
            )
        if calibration is None and work.given.calibration is not None:
            calibration = _texts(work.given.calibration, inputs)
    settings = work.manifest.quantize
    ranges = Ranges(settings.weights, settings.activations, settings.percentile)
    first = decoder.network(0)
    if first.is_quantized:
        if settings.float_layers == "quantize" and left_in_float(first):
            raise WorkloadError(
                f"network {first.name}: float_layers = quantize, its caches grow: quantise the file before, or leave these "
                "products on the digital unit"
            )
        return Lengths(decoder, arch, ranges, None)
    steps = DecoderSteps(first, inputs, None, position, decoder)
    if calibration is not None:
        steps, tokens = DecoderSteps(first, {**inputs, steps.token: calibration}, None, position, decoder), 1
    return Lengths(decoder, arch, ranges, _observed(decoder, arch, steps, tokens, ranges))


def _texts(path: Path, inputs: Mapping[str, Any]) -> Any:
    """The tokens of an `.npy` or `.npz`: the array of the prompt's name, or the only one."""
    if not is_npz(path):
        return npy_array(path)
    name = next((name for name in npz_names(path) if name in inputs), None)
    return only_array(path) if name is None else npz_array(path, name)[0]


def _observed(decoder: GrowingDecoder, arch: Arch, steps: DecoderSteps, tokens: int, ranges: Ranges) -> Observed:
    """Ranges over all steps of the float networks."""
    observers: dict[str, Observer] = {}

    def run(network: Network, arrays: Sequence[Array], keep: frozenset[str], step: int) -> Mapping[str, Array]:
        names = quantised_tensors(network, arch.mapping.activations)
        made = run_float(network, dict(zip(network.inputs, arrays)), [*names, *keep])
        alias = one_range(network)
        for name in names:
            observers.setdefault(alias.get(name, name), Observer(ranges.method != "minmax")).add(made[name])
        return made

    for _ in steps.run(decoder.network, run, tokens):
        pass
    return Observed(observers)
