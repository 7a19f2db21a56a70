"""What is told about a network file that holds operators which cimemu does not have: all of them, in one line."""

from collections.abc import Mapping

from cimemu.errors import WorkloadError


def refusal(counts: Mapping[str, int], able: int, macs: int | None, remedy: str) -> WorkloadError:
    """The error for a file with unsupported operators.

    `counts` says how often each occurs; `able` of the file's `macs` multiply-accumulates of one image belong to operators
    that are supported (None: sizes in the file are not known). `remedy` says what the user can do.

    >>> str(refusal({"CUMSUM": 2, "CUSTOM": 1}, 900, 1000, "leave them out"))
    'operators CUMSUM (2 times) and CUSTOM (once) are not supported; 90.0 % of its 1,000 MACs could run: leave them out'
    """
    named = [f"{name} ({times(number)})" for name, number in sorted(counts.items())]
    listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    what = f"operator {listed} is" if len(named) == 1 else f"operators {listed} are"
    share = f"{100 * able / macs:.1f} % of its {macs:,} MACs could run" if macs else "it has no products with weights"
    if macs is None:
        share = "what share of its MACs could run is not known, as the file leaves sizes open"
    return WorkloadError(f"{what} not supported; {share}: {remedy}")


def times(number: int) -> str:
    """How often, in words."""
    return "once" if number == 1 else f"{number} times"
