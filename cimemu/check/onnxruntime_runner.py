"""ONNX Runtime's own values of every quantised tensor of a network."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from cimemu.check.forms import Form, forms_of
from cimemu.check.ort_session import NBITS, PROBES, make_session, saturable, saturates
from cimemu.check.shared_weights import with_own_weights
from cimemu.check.unfused import ONE, keep_apart, operators_to_keep_apart
from cimemu.errors import CimemuError, WorkloadError
from cimemu.exporter import onnx_model
from cimemu.layer.base import Array, Layer
from cimemu.layer.quant import QuantizeLinear
from cimemu.layer.reduce import ReduceMean, ReduceSum
from cimemu.layer.sum_order import depends_on_batch
from cimemu.workload.network import Network

FLOAT = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulNBits")


class OrtRun:
    """One session over a QDQ graph whose quantised tensors are given out beside the outputs.

    `forms` says how it computes each tensor, `kernels` counts the operators that it really runs.
    """

    title = "ONNX Runtime"

    def __init__(self, network: Network, threads: int = 0) -> None:
        """Compile `network` (its QDQ form, or the file it came from). CimemuError or WorkloadError in one line."""
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
        names = _tensors(network, network if network.qdq is None else network.qdq)
        written = with_own_weights(_model(network, names))
        made = {name for node in written.graph.node for name in node.output}
        self.names = tuple(dict.fromkeys([*network.outputs, *(name for name in names if name in made)]))
        stored = {value.name for value in written.graph.initializer}  # some exporters list these among the inputs
        self.fixed_batch = max((_batch(value) for value in written.graph.input if value.name not in stored), default=0)
        apart = operators_to_keep_apart(network)
        self.session, ran = _session(network, keep_apart(written, apart), threads)
        self.one = any(value.name == ONE for value in self.session.get_inputs())
        self.forms: dict[str, Form] = forms_of(written, ran, PROBES, apart)
        self.kernels: dict[str, int] = {}
        for node in ran.graph.node:
            self.kernels[node.op_type] = self.kernels.get(node.op_type, 0) + 1
        # Products whose own kernel is not exact on this processor: a difference there may be the runtime's.
        left = saturable(ran)
        self.inexact: tuple[str, ...] = tuple(left) if left and saturates() else ()
        self.version = str(onnxruntime.__version__)
        options = self.session.get_session_options()
        precise = options.get_session_config_entry("session.x64quantprecision")
        self.settings = {"graph optimisation": "all, as shipped", "session.x64quantprecision": precise}
        if "MatMulNBits" in self.kernels:
            self.settings[NBITS[0]] = NBITS[1]

    @property
    def unfused(self) -> int:
        """Products that ONNX Runtime left in float: their rounding is not the integer rule (R1)."""
        return sum(count for op, count in self.kernels.items() if op in FLOAT)

    def tensors(self, inputs: Sequence[Array], network: Network, first: int = 0) -> dict[str, Array]:
        """Every quantised tensor and output for one batch; image by image where the network's batch is fixed, where
        scales are made from the image, or where float sums take an order by the place in the batch."""
        if network.origin is not None and network.whole is not None:
            return self._alone(inputs, network, network.whole)
        if not self.fixed_batch and not any(_by_image(layer, network) for layer in network.layers):
            return self._run(inputs, network)
        copies = max(1, self.fixed_batch)
        parts = [
            self._run([np.repeat(array[i : i + 1], copies, axis=0) for array in inputs], network)
            for i in range(len(inputs[0]))
        ]
        return {
            name: np.concatenate([_one_image(part[name], network.types[name].shape, copies) for part in parts])
            for name in parts[0]
        }

    def _alone(self, inputs: Sequence[Array], network: Network, whole: frozenset[str]) -> dict[str, Array]:
        """The file takes one image at a time; tensors of the names `whole` have no axis of images there."""
        parts: dict[str, list[Array]] = {name: [] for name in self.names}
        for i in range(len(inputs[0])):
            image = [np.asarray(a[i]) if name in whole else a[i : i + 1] for name, a in zip(network.inputs, inputs)]
            for name, value in self._run(image, network).items():
                parts[name].append(value.reshape(1, *network.types[name].shape))
        return {name: np.concatenate(each) for name, each in parts.items()}

    def _run(self, inputs: Sequence[Array], network: Network) -> dict[str, Array]:
        feeds: dict[str, Array] = dict(zip(network.inputs, inputs))
        if self.one:
            feeds[ONE] = np.array(1, np.float32)
        try:
            values: list[Any] = self.session.run(list(self.names), feeds)
        except Exception as error:  # the runtime's own exceptions have no common base
            raise _refused(network, error) from None
        return {name: np.asarray(value) for name, value in zip(self.names, values)}


def _by_image(layer: Layer, network: Network) -> bool:
    """Whether ONNX Runtime's result for an image may depend on the other images of its batch."""
    if isinstance(layer, ReduceSum | ReduceMean):
        return depends_on_batch(network.types[layer.inputs[0]].shape, layer.axes)
    return layer.op == "DynamicQuantizeLinear"


def _refused(network: Network, error: Exception) -> WorkloadError:
    reason = " ".join(str(error).split())[:200]
    return WorkloadError(
        f"network {network.name}: ONNX Runtime does not take it: {reason}; compare with a file: --against FILE.npz"
    )


def _session(network: Network, model: onnx.ModelProto, threads: int) -> tuple[Any, onnx.ModelProto]:
    """A session and the graph that it really runs."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        try:
            session = make_session(model.SerializeToString(), optimized=optimized, threads=threads)
            return session, onnx.load(str(optimized))
        except Exception as error:  # the runtime's own exceptions have no common base
            raise _refused(network, error) from None


def _one_image(value: Array, shape: tuple[int, ...], copies: int) -> Array:
    """The first of `copies` equal images; a value that all images of the batch share is the image's own."""
    return value[:1] if value.shape == (copies, *shape) else value.reshape(1, *value.shape)


def _batch(value: onnx.ValueInfoProto) -> int:
    """The literal batch of an input, 0 where it is open."""
    dims = value.type.tensor_type.shape.dim
    return max(0, int(dims[0].dim_value)) if dims else 0


def _model(network: Network, names: Sequence[str]) -> onnx.ModelProto:
    """The network's own file where it came quantised, else its QDQ graph, with `names` among the outputs."""
    if network.origin is None or network.origin.suffix.lower() == ".pt2":
        assert network.qdq is not None
        return onnx_model(network.qdq, names)
    try:
        model = onnx.load(str(network.origin))
    except Exception as error:  # protobuf's own exceptions have no common base with files'
        raise WorkloadError(
            f"{network.origin}: cannot be read any more: {' '.join(str(error).split())[:200]}"
        ) from None
    for value in [value for value in model.graph.input if value.name in network.fixed]:
        model.graph.input.remove(value)
        model.graph.initializer.append(onnx.numpy_helper.from_array(network.fixed[value.name], value.name))
    there = {value.name for value in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    for name in names:
        if name in made and name not in there:
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(network.types[name].dtype))
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return model


def _tensors(network: Network, qdq: Network) -> list[str]:
    """Tensors that both the lowered network and its QDQ graph compute: integers, and floats that go on in float beside
    being quantised (a transformer's skip connections), which no fusion can take into an integer operator."""
    readers: dict[str, set[bool]] = {}
    for layer in network.layers:
        for name in layer.inputs:
            readers.setdefault(name, set()).add(isinstance(layer, QuantizeLinear))
    return [
        name
        for name, tensor in network.types.items()
        if name in qdq.types
        and name not in qdq.inputs
        and (np.dtype(tensor.dtype).kind in "iub" or (tensor.dtype == "float32" and len(readers.get(name, ())) == 2))
    ]
