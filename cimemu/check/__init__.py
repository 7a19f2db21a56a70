"""Tensor by tensor against other runtimes and files."""

from cimemu.check.compare import TensorDiff, compare_tensor

__all__ = ["TensorDiff", "compare_tensor"]
