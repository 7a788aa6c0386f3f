"""Parts of the OpenAPI document that several tabs share: problems, answers, parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


BINARY: Json = {"type": "string", "format": "binary"}


REASONS = {
    "400": "A parameter or the form is not valid.",
    "401": "The token is missing or wrong.",
    "403": "The request was started by a page of another origin.",
    "404": "There is nothing at this path.",
    "405": "This method is not supported at this path.",
    "408": "The request took too long.",
    "409": "The archive has changed, corrections are off, or a training is running.",
    "413": "The upload is too large.",
    "421": "The server is not reached by this host name.",
    "422": "The sound cannot be decoded, or is too long.",
    "500": "A bug in soundmark.",
    "507": "The disk of the server is full.",
    "503": "Too many requests at once; see the header Retry-After.",
}


EVERYWHERE = ("401", "403", "421")


def problems(*statuses: str) -> Json:
    """Return the responses with these statuses, and those that every path has.

    >>> sorted(problems("404"))
    ['401', '403', '404', '421']
    """
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": REASONS[status], "content": content} for status in (*statuses, *EVERYWHERE)}


def json_answer(description: str, schema: Json) -> Json:
    """Return the response of a request that was answered with JSON.

    >>> sorted(json_answer("The model.", {}))
    ['200']
    """
    return {"200": {"description": description, "content": {"application/json": {"schema": schema}}}}


def parameter(name: str, schema: Json, description: str) -> Json:
    """Return a parameter of the query.

    >>> parameter("n", {"type": "integer"}, "Number.")["in"]
    'query'
    """
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def name_in_path(archives: Sequence[str]) -> Json:
    """Return the parameter in the path of an archive.

    >>> name_in_path(["index"])["schema"]["enum"]
    ['index']
    """
    name = {"type": "string", "minLength": 1} | ({"enum": list(archives)} if archives else {})
    return {"name": "archive", "in": "path", "required": True, "schema": name, "description": "See /v1/archives."}


def in_path(archives: Sequence[str]) -> list[Json]:
    """Return the parameters in the path of a window.

    >>> [each["name"] for each in in_path([])]
    ['archive', 'window']
    """
    window = {"type": "integer", "minimum": 0}
    return [
        name_in_path(archives),
        {"name": "window", "in": "path", "required": True, "schema": window, "description": "Number of the window."},
    ]
