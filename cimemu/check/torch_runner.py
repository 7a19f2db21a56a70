"""PyTorch's own values of every tensor of a quantised program of torch.export (PT2E), node by node."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cimemu.check.forms import Form
from cimemu.errors import WorkloadError
from cimemu.importer.from_torch import read_program, torch_of
from cimemu.layer.base import Array
from cimemu.workload.network import Network

PRODUCTS = ("aten.conv", "aten.linear", "aten.matmul", "aten.mm", "aten.addmm", "aten.bmm")


class TorchRun:
    """The program of the network's `.pt2` file, interpreted; a tensor of the network is compared with the node of its name."""

    title = "PyTorch"
    inexact: tuple[str, ...] = ()

    def __init__(self, network: Network) -> None:
        """Load the network's file. WorkloadError in one line."""
        if network.origin is None or network.origin.suffix.lower() != ".pt2":
            raise WorkloadError(
                f"network {network.name}: did not come from a quantised .pt2 file, compare it with onnxruntime"
            )
        self.torch = torch_of()
        self.program = read_program(network.origin)
        self.module = self.program.module()
        self.version = str(self.torch.__version__)
        self.settings = {"image by image": "yes"}
        made = {node.name: str(node.target) for node in self.module.graph.nodes if node.op == "call_function"}
        self.kernels: Mapping[str, int] = Counter(made.values())
        self.unfused = sum(count for name, count in self.kernels.items() if name.startswith(PRODUCTS))
        self.names = tuple(name for name in network.types if name in made and name not in network.inputs)
        self.forms = {name: Form(f"{made[name]}, node by node") for name in self.names}

    def tensors(self, inputs: Sequence[Array], network: Network, first: int = 0) -> dict[str, Array]:
        """Every computed tensor for one batch, image by image; a fixed batch is filled with copies of the image."""
        found: dict[str, list[Array]] = {name: [] for name in self.names}
        sizes = [node.meta["val"].shape for node in self.module.graph.nodes if node.op == "placeholder"]
        for image in range(len(inputs[0])):
            given = [
                self.torch.from_numpy(np.repeat(array[image : image + 1], _copies(size), axis=0))
                for array, size in zip(inputs, sizes)
            ]
            kept = self._values(given)
            for name, parts in found.items():
                value = np.asarray(kept[name].detach())
                one = value[:1] if value.ndim == len(network.types[name].shape) + 1 else value[None]
                parts.append(one.reshape(1, *network.types[name].shape))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _values(self, given: Sequence[Any]) -> dict[str, Any]:
        """What every node makes of tensors."""
        kept: dict[str, Any] = {}
        wanted = frozenset(self.names)

        class Keeping(self.torch.fx.Interpreter):  # type: ignore[misc, name-defined]
            def run_node(self, node: Any) -> Any:
                value = super().run_node(node)
                if node.name in wanted:
                    kept[node.name] = value
                return value

        with self.torch.no_grad():
            Keeping(self.module).run(*given)
        return kept


def _copies(size: Any) -> int:
    """Images that a program takes at a time: 1 where any number is."""
    return int(size[0]) if isinstance(size[0], int) else 1
