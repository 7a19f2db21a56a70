"""How many examples a property is tried on: a few by default, many where slow tests run."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings


def drawn(*strategies: Any, few: int, many: int) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Try a property on `few` draws, and in a slow twin on `many`; the few are the first of the many."""

    def decorate(function: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.slow)])
        def test(examples: int) -> None:
            amount = settings(
                deadline=None, derandomize=True, max_examples=examples, suppress_health_check=list(HealthCheck)
            )
            amount(given(*strategies)(function))()

        test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
        return test

    return decorate
