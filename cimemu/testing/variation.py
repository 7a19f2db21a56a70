"""What every model of variation holds to: keyed draws, the bytes of the definition from every engine, identity at strength 0."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from cimemu.encoding import find
from cimemu.engines.choose import PATHS
from cimemu.engines.mvm import mvm
from cimemu.errors import CimemuError
from cimemu.testing.encoding import Drawn, draw, run_on
from cimemu.variation.base import BLOCK_STAGES, Block, VariationBase
from cimemu.variation.compose import compose
from cimemu.variation.parse import make_variation, spelled


def check_variation(given: Any, *, macros: int = 8, seed: int = 0) -> list[str]:
    """Hold a model of variation to its properties on `macros` drawn macros.

    `given` is what `vary` takes: a text (`"FILE.py:Model:param=0.1"`), a mapping or an object.

    - Spelling: the model's own text, and its mapping, make the same model again.
    - Draws: a block written again from the same seed, trial and place has the same bytes; another writing has the same
      ones if they belong to the device or to nothing; levels are finite.
    - Identity: a model that says so with its default parameters changes no level.
    - Twins: every path gives the bytes of the definition on the drawn cells.
    - Threads: one, two and five give the same bytes.

    Returns a line for each. Raises AssertionError naming the first macro that contradicts one, CimemuError where there is
    no such model.
    """
    model = make_variation(given)
    name = f"{type(model).__name__} ({spelled(model)})"
    assert make_variation(spelled(model)) == model, f"{name}: its text makes another model"
    assert make_variation(model.model_dump()) == model, f"{name}: its mapping makes another model"
    lines = ["spelling: text and mapping", _check_draws(model, name), _check_identity(model, name)]
    r, checked = random.Random(seed), 0
    widths = [(bits, cell) for bits in (2, 4) for cell in (1, 2)]
    for _ in range(20 * macros):
        if checked == macros:
            break
        d = draw(find("offset"), widths, random.Random(r.random()))
        if _check_twins(model, d, name):
            checked += 1
    assert checked, f"{name}: fits none of the drawn macros"
    return [*lines, f"twins: {checked} macros", f"threads: {checked} macros"]


def _check_draws(model: VariationBase, name: str) -> str:
    first, again = _written(model), _written(model)
    assert np.array_equal(first, again), f"{name}: the same seed, trial and place give other levels"
    assert bool(np.isfinite(first).all()), f"{name}: levels that are no finite numbers"
    if model.owner != "writing":
        other = _written(model, write=1)
        assert np.array_equal(first, other), f"{name}: draws_of = {model.owner}, and another writing gives other levels"
    if model.owner == "nothing":
        assert np.array_equal(first, _written(model, seed=1)), (
            f"{name}: draws_of = nothing, and another seed gives other levels"
        )
    return f"draws: they belong to {model.owner}"


def _check_identity(model: VariationBase, name: str) -> str:
    try:
        plain = type(model)()
    except (CimemuError, ValidationError):
        return "identity: left out, a parameter has no default"
    if not plain.is_identity:
        return "identity: left out, the defaults change something"
    if plain.stage in BLOCK_STAGES:
        assert np.array_equal(_written(plain, force=True), _targets()), f"{name}: is_identity, and levels change"
    return "identity: the defaults change nothing"


def _targets() -> Any:
    return np.random.default_rng(0).integers(0, 4, (48, 40)).astype(np.uint8)


def _written(model: VariationBase, *, write: int = 0, seed: int = 0, force: bool = False) -> Any:
    """Levels of a block that the model writes; `force`: also one that says it changes nothing."""
    targets, variations = _targets(), compose([model], seed)
    block = Block(targets.astype(np.float64), targets, 3, 2, 5, write, 1, variations.leakage(3))
    if model.stage in BLOCK_STAGES:
        streams = [stream for _, stream in variations.at(model.stage)]
        if force and not streams:
            from cimemu.variation.base import Stream

            streams = [Stream(seed, 0, "identity", 0)]
        for stream in streams:
            model.write(block, stream)
    return block.levels


def _check_twins(model: VariationBase, d: Drawn, name: str) -> bool:
    """False where the macro and the model do not go together, which cimemu says in one line."""
    d = replace(d, x=np.tile(d.x, (3, 1)))
    try:
        twin = mvm(d.x, d.w, d.macro, vary=[model], seed=3, path="naive").y
    except CimemuError:
        return False
    for path in PATHS:
        found = run_on(path, d, d.x, vary=[model], seed=3) if path != "naive" else None
        assert found is None or found.y.tobytes() == twin.tobytes(), (
            f"{name}: path {path} is not the definition: {d.macro!r}"
        )
    for threads in (1, 2, 5):
        found = mvm(d.x, d.w, d.macro, vary=[model], seed=3, threads=threads)
        assert found.y.tobytes() == twin.tobytes(), f"{name}: {threads} threads give other bytes: {d.macro!r}"
    return True
