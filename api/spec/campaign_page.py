"""The reference of the campaign document as a page of the docs, generated from the models that read it."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from api.spec.schemas import Schema, components
from bandit.campaign.document import Campaign

HEAD = """\
# The campaign document

<!-- Made by `make reference` from the models in bandit/campaign; change it there. -->

A campaign document says what may be sent, when, how often, and what a response is worth. It is the same as JSON
(`PUT /campaigns/{id}`) and as TOML (`sendopt campaign apply FILE.toml`);
[examples/scheduler/campaign.toml](../examples/scheduler/campaign.toml) is a whole one. A field that is not listed here
is an error that names it. Every change makes a new version of the campaign; a receipt names the version that decided.
Times are RFC 3339 with an offset.
"""
KIND = """
## The feature `kind`

Features are yours to name, with one exception: when a content has the feature `kind` and it is a text, the service
counts contents of the same kind as one. The model then sees how long ago this user was last sent any content of that
kind, beside how long ago this very content was sent, and learns that a third quiz in a week is one too many although
each was new. A content without it, or whose `kind` is no text, belongs to no kind.
"""
_TYPES = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "table",
}
_LIMITS = {
    "exclusiveMinimum": "more than {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "maxLength": "at most {} characters",
    "minItems": "{} or more entries",
    "maxItems": "at most {} entries",
    "minProperties": "{} or more entries",
    "maxProperties": "at most {} entries",
}


def campaign_page() -> str:
    """The page as Markdown."""
    schemas = components([Campaign])
    return HEAD + "".join(_section(path, model, schemas) for path, model in _sections("", Campaign)) + KIND


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and all models inside it, each with its place in the document."""
    yield path, model
    for name in model.model_fields:
        for place, inner in _inside(path, name, model):
            yield from _sections(place, inner)


def _inside(path: str, name: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The models of one field, each with its place in the document."""
    for inner, step in _models_in(model.model_fields[name].annotation):
        yield f"{path}.{name}{step}".removeprefix("."), inner


def _models_in(annotation: Any, step: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, step
    steps: dict[Any, str] = {dict: ".NAME", tuple: "[]"}
    for one in get_args(annotation):
        yield from _models_in(one, steps.get(get_origin(annotation), step))


def _section(path: str, model: type[BaseModel], schemas: dict[str, Schema]) -> str:
    schema = schemas[model.__name__]
    title = f"`{path}`" if path else "Fields of the document"
    lines = [
        f"\n## {title}\n\n{schema['description']}\n",
        "| field | what it is, and why | unit | default | rule |",
        "|---|---|---|---|---|",
        *(_row(path, name, model, schema["properties"][name]) for name in model.model_fields),
    ]
    return "\n".join(lines) + "\n"


def _row(path: str, name: str, model: type[BaseModel], described: Schema) -> str:
    places = [f"see `{inner}`" for inner, _ in _inside(path, name, model)][:1]
    rules = "; ".join(filter(None, [_rules(described), described.get("x-rule"), *places]))
    cells = [
        f"`{name}`",
        f"{described['description']} {described['x-why']}",
        described.get("x-unit", ""),
        _default(model, name),
        rules,
    ]
    return "| " + " | ".join(cells) + " |"


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    if field.default_factory_takes_validated_data:
        return "as described"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        given = ", ".join(
            f'{one} = "{getattr(value, one)}"' for one in type(value).model_fields if one in value.model_fields_set
        )
        return f"`{{{given}}}`" if given else "the defaults of its fields"
    if value is None or value in ((), {}):
        return "absent"
    return f"`{_number(value)}`" if isinstance(value, float) else f"`{str(value).lower()}`"


def _rules(schema: Schema) -> str:
    """The rules that the type of the field contains."""
    given = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    if "prefixItems" in given:  # a tuple: its rule describes its members
        return "list"
    limits = [text.format(_number(given[name])) for name, text in _LIMITS.items() if name in given]
    return ", ".join([_type_words(given), *limits])


def _number(value: float) -> str:
    return f"{value:,g}".replace("e+", "e").replace("e-0", "e-")


def _type_words(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    return "time" if schema.get("format") == "date-time" else _TYPES[schema.get("type", "object")]
