"""The YAML file of `cimemu adapt`: scheme, method, training, images. The command line's options change its keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from cimemu.adapt.morph.settings import MorphSettings
from cimemu.adapt.settings import DataSettings, TrainSettings
from cimemu.config_file import read_mapping, validated
from cimemu.errors import WorkloadError
from cimemu.ptq.scheme import Scheme, read_scheme, scheme_of
from cimemu.record import Record
from cimemu.variation.compose import compose

WHAT = "a file for cimemu adapt (scheme, train, data ...)"


class Method(Record):
    """What is trained into the network, and how gradients pass the macro."""

    scheme: str | dict[str, Any] = Field(
        "column",
        description="a scheme's name or YAML file, or its keys",
        json_schema_extra={"option": "--scheme", "metavar": "NAME|FILE"},
    )
    scheme_set: dict[str, Any] = Field(
        default_factory=dict,
        description="dotted keys of the scheme that differ",
        json_schema_extra={"option": "--scheme-set"},
    )
    set: dict[str, Any] = Field(
        default_factory=dict, description="dotted keys of the arch that differ", json_schema_extra={"option": "--set"}
    )
    gradient: Literal["proper", "public"] = Field(
        "proper",
        description="of weight slices: each its share, or the lowest alone as ColumnQuant's public code",
        json_schema_extra={"option": "--gradient"},
    )
    smooth: bool = Field(
        False, description="activations pass gradients by BWMA's annealed smooth steps (reconstructed)"
    )
    code_parity: bool = Field(
        False,
        description="every array sees all channels, as ColumnQuant's public code: for comparison, never exported",
        json_schema_extra={"option": "--code-parity"},
    )
    vary: tuple[str, ...] = Field(
        (),
        description="cells while training, as stress draws them: MODEL:PARAM=VALUE",
        json_schema_extra={"option": "--vary", "metavar": "MODEL:PARAM=VALUE"},
    )
    calibration: int = Field(256, ge=1, description="training images that first step sizes are found on")

    @field_validator("vary")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        compose(value)
        return value

    def scheme_record(self, folder: Path | None = None) -> Scheme:
        """The scheme with its changes; a YAML file is looked for in `folder`. WorkloadError."""
        scheme = self.scheme
        if isinstance(scheme, str) and folder is not None and (folder / scheme).is_file():
            scheme = str(folder / scheme)
        made = read_scheme(scheme) if isinstance(scheme, str) else scheme_of(scheme)
        return scheme_of(made, self.scheme_set)


class AdaptConfig(Method):
    """One run of `cimemu adapt`."""

    train: TrainSettings = Field(default_factory=TrainSettings, description="the optimizer and its budget")
    morph: MorphSettings | None = Field(
        None, description="first shrink, prune and fill macros; seed, device and threads are those of `train`"
    )
    data: DataSettings | None = Field(None, description="images; null: those of the workload")


def read_config(path: Path | None, changes: Mapping[str, Any] | None = None) -> AdaptConfig:
    """The config in a YAML file (None: the defaults) with dotted `changes`. WorkloadError naming key, value and rule."""
    made: AdaptConfig = changed(
        AdaptConfig, {} if path is None else read_mapping(path, str(path), WHAT, WorkloadError), changes, path
    )
    return made


def changed(kind: type[Any], tree: Mapping[str, Any], changes: Mapping[str, Any] | None, path: Path | None) -> Any:
    """`tree` with dotted `changes` as a record of `kind`."""
    plain = dict(tree)
    for dotted, value in (changes or {}).items():
        node, keys = plain, dotted.split(".")
        for key in keys[:-1]:
            below = node.get(key)
            node[key] = dict(below) if isinstance(below, Mapping) else {}
            node = node[key]
        node[keys[-1]] = value
    return validated(kind, plain, "adapt" if path is None else str(path), WorkloadError)
