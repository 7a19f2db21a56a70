"""Asks estimator classes that are importable in *this* Python; a program of its own, it imports nothing of cimemu.

Standard input: `{"requests": [{"name", "class": "module:Class", "parameters": {}, "actions": {name: {arguments}}}]}`.
Standard output: `{"python", "packages": {name: version}, "entries": {name: {...}}}`, or `{"error": text}` and status 1.
Works with hwcomponents' models (J, m2, W) and anything of that shape.
"""

import importlib
import importlib.metadata
import json
import sys
from typing import Any


def as_number(value: object) -> float:
    """A float out of a number, a (energy, latency) pair or an object with `energy`."""
    if hasattr(value, "energy"):
        value = value.energy
    if isinstance(value, (tuple, list)):
        value = value[0]
    return float(value)  # type: ignore[arg-type]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Energy in pJ by action, area in um2, leakage in uW of one request."""
    module_name, _, class_name = request["class"].partition(":")
    model = getattr(importlib.import_module(module_name), class_name)(**request.get("parameters", {}))
    energy = {}
    for action, arguments in request.get("actions", {}).items():
        energy[action] = as_number(getattr(model, action)(**(arguments or {}))) * 1e12
    return {
        "class": request["class"],
        "parameters": request.get("parameters", {}),
        "energy_pj": energy,
        "area_um2": float(getattr(model, "area", 0.0)) * 1e12,
        "leakage_uw": float(getattr(model, "leak_power", 0.0)) * 1e6,
    }


def versions(requests: list[Any]) -> dict[str, Any]:
    """Versions of the installed packages that the requested modules belong to, and of hwcomponents itself."""
    owners = importlib.metadata.packages_distributions()
    found = {}
    for module in {request["class"].partition(":")[0].partition(".")[0] for request in requests} | {"hwcomponents"}:
        for package in owners.get(module, ()):
            found[package] = importlib.metadata.version(package)
    return found


def main() -> int:
    """One question in, one answer out; whatever the estimators print goes to the error stream."""
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        requests = json.load(sys.stdin)["requests"]
        entries = {}
        for request in requests:
            try:
                entries[request["name"]] = answer(request)
            except Exception as error:
                raise RuntimeError(f"{request.get('name')}: {type(error).__name__}: {error}") from error
        result = {"python": sys.version.split()[0], "packages": versions(requests), "entries": entries}
    except Exception as error:
        json.dump({"error": str(error)}, out)
        return 1
    json.dump(result, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
