"""Which engine runs: one table, the fastest first, and the one function that walks down it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cimemu.engines.engine import Engine, WhyNot
from cimemu.engines.exact.engine import EXACT
from cimemu.engines.lookup.engine import LOOKUP
from cimemu.engines.packed.engine import PACKED
from cimemu.engines.planes.engine import PLANES
from cimemu.engines.steps.engine import STEPS
from cimemu.errors import CimemuError

ENGINES: tuple[Engine, ...] = (EXACT, PLANES, LOOKUP, PACKED, STEPS)
NAMES = tuple(engine.name for engine in ENGINES)
SERIAL = frozenset(engine.name for engine in ENGINES if engine.serial) | {"naive"}  # these make every conversion
# Inputs of a matrix from which bit planes and tables have paid for being made, where packed words serve from the first
# (measured from 16 to 1280 rows and 16 to 1000 outputs: 280 to 510, and 200 to 1000).
PAYS_FROM = {"planes": 320, "lookup": 512}
_SERIAL = tuple(engine.name for engine in ENGINES if engine.serial)
# What may be asked for, and the engines that it allows. `packed` and `fixed` are words of the first version: every
# conversion made, by any engine, or without packed words. A name that stands for one engine forces it.
ASKED: dict[str, tuple[str, ...]] = {
    "auto": NAMES,
    "serial": _SERIAL,
    "packed": _SERIAL,
    "fixed": ("lookup", "steps"),
    **{name: (name,) for name in ("exact", "planes", "lookup", "steps")},
}
PATHS = (*ASKED, "naive")

Prepared = Callable[[Engine], Any]


@dataclass(frozen=True)
class Choice:
    """The engine that runs, what it has prepared, and why each faster one does not run: (engine, reason)."""

    engine: Engine
    prepared: Any
    passed_over: tuple[tuple[str, str], ...]


def engines_of(path: str) -> tuple[str, ...]:
    """Names of the engines that a word allows (none: `naive`). CimemuError for a word that is not one of PATHS."""
    if not isinstance(path, str) or path not in PATHS:
        raise CimemuError(f"path = {path!r}, must be one of {', '.join(PATHS)}")
    return ASKED.get(path, ())


def choose(prepared: Prepared, path: str, *, codes: bool, values: bool, inputs: int) -> Choice:
    """The first engine of the table that serves.

    `prepared` gives what an engine has made of the matrix, or a WhyNot; `path` is what was asked for (one of PATHS but
    naive), `codes` whether every conversion is to be made, `values` whether converters' codes are to be given back,
    `inputs` how many inputs the matrix has had, these included. CimemuError where an engine asked for by its name
    does not serve.
    """
    allowed = engines_of(path)
    passed: list[tuple[str, str]] = []
    for engine in ENGINES:
        why = None
        if engine.name not in allowed:
            why = f"path = {path} is asked for"
        elif codes and not engine.serial:
            why = "every conversion is asked for, and it makes none"
        elif values and not engine.gives_codes:
            why = "codes are asked for, and it keeps none"
        else:
            why = _too_few(prepared, engine.name, inputs, allowed)
        if why is None:
            made = prepared(engine)
            if not isinstance(made, WhyNot):
                return Choice(engine, made, tuple(passed))
            why = made.reason
        passed.append((engine.name, why))
    raise CimemuError(f"path = {path}: {dict(passed)[allowed[-1]]}; use auto, all engines give the same bytes")


def _too_few(prepared: Prepared, name: str, inputs: int, allowed: tuple[str, ...]) -> str | None:
    """Why an engine would not pay yet: its preparation takes longer than so few inputs from packed words."""
    least = PAYS_FROM.get(name, 0)
    if inputs >= least or PACKED.name not in allowed or isinstance(prepared(PACKED), WhyNot):
        return None
    return f"its preparation pays from {least} inputs on, the matrix has had {inputs}"
