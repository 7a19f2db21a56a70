"""The class that a user means: itself, a name, or `FILE.py:Class`; and a model made of it."""

from typing import Any

from cimemu import plugins
from cimemu.errors import CimemuError


def kind_of(group: str, given: Any) -> type[Any]:
    """The class of `group` that `given` is or names. Raises CimemuError in one line where it is none."""
    of = plugins.KINDS[group]
    if isinstance(given, str):
        try:
            found = plugins.find(group, given)
        except LookupError:
            raise CimemuError(
                f"{of.what} {given!r}: there is none, choose from {', '.join(plugins.names(group))}"
            ) from None
        kind: type[Any] = found
        return kind
    problem = plugins.problem_of(given, of)
    if problem and given not in plugins.built_in(group).values():
        raise CimemuError(problem)
    kind = given
    return kind


def model_of(group: str, given: Any, parameters: dict[str, Any]) -> Any:
    """A model of `group`: an object as it is, or one made of a class and its parameters."""
    if not isinstance(given, str | type):
        kind_of(group, type(given))
        if parameters:
            raise CimemuError(f"{type(given).__name__} is a model already, give its parameters when it is made")
        return given
    return kind_of(group, given)(**parameters)
