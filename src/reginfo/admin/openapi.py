"""The description of the HTTP interface (OpenAPI 3.1), made from its routes."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from reginfo.admin.rest import Route

PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"
HEADERS: Final = {"last_event_id": "Last-Event-ID"}
"Field of the inputs -> header it comes in; Accept is described by the types of the answers."
ACCEPT: Final = "accept"

_Schema = dict[str, Any]


class ProblemView(msgspec.Struct, frozen=True):
    """Why a request was not done (RFC 9457)."""

    title: str
    status: int
    detail: str


def describe(routes: Iterable[Route], version: str) -> _Schema:
    """Return the OpenAPI document."""
    routes = tuple(routes)
    types: list[Any] = [ProblemView]
    for route in routes:
        types += [route.inputs, *filter(None, (route.body, route.result)), *(item for _, item in route.streams)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    known = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, _Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, known, components)
    used = {route.inputs.__name__ for route in routes}
    return {
        "openapi": "3.1.0",
        "info": {"title": "reginfo", "version": version, "description": "Administration of a SIP registrar."},
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in used},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, known: Mapping[str, _Schema], components: Mapping[str, _Schema]) -> _Schema:
    answers = {media: {"schema": known[repr(item)]} for media, item in route.streams}
    if route.result is not None:
        answers[JSON] = {"schema": known[repr(route.result)]}
    problem = {PROBLEM: {"schema": known[repr(ProblemView)]}}
    operation: _Schema = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z]+', '_', route.path.removeprefix('/api/v1'))}".rstrip(
            "_"
        ),
        "summary": route.summary,
        "parameters": list(_parameters(route, components[route.inputs.__name__])),
        "responses": {
            "200": {"description": "Done", "content": answers},
            **{
                str(code): {"description": HTTPStatus(code).phrase, "content": problem} for code in (*route.errors, 401)
            },
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": known[repr(route.body)]}}}
    return operation


def _parameters(route: Route, schema: _Schema) -> Iterable[_Schema]:
    for name, described in schema["properties"].items():
        if name == ACCEPT:
            continue
        is_path = f"{{{name}}}" in route.path
        place = "path" if is_path else "header" if name in HEADERS else "query"
        yield {"name": HEADERS.get(name, name), "in": place, "required": is_path, "schema": described}
