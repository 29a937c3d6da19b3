"""Request bodies, made from the request forms: one source for page, API and its documentation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from django import forms
from ninja import Query, Schema
from pydantic import ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema, create_model
from pydantic_core import CoreSchema

from clusters.form_base import SentenceForm
from clusters.form_fields import LinesField, NumberField, SettingsField
from clusters.postgres.names import OBJECT_NAME
from tasks.shown import PAGE_MAX

#: A page of a list that is sorted by name: those behind `after`, which is the last name of the page before.
After = Annotated[str, Query(pattern=f"^$|{OBJECT_NAME}")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]

_TEXT: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_NUMBER: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "string"}]}
_LINES: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_SETTINGS: dict[str, Any] = {"type": "object", "additionalProperties": _TEXT}


class Body(Schema):
    """An object that has only the keys it is known for: a mistyped one is refused, not overlooked."""

    model_config = ConfigDict(extra="forbid")

    #: Shown as required in the documentation; the form refuses their absence in its own words.
    needed: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        return {**schema, "required": list(cls.needed)} if cls.needed else schema


def body_of(name: str, form: type[SentenceForm], *, without: tuple[str, ...] = (), **more: Any) -> type[Body]:
    """The body for a form's fields, less those that the address gives. The form alone checks the values, so any type passes here."""
    kept = {field: found for field, found in form().fields.items() if field not in without}
    fields: dict[str, Any] = {field: _field(found) for field, found in kept.items()}
    body: type[Body] = create_model(name, __base__=Body, **fields, **more)
    body.needed = tuple(field for field, found in kept.items() if found.required)
    return body


def given(body: Schema) -> dict[str, Any]:
    """What the caller sent, ready for a form; keys they left out are not there."""
    return body.model_dump(exclude_unset=True)


def _field(field: forms.Field) -> tuple[Any, Any]:
    shapes = ((LinesField, _LINES), (SettingsField, _SETTINGS), (NumberField, _NUMBER))
    kind = next((shape for of, shape in shapes if isinstance(field, of)), _TEXT)
    description = " ".join(str(text) for text in (f"{field.label}." if field.label else "", field.help_text) if text)
    return Annotated[Any, WithJsonSchema(kind)], Field(default=None, description=description)
