"""New jobs from files of this machine: their forms, their command lines, and the commands themselves."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from voidbridge_backend.sequences.found import sequences_in
from voidbridge_backend.sequences.patterns import compact
from voidbridge_backend.web.answers import fields_of, text_of
from voidbridge_backend.web.context import PageContext, context_of
from voidbridge_protocol.errors import BadSetting, UnknownJob
from voidbridge_protocol.transfer.shared_files import is_text


async def forms(request: HttpRequest) -> Response:
    """The fields of every operation that the page starts."""
    return JSONResponse(context_of(request).forms.described())


async def command(request: HttpRequest) -> Response:
    """The command line that this form stands for. It starts nothing."""
    context = context_of(request)
    fields = await fields_of(request)
    words, _ = await run_in_threadpool(context.forms.words, fields, context.folders)
    line = shlex.join(["voidbridge", *words, f"--daemon={context.address}"])
    return JSONResponse({"command": line})


async def start(request: HttpRequest) -> Response:
    context = context_of(request)
    fields = await fields_of(request)
    words, files = await run_in_threadpool(context.forms.words, fields, context.folders)
    return JSONResponse((await context.children.start(words, files)).described())


async def fetch(request: HttpRequest) -> Response:
    """Starts `voidbridge fetch` into a folder."""
    fields, context = await fields_of(request), context_of(request)
    output = str(context.folders.allowed(text_of(fields, "output")))
    words = ["fetch", f"--output={output.rstrip('/')}/", "--", text_of(fields, "job")]
    return JSONResponse((await context.children.start(_before_ends(words), {})).described())


def _before_ends(words: list[str]) -> list[str]:
    """A job's id is letters and digits. Raises `BadSetting`, so that none is taken for an option."""
    *others, _, job = words
    if not job.isalnum():
        raise BadSetting(f"{job[:60]!r} is not an id of a job")
    return [*others, job]


async def commands(request: HttpRequest) -> Response:
    """The commands that the page started, the latest first."""
    return JSONResponse([child.described() for child in context_of(request).children])


async def one(request: HttpRequest) -> Response:
    """One command, with the measures of each frame if it is a report."""
    child = _child(context_of(request), request.path_params["number"])
    return JSONResponse({**child.described(), "figures": child.figures})


async def cancel(request: HttpRequest) -> Response:
    number = _child(context_of(request), request.path_params["number"]).number
    return JSONResponse({"is_cancelled": context_of(request).children.cancel(number)})


def _child(context: PageContext, number: int) -> Any:
    child = context.children.get(number)
    if child is None:
        raise UnknownJob(
            f"the page has no command {number}", "It was started before this page was."
        )
    return child


async def folder(request: HttpRequest) -> Response:
    """Returns the content of a folder: folders, and sequences with their frames."""
    folders = context_of(request).folders
    path = str(folders.allowed(request.query_params.get("path") or str(folders.named[0])))
    inner, _ = folders.inside(path)
    sequences = [
        {"pattern": str(found), "frames": compact(found.scan()), "count": len(found.scan())}
        for found in sequences_in(path)
        if is_text(str(found))
    ]
    return JSONResponse(
        {
            "path": path,
            "is_top": Path(path) in folders.named,
            "tops": [str(top) for top in folders.named if str(top) != path],
            "folders": inner,
            "sequences": sequences,
        }
    )


ROUTES: list[BaseRoute] = [
    Route("/api/forms", forms),
    Route("/api/folder", folder),
    Route("/api/commands", commands),
    Route("/api/command-line", command, methods=["POST"]),
    Route("/api/start", start, methods=["POST"]),
    Route("/api/fetch", fetch, methods=["POST"]),
    Route("/api/commands/{number:int}", one),
    Route("/api/commands/{number:int}/cancel", cancel, methods=["POST"]),
]
