"""ONNX Runtime's own values of every quantised tensor of a network."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from cimemu.check.ort_session import make_session, saturable, saturates
from cimemu.errors import CimemuError, WorkloadError
from cimemu.exporter import onnx_model
from cimemu.layer.base import Array
from cimemu.workload.network import Network

FUSED = ("QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger", "ConvInteger")
FLOAT = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


class OrtRun:
    """One session over a QDQ graph whose quantised tensors are given out beside the outputs."""

    title = "ONNX Runtime"

    def __init__(self, network: Network, threads: int = 0) -> None:
        """Compile `network` (its QDQ form). `kernels` counts the operators that ONNX Runtime really runs."""
        try:
            import onnxruntime
        except ImportError:
            raise CimemuError(
                'ONNX Runtime is not installed: pip install "cimemu[check]", or compare with a file: --against FILE.npz'
            ) from None
        if network.qdq is None and (network.origin is None or network.origin.suffix != ".onnx"):
            raise WorkloadError(
                f"network {network.name}: has no QDQ graph, ONNX Runtime cannot run it; compare with litert or a file"
            )
        qdq = network if network.qdq is None else network.qdq
        self.names = _integer_tensors(network, qdq)
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            try:
                self.session = make_session(
                    _model(network, self.names).SerializeToString(), optimized=optimized, threads=threads
                )
            except Exception as error:  # the runtime's own exceptions have no common base
                reason = " ".join(str(error).split())[:200]
                raise WorkloadError(f"network {network.name}: ONNX Runtime does not take it: {reason}") from None
            ran = onnx.load(str(optimized))
        self.kernels: dict[str, int] = {}
        for node in ran.graph.node:
            self.kernels[node.op_type] = self.kernels.get(node.op_type, 0) + 1
        # Products whose own kernel is not exact on this processor: a difference there may be the runtime's.
        left = saturable(ran)
        self.inexact: tuple[str, ...] = tuple(left) if left and saturates() else ()
        self.version = str(onnxruntime.__version__)

    @property
    def unfused(self) -> int:
        """Products that ONNX Runtime left in float: their rounding is not the integer rule (R1)."""
        return sum(count for op, count in self.kernels.items() if op in FLOAT)

    def tensors(self, inputs: Mapping[str, Array] | Sequence[Array], network: Network) -> dict[str, Array]:
        """Every quantised tensor and output for one batch."""
        feeds = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(network.inputs, inputs))
        names = [*network.outputs, *(name for name in self.names if name not in network.outputs)]
        values: list[Any] = self.session.run(names, feeds)
        return {name: np.asarray(value) for name, value in zip(names, values)}


def _model(network: Network, names: list[str]) -> onnx.ModelProto:
    """The network's own file where it came quantised, else its QDQ graph, with `names` among the outputs."""
    if network.origin is None:
        assert network.qdq is not None
        return onnx_model(network.qdq, names)
    model = onnx.load(str(network.origin))
    there = {value.name for value in model.graph.output}
    for name in names:
        if name not in there:
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(network.types[name].dtype))
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return model


def _integer_tensors(network: Network, qdq: Network) -> list[str]:
    """Integer tensors that both the lowered network and its QDQ graph have."""
    return [
        name
        for name, tensor in network.types.items()
        if tensor.dtype in ("int8", "uint8", "int32") and name in qdq.types and name not in qdq.inputs and tensor.shape
    ]
