"""Estimators asked once: a cost table whose missing numbers are filled in, with their sources."""

from dataclasses import replace
from math import inf
from typing import Any, TypeVar

from cimemu.cost.converters import CIRCUITS
from cimemu.cost.schema import INTERVALS, MODELS, AdcCost, Component, Costs
from cimemu.cost.site import Estimate, Site

NUMBERS = ("energy_pj", "area_um2", "leakage_uw")
Priced = TypeVar("Priced", Component, AdcCost)


def resolved(costs: Costs, site: Site, own: Any = None) -> Costs:
    """`costs` with every number that an estimator owes. ValueError names the component and the rule.

    `own` is a converter of a plug-in that estimates itself: asked where no estimator of converters is named.
    """
    asked = [name for name in Costs.model_fields if isinstance(getattr(costs, name), Component)]
    changed: dict[str, Any] = {}
    for name in asked:
        part: Component = getattr(costs, name)
        if part.estimator is not None:
            changed[name] = _filled(part, part.estimator, replace(site, component=name), name)
    adc = costs.adc
    for name in ("comparator", "adder_tree", "pipeline_register"):
        inner: Component | None = getattr(adc, name)
        if inner is not None and inner.estimator is not None:
            where = f"adc.{name}"
            adc = _with(adc, {name: _filled(inner, inner.estimator, replace(site, component=where), where)})
    asked_of = own if adc.estimator is None else adc.estimator
    if asked_of is not None and site.adc_bits:
        _check_circuit(adc, site)
        compare = adc.comparator
        here = replace(
            site,
            component="adc",
            comparator_pj=compare.energy_pj * compare.energy_scale,
            comparator_um2=compare.area_um2 * compare.area_scale,
        )
        adc = _filled(adc, asked_of, here, "adc")
    if adc is not costs.adc:
        changed["adc"] = adc
    return _with(costs, changed) if changed else costs


def _filled(part: Priced, estimator: Any, site: Site, name: str) -> Priced:
    """Numbers that are not given, from the estimator, and what it says of them."""
    where = f"costs.{name}.estimator" if estimator is part.estimator else "macro.adc.estimate"
    try:
        found = estimator.estimate(site)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if type(estimator) not in MODELS.values():
        check_estimate(found, where)
    given = set(part.model_fields_set) | ({"energy_pj"} if isinstance(part, AdcCost) and part.by_step else set())
    changes: dict[str, Any] = {field: getattr(found, field) for field in NUMBERS if field not in given}
    changes["estimate"] = found.source
    for field in INTERVALS:
        if field not in given and getattr(found, field) is not None:
            changes[field] = getattr(found, field)
    made: Priced = _with(part, changes)
    return made


def check_estimate(found: Any, where: str) -> None:
    """ValueError where a plug-in's answer is no Estimate of numbers that a component can have."""
    if not isinstance(found, Estimate):
        raise ValueError(f"{where} gives a {type(found).__name__}, must be a cimemu.extend.Estimate")
    for name in NUMBERS:
        value = getattr(found, name)
        if not isinstance(value, int | float) or not 0 <= value < inf:
            raise ValueError(f"{where} gives {name} = {value!r:.40}, must be a number >= 0")
    for name in INTERVALS:
        value = getattr(found, name)
        if value is not None and not (
            isinstance(value, tuple)
            and len(value) == 2
            and all(isinstance(end, int | float) for end in value)
            and 0 < value[0] <= 1 <= value[1] < inf
        ):
            raise ValueError(f"{where} gives {name} = {value!r:.40}, must be (low, high) with 0 < low <= 1 <= high")


def _with(model: Any, changes: dict[str, Any]) -> Any:
    """A copy with `changes`, which do not count as given: another supply or width asks the estimators again."""
    copy = model.model_copy(update=changes)
    object.__setattr__(copy, "__pydantic_fields_set__", set(model.model_fields_set))
    return copy


def _check_circuit(adc: AdcCost, site: Site) -> None:
    model = adc.estimator.model if adc.estimator is not None else ""
    wanted = CIRCUITS.get(model, site.circuit)
    if wanted != site.circuit:
        raise ValueError(
            f"costs.adc.estimator.model = {model} with macro.adc.circuit = {site.circuit}, needs circuit {wanted}"
        )
