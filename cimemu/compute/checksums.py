"""What the checksum columns of a network can find on its converters, and what they found on a drawn chip, in a line each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cimemu.compute.matrix import LayerMatrix
from cimemu.macro.checksums import Alarms

NAMED = 3


@dataclass(frozen=True)
class Checksums:
    """`losing` are layers whose converters may round or clip the psum of a healthy column, `only_seen` those in which nothing
    is ever put right; the counts are of steps of groups of drawn cells (see `cimemu.macro.checksums.Alarms`)."""

    guarded: int  # data columns of a group
    layers: int
    losing: tuple[str, ...]
    only_seen: tuple[str, ...]
    doubtful: int
    seen: int
    corrected: int

    def row(self) -> dict[str, Any]:
        """As an entry of --json."""
        return asdict(self)

    def attributes(self) -> dict[str, int]:
        """As attributes of a trace."""
        return {f"checksums_{name}": getattr(self, name) for name in Alarms._fields}

    def can(self) -> str:
        """What they find and put right."""
        if not self.losing:
            return (
                f"checksums: converters lose nothing; one faulty column in a group of {self.guarded} is found and put right, "
                "more are only seen"
            )
        said = (
            f"checksums: converters of {_listed(self.losing, self.layers)} may round or clip; a step where one does is not put "
            "right, and its faults are seen only where they add up to more than that may be"
        )
        if self.only_seen:
            return f"{said}; levels of {_listed(self.only_seen, self.layers)} are no whole psums one apart: nothing is put right"
        return said

    def lines(self) -> list[str]:
        """`can`, and what they found where cells are drawn."""
        if not (self.seen or self.doubtful):
            return [self.can()]
        found = (
            f"checksums: {self.seen:,} groups did not add up in a step, {self.corrected:,} of them were put right; "
            f"{self.doubtful:,} were in doubt, as a converter may have rounded or clipped"
        )
        return [self.can(), found]


def checksums_of(matrices: Mapping[str, LayerMatrix]) -> Checksums | None:
    """Of the layers of a network as they are programmed; None where no macro has checksum columns."""
    losing, only_seen, guarded = [], [], 0
    for name, layer in matrices.items():
        own = [p.matrix.checks for p in layer.programmed if p.matrix.checks is not None]
        if not own:
            continue
        guarded = layer.macro.repair.checksum_columns
        if not all(checks.lossless for checks in own):
            losing.append(name)
        if not all(checks.corrects for checks in own):
            only_seen.append(name)
    if not guarded:
        return None
    return Checksums(guarded, len(matrices), tuple(losing), tuple(only_seen), *alarms_of(matrices))


def alarms_of(matrices: Mapping[str, LayerMatrix]) -> Alarms:
    """What checksum columns saw in all macros since their cells were written; 0 where there are none."""
    total = Alarms(0, 0, 0)
    for layer in matrices.values():
        for units in layer.replicas:
            for programmed in units:
                total = total.plus(programmed.alarms)
    return total


def _listed(names: tuple[str, ...], layers: int) -> str:
    if len(names) == layers:
        return "all layers" if layers > 1 else names[0]
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
