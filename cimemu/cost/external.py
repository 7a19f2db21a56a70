"""Numbers of an external estimator: asked out of process, in a Python of the user's, and written as a table file."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cimemu.errors import ArchError
from cimemu.given_file import read_text
from cimemu.whole_file import refuse_output, whole_file

SCRIPT = Path(__file__).parent / "external_script.py"
REQUEST_KEYS = {"name", "class", "parameters", "actions"}


def import_costs(
    python: str | Path, requests: str | Path | list[Mapping[str, Any]], out: str | Path, *, timeout_s: float = 600.0
) -> dict[str, Any]:
    """Ask the classes in `requests` (a list, or a JSON file with one) with the interpreter `python`; write `out`.

    A request is `{"name", "class": "module:Class", "parameters": {...}, "actions": {action: {arguments}}}`; numbers
    come in J, m2 and W, as hwcomponents has them, and are written in pJ, um2 and uW with package versions and a hash of
    the requests. Each request runs in a process of its own (estimators may cache between models).
    `timeout_s` is for one request. Raises ArchError where the interpreter, a request or an estimator fails.

    >>> import cimemu, sys  # a class of the standard library stands for an estimator here
    >>> ask = {"name": "adc", "class": "types:SimpleNamespace", "parameters": {"area": 5e-10, "leak_power": 2e-6}}
    >>> made = cimemu.import_costs(sys.executable, [ask], "adc.json")
    >>> round(made["entries"]["adc"]["area_um2"], 3), round(made["entries"]["adc"]["leakage_uw"], 3)
    (500.0, 2.0)
    """
    refuse_output(Path(out), ArchError, overwrite=True)
    asked = _checked(requests)
    entries: dict[str, Any] = {}
    packages: dict[str, str] = {}
    version = ""
    for request in asked:
        answer = _ask(str(python), request, timeout_s)
        packages.update(answer["packages"])
        version = answer["python"]
        for name, entry in answer["entries"].items():
            owner = entry["class"].partition(":")[0].partition(".")[0]
            made_by = ", ".join(f"{p} {v}" for p, v in sorted(answer["packages"].items())) or owner
            entries[name] = {**entry, "source": f"{entry['class']} ({made_by})"}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    table = {"format": 1, "python": version, "packages": packages, "requests_sha256": digest, "entries": entries}
    with whole_file(Path(out), ArchError, overwrite=True) as made:
        made.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return table


def _checked(requests: str | Path | list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    where = "requests"
    if isinstance(requests, str | Path):
        where = str(requests)
        text = read_text(Path(requests), ArchError, "a JSON file of requests")
        try:
            requests = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArchError(f"{where}: cannot be read as JSON: {error}") from None
    if isinstance(requests, Mapping):
        requests = requests.get("requests", [])
    if not isinstance(requests, list) or not requests:
        raise ArchError(f'{where}: must be a list of {{"name", "class": "module:Class", "parameters", "actions"}}')
    names: set[str] = set()
    for number, request in enumerate(requests):
        unknown = set(request) - REQUEST_KEYS if isinstance(request, Mapping) else {"?"}
        if unknown or ":" not in str(request.get("class", "")) or not request.get("name"):
            raise ArchError(
                f"{where}[{number}]: needs name and class: module:Class, may have parameters and actions"
                + (f"; no such key: {', '.join(sorted(unknown))}" if unknown else "")
            )
        if request["name"] in names:
            raise ArchError(f"{where}[{number}]: name {request['name']!r} given twice, choose another")
        names.add(str(request["name"]))
    return [dict(request) for request in requests]


def _ask(python: str, request: Mapping[str, Any], timeout_s: float) -> Any:
    try:
        done = subprocess.run(
            [python, str(SCRIPT)],
            input=json.dumps({"requests": [request]}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArchError(f"--python {python}: cannot be run: {error}; name a Python that has the estimator") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise ArchError(f"--python {python}: request {request['name']}: {last}") from None
    if "error" in answer:
        raise ArchError(f"request {answer['error']}; is the package installed for {python}?")
    return answer
