"""Reads a request from the payload of `Submit`. A worker needs this much of the wire, and no message.

Unknown settings are refused, because a silently dropped setting would change the picture.
"""

from __future__ import annotations

from dataclasses import fields

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations import operation
from voidbridge_protocol.request import Request
from voidbridge_protocol.settings import OperationSettings

from .fields import Frame, arguments, build, json_object, made

MAX_REQUEST = 8 * 1024 * 1024
"""Maximum payload of a `Submit` in bytes: 20,000 frames with plate, matte and affected."""


def decode_request(payload: Frame) -> Request:
    """Reads a `Submit`'s payload. Raises `BadMessage`, or `RequestError` if a value is out of range."""
    body = json_object(payload, MAX_REQUEST)
    values = arguments(Request, {name: value for name, value in body.items() if name != "settings"})
    kind = operation(values.get("operation", Request.operation))
    given = body.get("settings", {})
    if isinstance(given, dict):
        known = {field.name for field in fields(kind.settings)}
        if unknown := sorted(set(given) - known):
            raise BadSetting(
                f"this daemon has no setting {', '.join(map(ascii, unknown))[:200]}",
                "The client is newer than the daemon: update the daemon or omit the setting.",
            )
    settings: OperationSettings = build(kind.settings, given)
    request: Request = made(Request, {**values, "settings": settings})
    return request
