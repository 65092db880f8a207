"""Objects against the OpenAPI document of a real v1.36, as far as a Job reaches.

`kube_schema.json` is that document without its descriptions. A field that it does not name is an
error here, as it is to a server that is asked for strictness.
"""

import json
from pathlib import Path

SCHEMAS = json.loads(Path(__file__).with_name("kube_schema.json").read_text())

TYPES = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}


def unknown_field(kind, thing):
    """Give the first field that a kind has not, if we know the kind."""
    found = [text for text in problems(kind, thing) if text.endswith(" is unknown")]
    return found[0].removesuffix(" is unknown") if found else None


def problems(kind, thing):
    """Say what is wrong with an object, by the paths of its fields."""
    return list(_problems({"$ref": kind}, thing, "")) if kind in SCHEMAS else []


def _problems(schema, value, path):
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"]]
    if "oneOf" in schema or not schema.get("type"):
        return
    if schema["type"] == "object":
        yield from _of_object(schema, value, path)
    elif schema["type"] == "array":
        if not isinstance(value, list):
            yield f"{path}: expected a list"
            return
        for number, item in enumerate(value):
            yield from _problems(schema["items"], item, f"{path}[{number}]")
    elif not isinstance(value, TYPES[schema["type"]]):
        yield f"{path}: expected {schema['type']}, not {value!r}"


def _of_object(schema, value, path):
    if not isinstance(value, dict):
        yield f"{path}: expected an object"
        return
    known, others = schema.get("properties"), schema.get("additionalProperties")
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}.{name} is missing".lstrip(".")
    for name, item in value.items():
        field = f"{path}.{name}".lstrip(".")
        if known and name in known:
            yield from _problems(known[name], item, field)
        elif others:
            yield from _problems(others, item, field)
        elif known:
            yield f"{field} is unknown"
