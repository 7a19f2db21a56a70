"""Every error cimemu raises on purpose: one line that names the value, the rule and the remedy."""


class CimemuError(Exception):
    """Base of all cimemu errors; the command line prints it in one line and ends with status 2.

    >>> import cimemu
    >>> try:
    ...     cimemu.load_arch("rram_128", {"macro.adc.bits": 99})
    ... except cimemu.CimemuError as error:
    ...     print(error)
    arch/rram_128.yaml: macro.adc.bits = 99, must be <= 14
    """


class ArchError(CimemuError):
    """An architecture file, preset or override is wrong."""


class WorkloadError(CimemuError):
    """A network, workload, data file or an operator in it is wrong or not supported."""


class MappingError(CimemuError):
    """The network and the chip do not fit together."""


class PluginError(CimemuError):
    """A plug-in (a class from a package or file of others) is missing, broken, or has a name that is taken."""


class TraceError(CimemuError):
    """A trace file is missing, not whole, or not a trace."""


def why_unreadable(error: OSError) -> str:
    """The cause and the remedy of a file that cannot be opened, for a line that names the file."""
    text = " ".join(str(error.strerror or error).split())[:160]
    if "unable to lock file" in str(error) or isinstance(error, BlockingIOError):
        return "another program holds it open for writing: wait until that is done, or copy the file"
    if isinstance(error, PermissionError):
        return f"{text}: ask for the right to read it, or copy the file"
    return text
