"""The OpenAPI document of a server, made from its endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..store.base import MOST_PARTS
from .answers import MEDIA
from .calls import Endpoint, Param

__all__ = ["BYTES", "EMPTY", "LINES", "TABLE", "TEXT", "document", "json_answer"]

_PART = "[A-Za-z0-9_][A-Za-z0-9_.\\-]{0,199}"
_NAME = f"^{_PART}(/{_PART}){{0,{MOST_PARTS - 1}}}$"
_BINARY = {"type": "string", "format": "binary"}
_ROWS = {"type": "array", "items": {"type": "object"}}
_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error", "message"],
}
_ERRORS = {
    "400": "What was asked cannot be.",
    "401": "A token is missing or unknown.",
    "403": "The token has not the scope.",
    "404": "It is not there.",
    "405": "Another method is expected.",
    "408": "The body came too slowly.",
    "503": "Too much is asked at once: try again.",
    "default": "Another error.",
}


def json_answer(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The answer 200 with JSON of that schema."""
    return {"200": {"description": "Found.", "content": {"application/json": {"schema": schema}}}}


EMPTY = {"204": {"description": "Done."}}
LINES = {"200": {"description": "Found.", "content": {"application/x-ndjson": {"schema": _BINARY}}}}
BYTES = {
    "200": {"description": "All bytes.", "content": {"application/octet-stream": {}}},
    "206": {"description": "A range of them.", "content": {"application/octet-stream": {}}},
}
TEXT = {"200": {"description": "Found.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
TABLE = {
    "200": {
        "description": "Rows.",
        "content": {
            media: {"schema": _ROWS if form == "json" else _BINARY} for form, media in MEDIA.items()
        },
    }
}


def document(endpoints: Iterable[Endpoint], *, single: bool, version: str) -> dict[str, Any]:
    """The document of a server with those endpoints; `single` if it has one repo, at `/`."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        base = "/{repo}" if endpoint.of_repo and not single else ""
        path = base + endpoint.path.replace(":path", "")
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lakota",
            "version": version,
            "description": "Repos of time series under version control.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _ERROR},
        },
    }


def _operation(endpoint: Endpoint, path: str) -> dict[str, Any]:
    parameters = [_path_parameter(name) for name in ("repo", "name") if f"{{{name}}}" in path]
    parameters += [_parameter(param) for param in endpoint.params]
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.about,
        "description": (endpoint.handler.__doc__ or "").strip(),
        "parameters": parameters,
        "responses": {**endpoint.answers, **_errors(endpoint)},
        "security": [] if endpoint.scope is None else [{"token": []}],
    }
    if endpoint.scope is not None:
        operation["x-scope"] = endpoint.scope.name.lower()
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": endpoint.body}
    return operation


def _errors(endpoint: Endpoint) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": text, "content": error} for status, text in _ERRORS.items()}


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^{_PART}$" if name == "repo" else _NAME}
    about = "The name of a repo." if name == "repo" else "The name of an object."
    return {"name": name, "in": "path", "required": True, "description": about, "schema": schema}


def _parameter(param: Param) -> dict[str, Any]:
    schema = {"type": "array", "items": dict(param.schema)} if param.many else dict(param.schema)
    return {
        "name": param.name,
        "in": "query",
        "required": param.required,
        "description": param.about,
        "schema": schema,
    }
