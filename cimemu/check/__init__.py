"""Tensor by tensor against other runtimes and files."""

from cimemu.check.compare import TensorDiff, compare_tensors, read_tensors

__all__ = ["TensorDiff", "compare_tensors", "read_tensors"]
