"""The queue: its state as events, and what may be done with a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from voidbridge_backend.web.answers import fields_of, number_of
from voidbridge_backend.web.context import context_of
from voidbridge_backend.web.daemon_link import DaemonLink
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import BadSetting, RequestError
from voidbridge_protocol.job_task import JobTask
from voidbridge_protocol.lifecycle import JobState


async def state(request: HttpRequest) -> Response:
    """The daemon, and the folders of the page."""
    context = context_of(request)
    found = await context.link.refresh()
    folders = [str(folder) for folder in context.folders.named]
    return JSONResponse({"daemon": found, "address": context.address, "folders": folders})


async def events(request: HttpRequest) -> Response:
    """Every change of the queue, as server-sent events."""
    return StreamingEvents(context_of(request).link)


class StreamingEvents(Response):
    """An answer without end. The place among the listeners is taken before its first byte."""

    def __init__(self, link: DaemonLink) -> None:
        super().__init__()
        self._link = link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._link.listening() as changes:
            answer = StreamingResponse(
                _lines(changes),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-store"},
            )
            await answer(scope, receive, send)


async def _lines(changes: AsyncIterator[str]) -> AsyncIterator[str]:
    async for change in changes:
        yield f"data: {change}\n\n" if change else ": still here\n\n"


async def cancel(request: HttpRequest) -> Response:
    name = request.path_params["job"]
    status = await context_of(request).link.ask(lambda client: client.cancel(name))
    return JSONResponse({"job": name, "state": status.state.value})


async def prioritize(request: HttpRequest) -> Response:
    """Puts a waiting job into the queue again, with another priority. The daemon has its files already."""
    name, link = request.path_params["job"], context_of(request).link
    priority = number_of(await fields_of(request), "priority")
    return JSONResponse(await link.ask(lambda client: _queued_again(client, name, priority)))


async def again(request: HttpRequest) -> Response:
    """Runs an ended job again, from the files that the daemon still has."""
    name, link = request.path_params["job"], context_of(request).link
    return JSONResponse(await link.ask(lambda client: _run_again(client, name)))


def _queued_again(client: Client, name: str, priority: int) -> dict[str, str]:
    status = _own(client, name)
    if status is not JobState.QUEUED:
        raise RequestError(
            f"job {name} is {status.value}; only a waiting job can change its place", ""
        )
    made = client.request(name)
    client.cancel(name)
    return _submitted(client, made, priority)


def _run_again(client: Client, name: str) -> dict[str, str]:
    status = _own(client, name)
    if not status.is_final:
        raise RequestError(f"job {name} is {status.value}, and runs only once at a time", "")
    return _submitted(client, client.request(name), 0)


def _own(client: Client, name: str) -> JobState:
    """The state of one's own job. Raises `BadSetting` for another user's: it would become one's own."""
    status = client.status(name)
    if status.user != client.welcome.user:
        raise BadSetting(
            f"job {name} belongs to {status.user}", "Ask them, or submit its files as your own job."
        )
    return status.state


def _submitted(client: Client, made: Any, priority: int) -> dict[str, str]:
    task = JobTask(made, [Path()] * len(made.files), lambda frame: Path(), priority, force=True)
    return {"job": client.run(task, wait=False).job}


ROUTES: list[BaseRoute] = [
    Route("/api/state", state),
    Route("/api/events", events),
    Route("/api/jobs/{job}/cancel", cancel, methods=["POST"]),
    Route("/api/jobs/{job}/priority", prioritize, methods=["POST"]),
    Route("/api/jobs/{job}/again", again, methods=["POST"]),
]
