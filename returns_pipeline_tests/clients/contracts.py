"""The vendors' published contracts, where the checkout has them beside it.

They are data that is not committed to this project; without them these checks skip.
"""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from returns_pipeline_tests.clients.wire import Request

CONTRACTS = Path(__file__).resolve().parents[3] / "shared" / "contracts"
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_formats = jsonschema.FormatChecker(formats=())


@_formats.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(_UUID.fullmatch(value))


@_formats.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def text(name: str) -> str:
    """A file of the contracts; the test skips where there is none."""
    path = CONTRACTS / name
    if not path.is_file():
        pytest.skip(f"the contracts are not beside this checkout: {name}")
    return path.read_text()


def document(name: str) -> Any:
    return json.loads(text(name))


def example(name: str) -> Any:
    """One Linnworks example: request and response."""
    return document(f"linnworks/examples/{name}.json")


def breaches(controller: str, request: Request) -> list[str]:
    """What a request to Linnworks v1 or v2 has that the official specification has not."""
    if request.path.startswith("/v2/"):
        spec = document("linnworks/openapi-v2/orders-v2.json")
        operation = spec["paths"][request.path.removeprefix("/v2")][request.verb.lower()]
    else:
        spec = document(f"linnworks/openapi-v1/{controller}.json")
        operation = spec["paths"][request.path][request.verb.lower()]
    known = {p["name"]: p for p in operation.get("parameters", []) if p["in"] == "query"}
    found = [f"unknown query {name}" for name in request.query if name not in known]
    for name, value in request.query.items():
        if name in known:
            found += _query_breaches(known[name], value)
    bodies = [p["schema"] for p in operation.get("parameters", []) if p["in"] == "body"]
    if bodies:
        found += _body_breaches(bodies[0], spec["definitions"], request.document)
    elif request.body:
        found.append("a body that is not published")
    return found


def _query_breaches(parameter: dict[str, Any], value: str) -> list[str]:
    schema = {**parameter, **parameter.get("schema", {})}
    kinds = {"integer": int, "boolean": json.loads, "string": str, "array": str}
    schema = {key: schema[key] for key in ("type", "enum", "format") if key in schema}
    validator = jsonschema.Draft4Validator(schema, format_checker=_formats)
    return [error.message for error in validator.iter_errors(kinds[schema["type"]](value))]


def _body_breaches(schema: dict[str, Any], definitions: Any, body: Any) -> list[str]:
    strict = {
        name: {**one, "additionalProperties": False} if "properties" in one else one
        for name, one in definitions.items()
    }
    validator = jsonschema.Draft4Validator(
        {**schema, "definitions": strict}, format_checker=_formats
    )
    found = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]
    return found + [f"no {name}" for name in _wrapper(schema, strict) - set(body)]


def _wrapper(schema: dict[str, Any], definitions: Any) -> set[str]:
    """The names that must stand at the top: those of a ``<Controller>_<Method>Request``."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return set(definitions[name]["properties"]) if "_" in name else set()
