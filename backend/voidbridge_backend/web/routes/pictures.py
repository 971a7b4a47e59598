"""The player's questions: a shot's frames, one picture, the values of a pixel."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from voidbridge_backend.exr.part import CONFIDENCE
from voidbridge_backend.imaging.display import views
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_backend.web.answers import number_of
from voidbridge_backend.web.context import PageContext, context_of
from voidbridge_backend.web.daemon_link import described
from voidbridge_backend.web.player.pictures import THREADS, PictureOrder, Pictures
from voidbridge_protocol.errors import BadSetting, MissingFrames, VoidbridgeError

ROLES = ("plate", "matte", "result")
GONE = 499
"""Status for a browser that no longer wants the answer; nobody reads it."""
TURNS = asyncio.Semaphore(THREADS)


async def shot(request: HttpRequest) -> Response:
    """The frames, the size and the color of a shot, and the views of the config."""
    return JSONResponse(
        await run_in_threadpool(_shot, context_of(request), dict(request.query_params))
    )


def _shot(context: PageContext, query: dict[str, str]) -> dict[str, Any]:
    reader = context.pictures.reader
    found: dict[str, Any] = {"frames": {}, "views": views(reader.ocio)}
    for role in ROLES:
        if not (text := query.get(role)):
            continue
        sequence = context.folders.sequence(text)
        frames = sequence.scan()
        if not frames:
            raise MissingFrames(f"there is no {sequence}")
        found["frames"][role] = frames
        if "size" not in found:
            found["size"] = asdict(reader.size(sequence, frames[0]))
        if role == "result":
            names = reader.size(sequence, frames[0]).channels
            found["has_confidence"] = CONFIDENCE in names
        if role != "matte" and "color" not in found:
            found["color"] = _color(context, sequence, frames[0], query)
    return found


def _color(
    context: PageContext, sequence: Sequence, frame: int, query: dict[str, str]
) -> dict[str, Any]:
    try:
        plan = context.pictures.reader.color(
            sequence, frame, query.get("space", ""), query.get("layer", "")
        )
    except VoidbridgeError as error:
        return described(error)
    return {"space": plan.space, "warnings": list(plan.warnings)}


async def picture(request: HttpRequest) -> Response:
    """One picture, as WebP. One that the browser gave up meanwhile is not made."""
    pictures = context_of(request).pictures
    order = await run_in_threadpool(_order, context_of(request), dict(request.query_params))
    key = await run_in_threadpool(pictures.key, order)
    etag = f'"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    data = pictures.held(key)
    if data is None:
        async with TURNS:
            if await request.is_disconnected():
                return Response(status_code=GONE)
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(pictures.threads, pictures.make, order, key)
    return Response(data, media_type="image/webp", headers=headers)


async def proxies(request: HttpRequest) -> Response:
    """Small pictures of the frames from `first` to `last` as one ZIP file, made while they are sent."""
    query, pictures = dict(request.query_params), context_of(request).pictures
    order = await run_in_threadpool(_order, context_of(request), {"frame": "0", **query})
    frames = await run_in_threadpool(pictures.frames, order)
    first, last = number_of(query, "first", frames[0]), number_of(query, "last", frames[-1])
    orders = [replace(order, frame=frame) for frame in frames if first <= frame <= last]
    headers = {"Content-Disposition": f'attachment; filename="{order.kind}_proxies.zip"'}
    return StreamingResponse(_zipped(pictures, orders), 200, headers, "application/zip")


async def _zipped(pictures: Pictures, orders: list[PictureOrder]) -> AsyncIterator[bytes]:
    """A ZIP file with a picture for each order. No more than one is held at a time."""
    pieces = ZipPieces()
    loop = asyncio.get_running_loop()
    with zipfile.ZipFile(pieces, "w") as archive:
        for order in orders:
            async with TURNS:
                data = await loop.run_in_executor(pictures.threads, pictures.encoded, order)
            archive.writestr(f"{order.kind}.{order.frame:04d}.webp", data)
            yield pieces.taken()
    yield pieces.taken()


class ZipPieces(io.RawIOBase):
    """A file that is only written, and whose bytes are taken away meanwhile."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """The bytes since the last call."""
        found, self._written = bytes(self._written), bytearray()
        return found


async def probe(request: HttpRequest) -> Response:
    """The values of a pixel."""
    query = dict(request.query_params)
    order = await run_in_threadpool(_order, context_of(request), {"kind": "plate", **query})
    x, y = number_of(query, "x"), number_of(query, "y")
    return JSONResponse(await run_in_threadpool(context_of(request).pictures.values, order, x, y))


def _order(context: PageContext, query: dict[str, str]) -> PictureOrder:
    found = {
        role: context.folders.sequence(query[role]) if query.get(role) else None for role in ROLES
    }
    tile = query.get("tile")
    return PictureOrder(
        query.get("kind", "plate"),
        number_of(query, "frame"),
        found["plate"],
        found["matte"],
        found["result"],
        number_of(query, "width", 1280),
        _tile(tile) if tile else None,
        query.get("display", ""),
        query.get("view", ""),
        _real(query, "exposure", 0.0),
        _real(query, "gamma", 1.0),
        _real(query, "gain", 8.0),
        query.get("space", ""),
        query.get("layer", ""),
    )


def _tile(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (int(word) for word in text.split(","))
    except ValueError as error:
        raise BadSetting(f"{text[:60]!r} is not a part of a picture") from error
    return left, top, width, height


def _real(query: dict[str, str], name: str, default: float) -> float:
    try:
        return float(query.get(name, default))
    except ValueError as error:
        raise BadSetting(f"{name} is {query[name][:60]!r}, not a number") from error


ROUTES: list[BaseRoute] = [
    Route("/api/shot", shot),
    Route("/api/picture", picture),
    Route("/api/proxies", proxies),
    Route("/api/probe", probe),
]
