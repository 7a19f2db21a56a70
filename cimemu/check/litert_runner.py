"""LiteRT's reference kernels' own values of every tensor of a TensorFlow Lite file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cimemu.errors import CimemuError, WorkloadError
from cimemu.layer.base import Array
from cimemu.workload.network import Network


class LiteRtRun:
    """One interpreter with the reference kernels (BUILTIN_REF), every tensor kept."""

    title = "LiteRT reference kernels"

    def __init__(self, network: Network) -> None:
        """Load the network's file."""
        if network.origin is None or network.origin.suffix != ".tflite":
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
        self.interpreter = Interpreter(
            model_path=str(network.origin),
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        self.interpreter.allocate_tensors()
        self.version = str(getattr(ai_edge_litert, "__version__", ""))
        details = self.interpreter.get_tensor_details()
        self.numbers = {d["name"]: d["index"] for d in details}
        self.names = [name for name in network.types if name in self.numbers and name not in network.inputs]
        self.kernels: dict[str, int] = {}
        self.unfused = 0
        self.inexact: tuple[str, ...] = ()

    def tensors(self, inputs: Sequence[Array], network: Network) -> dict[str, Array]:
        """Every computed tensor for one batch, image by image."""
        found: dict[str, list[Any]] = {name: [] for name in self.names}
        for image in range(len(inputs[0])):
            for name, array in zip(network.inputs, inputs):
                self.interpreter.set_tensor(self.numbers[name], array[image : image + 1])
            self.interpreter.invoke()
            for name, parts in found.items():
                parts.append(self.interpreter.get_tensor(self.numbers[name]))
        return {name: np.concatenate(parts) for name, parts in found.items()}
