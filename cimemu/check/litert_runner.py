"""LiteRT's reference kernels' own values of every tensor of a TensorFlow Lite file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cimemu.check.forms import Form
from cimemu.errors import CimemuError, WorkloadError
from cimemu.importer.tflite_float import FIRST, TO_CHANNELS_FIRST
from cimemu.layer.base import Array
from cimemu.workload.network import Network


class LiteRtRun:
    """One interpreter with the reference kernels (BUILTIN_REF), every tensor kept."""

    title = "LiteRT reference kernels"
    kernels: Mapping[str, int] = {}
    unfused = 0
    inexact: tuple[str, ...] = ()

    def __init__(self, network: Network) -> None:
        """Load the network's file. CimemuError or WorkloadError in one line."""
        if network.origin is None or network.origin.suffix.lower() != ".tflite":
            raise WorkloadError(
                f"network {network.name}: did not come from a .tflite file, compare it with onnxruntime"
            )
        try:
            import ai_edge_litert
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError:
            raise CimemuError(
                'LiteRT is not installed: pip install "cimemu[check]", or compare with a file: --against FILE.npz'
            ) from None
        try:
            self.interpreter = Interpreter(
                model_path=str(network.origin),
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                experimental_preserve_all_tensors=True,
            )
            for detail in self.interpreter.get_input_details():
                self._resize(detail, network)
            self.interpreter.allocate_tensors()
            details = self.interpreter.get_tensor_details()
        except Exception as error:  # the runtime's own exceptions have no common base
            raise _refused(network, error) from None
        self.version = str(getattr(ai_edge_litert, "__version__", ""))
        self.settings = {"kernels": "BUILTIN_REF", "image by image": "yes"}
        self.numbers = _numbers(details)
        # Float images stand channels first here, under a name of their own.
        self.numbers |= {f"{name}{FIRST}": number for name, number in self.numbers.items()}
        self.batch = {d["index"]: max(1, int(d["shape"][0])) if len(d["shape"]) else 0 for d in details}  # 0: no axes
        self.names = tuple(name for name in network.types if name in self.numbers and name not in network.inputs)
        self.forms = _forms(self.interpreter, self.numbers, self.names)

    def _resize(self, detail: Mapping[str, Any], network: Network) -> None:
        """An input with sizes that were open gets the network's."""
        kind = network.types.get(str(detail["name"]))
        if kind is not None and -1 in detail["shape_signature"][1:]:
            self.interpreter.resize_tensor_input(detail["index"], [1, *kind.shape])

    def tensors(self, inputs: Sequence[Array], network: Network, first: int = 0) -> dict[str, Array]:
        """Every computed tensor for one batch, image by image; a fixed batch is filled with copies of the image."""
        found: dict[str, list[Any]] = {name: [] for name in self.names}
        try:
            for image in range(len(inputs[0])):
                for name, array in zip(network.inputs, inputs):
                    number = self.numbers[name]
                    batch = self.batch[number]
                    copies = np.repeat(array[image : image + 1], batch, axis=0) if batch else np.asarray(array[image])
                    self.interpreter.set_tensor(number, copies)
                for name, array in network.fixed.items():
                    self.interpreter.set_tensor(self.numbers[name], array)
                self.interpreter.reset_all_variables()  # every image begins a sequence
                self.interpreter.invoke()
                for name, parts in found.items():
                    parts.append(_one_image(self.interpreter.get_tensor(self.numbers[name]), network, name))
        except Exception as error:  # the runtime's own exceptions have no common base
            raise _refused(network, error) from None
        return {name: np.concatenate(parts) for name, parts in found.items()}


def _one_image(value: Array, network: Network, name: str) -> Array:
    if name.endswith(FIRST):
        return value[:1].transpose(TO_CHANNELS_FIRST)
    return value[:1] if value.ndim == len(network.types[name].shape) + 1 else value.reshape(1, *value.shape)


def _refused(network: Network, error: Exception) -> WorkloadError:
    reason = " ".join(str(error).split())[:200]
    return WorkloadError(
        f"network {network.name}: LiteRT does not take it: {reason}; compare with a file: --against FILE.npz"
    )


def _numbers(details: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Tensor numbers by the names that the importer gives: one that is there already gets its number behind it."""
    numbers: dict[str, int] = {}
    for detail in sorted(details, key=lambda d: int(d["index"])):
        index = int(detail["index"])
        name = detail["name"] or f"tensor_{index}"
        numbers[f"{name}_{index}" if name in numbers else name] = index
    return numbers


def _forms(interpreter: Any, numbers: Mapping[str, int], names: Sequence[str]) -> dict[str, Form]:
    """The operator that makes each tensor, where the interpreter tells."""
    details: list[Mapping[str, Any]] = getattr(interpreter, "_get_ops_details", list)()
    makers = {int(number): operator["op_name"] for operator in details for number in operator["outputs"]}
    known = {name: makers.get(numbers[name]) for name in names}
    return {name: Form(f"{maker}, reference kernel" if maker else "reference kernel") for name, maker in known.items()}
