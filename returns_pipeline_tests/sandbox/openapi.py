"""The vendor's official OpenAPI files as validators; the tests skip where they are absent.

Unknown names and wrong types fail, nulls pass: the specifications do not say what may be null.
"""

import json
import re
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

CONTRACTS = Path(__file__).resolve().parents[3] / "shared" / "contracts"
_FORMATS = jsonschema.FormatChecker(formats=())
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CONTROLLERS = {
    "Auth": "auth",
    "Orders": "orders",
    "ProcessedOrders": "processedorders",
    "Inventory": "inventory",
    "Stock": "stock",
    "ReturnsRefunds": "returnsrefunds",
}


@_FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(_UUID.fullmatch(value))


@_FORMATS.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def needed() -> None:
    """Skip the test where the contracts are not beside the checkout."""
    if not (CONTRACTS / "linnworks" / "openapi-v1").is_dir():
        pytest.skip("the vendors' OpenAPI files (../shared/contracts) are not beside this checkout")


def operation(verb: str, path: str) -> tuple[str, dict[str, Any]]:
    """The file and the entry that specify a call."""
    if path.startswith("/v2/"):
        file, path = "linnworks/openapi-v2/orders-v2.json", path.removeprefix("/v2")
    else:
        file = f"linnworks/openapi-v1/{_CONTROLLERS[path.split('/')[2]]}.json"
    return file, _document(file)["paths"][path][verb.lower()]


def check_request(verb: str, path: str, query: dict[str, Any], body: Any) -> None:
    """Fail when a request is not as specified."""
    file, entry = operation(verb, path)
    parameters = {one["name"]: one for one in entry.get("parameters", [])}
    named = {name for name, one in parameters.items() if one["in"] == "query"}
    assert set(query) <= named, f"unknown query of {path}: {set(query) - named}"
    bodies = [one["schema"] for one in parameters.values() if one["in"] == "body"]
    assert (body is not None) == bool(bodies), f"{path}: body given {body is not None}"
    if bodies:
        _validate(file, bodies[0], body)


def check_response(verb: str, path: str, status: int, document: Any) -> None:
    """Fail when a response is not as specified."""
    file, entry = operation(verb, path)
    answer = entry["responses"][str(status)]
    schema = answer.get("schema") or next(iter(answer["content"].values()))["schema"]
    _validate(file, schema, document)


def _validate(file: str, schema: dict[str, Any], document: Any) -> None:
    whole = {"definitions": _definitions(file), **_strict(file, schema)}
    jsonschema.Draft7Validator(whole, format_checker=_FORMATS).validate(document)


@lru_cache
def _document(file: str) -> dict[str, Any]:
    return json.loads((CONTRACTS / file).read_text())


def _plain(file: str) -> dict[str, Any]:
    document = _document(file)
    return document.get("definitions") or document["components"]["schemas"]


@lru_cache
def _definitions(file: str) -> dict[str, Any]:
    return {name: _strict(file, schema) for name, schema in _plain(file).items()}


def _strict(file: str, schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"anyOf": [{"$ref": f"#/definitions/{name}"}, {"type": "null"}]}
    if "allOf" in schema:
        return _strict(file, _merged(file, schema))
    if "oneOf" in schema:
        return {"anyOf": [_strict(file, one) for one in schema["oneOf"]]}
    kept: dict[str, Any] = {}
    if "type" in schema:
        kept["type"] = [schema["type"], "null"]
    if "enum" in schema:
        kept["enum"] = [*schema["enum"], None]
    if "format" in schema:
        kept["format"] = schema["format"]
    if "items" in schema:
        kept["items"] = _strict(file, schema["items"])
    if schema.get("properties"):
        kept["properties"] = {n: _strict(file, one) for n, one in schema["properties"].items()}
        kept["additionalProperties"] = False
    return kept


def _merged(file: str, schema: dict[str, Any]) -> dict[str, Any]:
    """One schema of all the parts: inheritance in the vendor's way of writing it."""
    merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
    properties = dict(schema.get("properties") or {})
    for part in schema["allOf"]:
        if "$ref" in part:
            part = _plain(file)[part["$ref"].rpartition("/")[2]]  # noqa: PLW2901
        if "allOf" in part:
            part = _merged(file, part)  # noqa: PLW2901
        properties = {**(part.get("properties") or {}), **properties}
        merged = {**part, **merged}
    if properties:
        merged["properties"] = properties
    return merged
