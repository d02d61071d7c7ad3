"""JSON schemas of the wire's documents by name, each property with an example."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/"
# Fields that only a few documents have; the example of a whole document omits them.
SPECIAL = frozenset({"now", "if_version", "excluded", "learned_pmf"})


def ref(name: str) -> Schema:
    return {"$ref": REFERENCE + name}


def components(models: Iterable[type[BaseModel]]) -> dict[str, Schema]:
    """The schemas of the models, and of every model that they have a part of."""
    wanted = [(model, "validation") for model in models]
    _, found = models_json_schema(wanted, ref_template=REFERENCE + "{model}")  # type: ignore[arg-type]
    schemas: dict[str, Schema] = dict(sorted(found["$defs"].items()))
    for schema in schemas.values():
        for described in schema.get("properties", {}).values():
            described.setdefault("examples", [_example(described, schemas)])
            if described.get("default", ...) is None:
                del described["default"]  # it only means "absent", and generators would make the field required
    return schemas


def example_of(name: str, schemas: dict[str, Schema]) -> Any:
    """An example of a whole document, composed of the examples of its fields."""
    properties = schemas[name]["properties"]
    return {field: _example(described, schemas) for field, described in properties.items() if field not in SPECIAL}


def _example(schema: Schema, schemas: dict[str, Schema]) -> Any:
    """The example of the schema; for a list or a choice, one with the first possible member."""
    if "examples" in schema:
        return schema["examples"][0]
    if "items" in schema:
        return [_example(schema["items"], schemas)]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas)
    return example_of(schema["$ref"].removeprefix(REFERENCE), schemas)
