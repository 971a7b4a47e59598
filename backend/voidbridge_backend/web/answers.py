"""Answers of the page's program interface: JSON, and errors with the status that fits their branch."""

from __future__ import annotations

import html
import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, Response

from voidbridge_protocol.errors import (
    BadSetting,
    DaemonError,
    JobError,
    MissingFrames,
    PathNotAllowed,
    ProtocolError,
    RequestError,
    UnknownJob,
    VoidbridgeError,
)

from .daemon_link import described

STATUS: tuple[tuple[type[VoidbridgeError], int], ...] = (
    (UnknownJob, 404),
    (MissingFrames, 404),
    (PathNotAllowed, 403),
    (RequestError, 400),
    (JobError, 409),
    (DaemonError, 503),
    (ProtocolError, 502),
    (VoidbridgeError, 500),
)
"""HTTP status by branch of the errors; the first that fits."""
NO_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>No such page · Voidbridge</title>
<link rel="stylesheet" href="/static/page.css">
<main><h1>There is no such page</h1><p>{text}</p><p><a href="/">Go to the queue</a></p></main></html>
"""


async def fields_of(request: HttpRequest) -> dict[str, Any]:
    """The JSON object of a body. Raises `BadSetting`."""
    try:
        found = answerable(json.loads(await request.body()))
    except (ValueError, RecursionError) as error:
        raise BadSetting(f"the body is not JSON: {error}", "Send one JSON object.") from error
    if not isinstance(found, dict):
        raise BadSetting("the body is not a JSON object", "Send one JSON object.")
    return found


def answerable(found: Any) -> Any:
    """The same value. Raises `ValueError` for what no answer can carry: halves of a character, and no number."""
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    return found


def text_of(fields: dict[str, Any], name: str, default: str = "") -> str:
    """A text of the body; `default` if it is missing. Raises `BadSetting`."""
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise BadSetting(f"{name} is {value!r}, not a text")
    return value


def number_of(fields: dict[str, Any], name: str, default: int = 0) -> int:
    """A whole number of the body or the query. Raises `BadSetting`."""
    value = fields.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadSetting(f"{name} is {value!r}, not a whole number") from error


async def refused(request: HttpRequest, error: Exception) -> Response:
    """The answer to a request that raised a `VoidbridgeError`."""
    assert isinstance(error, VoidbridgeError)
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    return JSONResponse(described(error), status)


async def not_found(request: HttpRequest, error: Exception) -> Response:
    """The answer to a path or a method that is not served: a page for a person, JSON for a program."""
    assert isinstance(error, HTTPException)
    text = f"{request.method} {request.url.path}: {error.detail}"
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(NO_PAGE.format(text=html.escape(text)), error.status_code)
    return JSONResponse({"code": "web", "text": text, "hint": ""}, error.status_code)
