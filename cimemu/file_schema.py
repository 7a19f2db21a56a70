"""JSON Schema of the files that users write, for editors: `cimemu schema arch`.

The schema says which keys there are, what each means and in which range it lies. Rules between keys are checked when the
file is loaded.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from cimemu.errors import CimemuError

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _arch() -> type[BaseModel]:
    from cimemu.arch.schema import Arch

    return Arch


def _workload() -> type[BaseModel]:
    from cimemu.workload.manifest import Manifest

    return Manifest


def _scheme() -> type[BaseModel]:
    from cimemu.ptq.scheme import Scheme

    return Scheme


KINDS: Mapping[str, tuple[Callable[[], type[BaseModel]], str]] = {
    "arch": (_arch, "A chip for cimemu: an architecture file"),
    "workload": (_workload, "A network and its images for cimemu: a workload.yaml"),
    "scheme": (_scheme, "How cimemu quantises a network: a quantisation scheme"),
}


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of an `arch`, `workload` or `scheme` file. CimemuError for another kind.

    >>> import cimemu
    >>> schema = cimemu.json_schema("arch")
    >>> schema["$defs"]["Macro"]["properties"]["rows"]["maximum"]
    65536
    """
    if kind not in KINDS:
        raise CimemuError(f"schema {kind}: no such kind of file, must be one of {', '.join(KINDS)}")
    model, title = KINDS[kind]
    schema = _plain(model().model_json_schema())
    return {"$schema": DIALECT, "title": title, **{key: value for key, value in schema.items() if key != "title"}}


def _plain(node: Any) -> Any:
    """Without what helps no reader of the file: names of classes as titles, examples in Python, tags of unions.

    An editor shows the description of a key as it stands; a docstring's first paragraph is all that is meant for it.
    """
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if key != "discriminator"}
    properties = kept.get("properties")
    if isinstance(properties, dict) and "const" in properties.get("model", {}):  # which of several it is has to be said
        kept["required"] = ["model", *(key for key in kept.get("required", []) if key != "model")]
    if isinstance(kept.get("title"), str):
        del kept["title"]
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].partition("\n\n")[0].split())
    return kept
