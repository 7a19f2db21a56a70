"""An open union: pydantic's union of the built-in models by `model:`, and whatever plug-ins add to it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from cimemu import plugins
from cimemu.config_file import one_line
from cimemu.errors import PluginError


class Open:
    """An annotation: `Annotated[Ideal | Linear, Open("cimemu.adc")]` takes mappings and objects of plug-ins too.

    A mapping's `model` is a built-in name, a plug-in's, or `FILE.py:Class`. What is written out again is the model's own
    fields, with its name.
    """

    def __init__(self, group: str) -> None:
        """Plug-ins of the entry-point group `group`."""
        self.group = group

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The union of what is built in, asked for everything that no plug-in gives."""
        inner = handler.generate_schema(Annotated[source, Field(discriminator="model")])
        return core_schema.no_info_wrap_validator_function(
            self._validated,
            inner,
            serialization=core_schema.wrap_serializer_function_ser_schema(self._written, schema=inner, info_arg=True),
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """For editors: one of the built-in models, or a plug-in's own keys beside its name."""
        ours = handler(core)
        name = {"type": "string", "description": "a plug-in: its name, or FILE.py:Class"}
        named = {"properties": {"model": {**name, "not": {"enum": sorted(plugins.built_in(self.group))}}}}
        return {"anyOf": [ours, {"type": "object", "required": ["model"], **named}]}

    def _validated(self, value: Any, built_in: Any) -> Any:
        ours = plugins.built_in(self.group)
        if not isinstance(value, Mapping):
            if type(value) in ours.values() or getattr(type(value), "plugin_group", None) != self.group:
                return built_in(value)
            problem = plugins.problem_of(type(value), plugins.KINDS[self.group])
            if problem:
                raise ValueError(problem)
            return value
        name = value.get("model")
        if not isinstance(name, str):
            return built_in(value)
        try:
            kind = plugins.find(self.group, name)
        except PluginError as error:
            raise ValueError(str(error)) from None
        except LookupError:
            if not plugins.outside(self.group):
                return built_in(value)
            tags = ", ".join(plugins.names(self.group))
            raise PydanticCustomError(
                "union_tag_invalid", "unknown", {"expected_tags": tags, "discriminator": "model"}
            ) from None
        if name in ours:
            return built_in(value)
        own = {key: entry for key, entry in value.items() if key != "model"}
        try:
            return kind.__pydantic_validator__.validate_python(own)
        except ValidationError as error:
            if error.errors()[0]["type"] == "extra_forbidden":  # the keys that are allowed are this model's
                raise ValueError(one_line(error, kind)) from None
            raise

    def _written(self, value: Any, built_in: Any, info: Any) -> Any:
        if type(value) in plugins.built_in(self.group).values():
            return built_in(value)
        fields = value.model_dump(mode=info.mode, exclude_unset=info.exclude_unset)
        return {"model": plugins.name_of(type(value), plugins.KINDS[self.group]), **fields}
