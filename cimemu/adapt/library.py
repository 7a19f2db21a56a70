"""PyTorch, imported when it is needed, and the settings of a process that make it repeat itself."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cimemu.errors import WorkloadError


def torch_of() -> Any:
    """The torch package. WorkloadError where it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise WorkloadError('torch is not installed: pip install "cimemu[torch]"') from None


def device_of(name: str) -> Any:
    """The torch device of that name. WorkloadError where this machine has none."""
    torch = torch_of()
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(name.partition(":")[2] or 0)
        if number >= count:
            raise WorkloadError(f"device = {name}: PyTorch sees {count} CUDA devices here, use cpu")
    return torch.device(name)


@contextmanager
def repeatable(threads: int | None) -> Iterator[None]:
    """Deterministic algorithms and so many threads inside the block; as before behind it."""
    torch = torch_of()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic matrix products on CUDA ask for
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads or before[1])
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
