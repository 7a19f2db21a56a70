"""JSON Schemas of the files that users write: they take every file of the repository, and refuse what loading refuses."""

import json
import re
from pathlib import Path

import pytest
import yaml

import cimemu
from cimemu.cli import main
from cimemu.file_schema import KINDS

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parent.parent
FILES = [
    *(("arch", path) for path in sorted((ROOT / "arch").glob("*.yaml"))),
    *(("workload", path) for path in sorted((ROOT / "workloads").rglob("workload.yaml"))),
    *(("scheme", path) for path in sorted((ROOT / "workloads").rglob("schemes/*.yaml"))),
]


def told(schema):
    """What a schema says of every key; versions of pydantic write it differently: one word is a `const`, or an `enum`."""
    parts = {"": schema, **schema["$defs"]}
    facts = ("description", "default", "minimum", "maximum")
    return {
        (part, key): [
            *(what.get(fact) for fact in facts),
            what.get("enum", [what["const"]] if "const" in what else None),
        ]
        for part, one in parts.items()
        for key, what in one.get("properties", {}).items()
    }


def checker(kind):
    return jsonschema.Draft202012Validator(cimemu.json_schema(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_a_schema_and_says_what_every_key_means(kind):
    schema = cimemu.json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    for one in (schema, *schema["$defs"].values()):
        unsaid = [
            key for key, what in one.get("properties", {}).items() if "description" not in what and key != "model"
        ]
        assert [key for key in unsaid if "const" not in one["properties"][key]] == []
    assert not [text for text in re.findall(r'"description": "([^"]*)"', json.dumps(schema)) if ">>>" in text]


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: value.stem if isinstance(value, Path) else value)
def test_every_file_of_the_repository_is_taken(kind, path):
    assert [
        error.message for error in checker(kind).iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))
    ] == []


WRONG = [
    {"macro.rows": 0},
    {"macro.rows": "many"},
    {"macro.rowz": 3},
    {"macro.cell.bits": 99},
    {"macro.adc": {"bits": 4}},
    {"macro.adc": {"model": "linear", "bits": 4, "lsbs": 1}},
    {"clock_ns": -1},
    {"schedule": "sometimes"},
    {"chip.tiles": 1.5},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_what_loading_refuses_by_a_key_or_its_range_the_schema_refuses(change):
    tree = yaml.safe_load((ROOT / "arch/rram_128.yaml").read_text(encoding="utf-8"))
    for dotted, value in change.items():
        node, *rest = dotted.split(".")
        place = tree
        for key in rest:
            place, node = place.setdefault(node, {}), key
        place[node] = value
    with pytest.raises(cimemu.ArchError):
        cimemu.load_arch("rram_128", change)
    assert not checker("arch").is_valid(tree)


def test_a_converter_of_a_plug_in_and_one_by_its_name_alone_are_taken():
    tree = yaml.safe_load((ROOT / "arch/rram_128.yaml").read_text(encoding="utf-8"))
    for adc in ("ideal", {"model": "log_adc.py:LogAdc", "bits": 5}):
        tree["macro"]["adc"] = adc
        assert checker("arch").is_valid(tree)


def test_the_command_prints_and_writes_it(tmp_path, capsys):
    assert main(["schema", "arch"]) == 0
    assert json.loads(capsys.readouterr().out) == cimemu.json_schema("arch")
    out = tmp_path / "arch.json"
    assert main(["schema", "arch", "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == cimemu.json_schema("arch")
    assert main(["schema", "arch", "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["schema", "chip"]) == 2
    assert "must be one of arch, workload, scheme" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: value.stem if isinstance(value, Path) else value)
def test_the_first_line_names_the_schema_and_the_schema_is_the_present_one(kind, path):
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", path.read_text(encoding="utf-8").splitlines()[0])
    assert named, path
    file = path.parent / named[1]
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert told(kept) == told(cimemu.json_schema(kind)), f"cimemu schema {kind} -o {file} --force"
