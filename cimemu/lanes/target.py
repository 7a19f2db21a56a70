"""What the processor that kernels are compiled for can do."""

from llvmlite import binding
from numba import config

from cimemu.lanes.jit import JIT_DISABLED


def target_has(*features):
    """Whether the compiler's target has all of these instruction sets (without the compiler: yes)."""
    if JIT_DISABLED:
        return True
    if config.CPU_NAME or config.CPU_FEATURES:
        given = (config.CPU_FEATURES or "").split(",")
        return all(f"+{feature}" in given for feature in features)
    host = binding.get_host_cpu_features()
    return all(host.get(feature, False) for feature in features)
