"""What every estimator holds to: numbers that a component can have, the same ones whenever it is asked, and a source."""

from itertools import product
from typing import Any

from cimemu.cost.resolve import check_estimate
from cimemu.cost.schema import Costs
from cimemu.cost.site import Site
from cimemu.testing.kinds import model_of


def check_estimator(given: Any, *, component: str = "wordline", **parameters: Any) -> list[str]:
    """Hold an estimator to its properties where it stands for `component`, a key of the cost table.

    `given` is an object, or a class, name or `FILE.py:Class` with its `parameters`.

    - Numbers: energy in pJ, area in um2 and leakage in uW are finite and not negative, on every macro that it answers for.
    - Refusals: what it does not answer for is a ValueError of one line.
    - Again: the same answer when it is asked again. Source: a text of one line that is not empty.

    Returns a line for each. Raises AssertionError naming the first site that contradicts one, CimemuError where there is
    no such estimator.
    """
    model = model_of("cimemu.cost", given, parameters)
    assert component in Costs.model_fields, f"component = {component!r}, must be one of {', '.join(Costs.model_fields)}"
    answered = refused = 0
    for site in sites(component):
        try:
            found = model.estimate(site)
        except ValueError as error:
            said = str(error)
            refused += 1
        else:
            said = ""
            _check_answer(model, found, site)
            answered += 1
        assert "\n" not in said, f"a refusal of several lines: {site}"
    assert answered, f"{type(model).__name__} answers for no site, the last refusal: give it other parameters"
    return [
        f"numbers: {answered} sites",
        f"refusals: {refused} sites",
        f"again: {answered} sites",
        f"source: {found.source}",
    ]


def _check_answer(model: Any, found: Any, site: Site) -> None:
    name = type(model).__name__
    try:
        check_estimate(found, name)
    except ValueError as error:
        raise AssertionError(f"{error}: {site}") from None
    assert model.estimate(site) == found, f"{name} gives another answer when asked again: {site}"
    assert found.source, f"{name} says no source: {site}"
    assert "\n" not in found.source, f"{name}: the source has several lines: {site}"


def sites(component: str) -> list[Site]:
    """Places to ask about: small and large macros, old and new nodes, with and without a converter."""
    found = []
    widths = (1, 8) if component == "adc" else (0, 1, 8)  # without a converter nobody asks what one costs
    for rows, node, supply, bits, pulse in product(
        (1, 64, 1024), (7.0, 65.0, 180.0), (0.6, 1.2), widths, (False, True)
    ):
        thresholds = tuple(float(k) for k in range(2**bits - 1))
        circuit = "sar" if bits else ""
        found.append(
            Site(
                component,
                node,
                supply,
                rows,
                2 * rows,
                3,
                1,
                pulse,
                2.0,
                20.0,
                5.0,
                circuit,
                bits,
                thresholds,
                0.01,
                9.0,
            )
        )
    return found
