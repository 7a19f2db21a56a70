"""A verification as JSON and as JUnit XML, for scripts and for continuous integration."""

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from cimemu.golden.verify import FileVerdict, Verification
from cimemu.golden.words import Difference


def as_json(found: Verification) -> str:
    """One object: whether all is equal, the first difference, what is missing or short, and every file's verdict."""
    made: dict[str, Any] = {
        "equal": found.equal,
        "layer": found.layer,
        "files": found.files,
        "values": found.lines,
        "difference": None if found.difference is None else _difference(found.difference),
        "missing": list(found.missing),
        "short": list(found.short),
        "verdicts": [
            {"folder": v.folder, "file": v.file, "state": v.state, "values": v.lines, "got": v.got}
            | ({} if v.difference is None else {"difference": _difference(v.difference)})
            for v in found.verdicts
        ],
    }
    return json.dumps(made, indent=1)


def _difference(d: Difference) -> dict[str, Any]:
    made = {"folder": d.macro, "file": d.file, "where": d.where, "terms": d.terms, "cycle": d.cycle}
    return made | {"expected": d.expected, "got": d.got, "text": str(d)}


def as_junit(found: Verification) -> str:
    """A test case a file, a suite a folder: what CI systems show as tests."""
    return junit_of({"": found}, {}, f"cimemu golden verify, layer {found.layer}")


def junit_of(found: Mapping[str, Verification], errors: Mapping[str, str], title: str) -> str:
    """The same of several verifications by name; `errors` are what could not be compared, by name too."""
    root = ElementTree.Element("testsuites", name=title)
    suites: dict[str, ElementTree.Element] = {}
    for name, one in found.items():
        for verdict in one.verdicts:
            folder = f"{name}.{verdict.folder}" if name else verdict.folder
            suite = suites.get(folder)
            if suite is None:
                suite = suites[folder] = ElementTree.SubElement(root, "testsuite", name=folder)
            case = ElementTree.SubElement(suite, "testcase", classname=folder, name=verdict.file)
            _outcome(case, verdict)
    for name, error in errors.items():
        suite = suites[name] = ElementTree.SubElement(root, "testsuite", name=name)
        case = ElementTree.SubElement(suite, "testcase", classname=name, name="simulation")
        ElementTree.SubElement(case, "failure", message=error)
    for suite in suites.values():
        suite.set("tests", str(len(suite)))
        for kind, tag in (("failures", "failure"), ("skipped", "skipped")):
            suite.set(kind, str(sum(case.find(tag) is not None for case in suite)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _outcome(case: ElementTree.Element, verdict: FileVerdict) -> None:
    match verdict.state:
        case "equal":
            return
        case "not asked for":
            ElementTree.SubElement(case, "skipped", message="not asked for")
        case "missing":
            ElementTree.SubElement(case, "failure", message="the dump lacks this file")
        case "different" | "short":
            ElementTree.SubElement(case, "failure", message=str(verdict.difference))
