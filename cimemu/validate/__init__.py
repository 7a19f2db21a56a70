"""Published macros against the emulator: what was calibrated, and what that predicts."""

from collections.abc import Callable, Iterable, Iterator

from cimemu.errors import ArchError
from cimemu.validate import imadc, isaac, jia, kim, neurram, sinangil, wang
from cimemu.validate.row import Row

MACROS: dict[str, Callable[[], Iterator[Row]]] = {
    "jia": jia.rows,
    "sinangil": sinangil.rows,
    "wang": wang.rows,
    "isaac": isaac.rows,
    "imadc": imadc.rows,
    "kim": kim.rows,
    "neurram": neurram.rows,
}


def validate(names: Iterable[str] = ()) -> list[Row]:
    """Rows of the named macros (`jia`, `sinangil`, `wang`, `isaac`, `imadc`, `kim`, `neurram`; default: all).

    Every emulated figure is counted and timed by `cimemu.run` on a layer that fills the macro. Raises ArchError for an
    unknown name.
    """
    chosen = tuple(names) or tuple(MACROS)
    for name in chosen:
        if name not in MACROS:
            raise ArchError(f"macro {name!r}: not known, choose of {', '.join(MACROS)}")
    return [row for name in chosen for row in MACROS[name]()]


__all__ = ["MACROS", "Row", "validate"]
