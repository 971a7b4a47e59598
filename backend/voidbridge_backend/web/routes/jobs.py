"""Everything that is known of one job: from the daemon, from the page's own commands, from records on disk."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from voidbridge_backend.web import records
from voidbridge_backend.web.context import PageContext, context_of
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import BadPattern, VoidbridgeError
from voidbridge_protocol.lifecycle import JobState


async def job(request: HttpRequest) -> Response:
    """Status, request and provenance as the daemon has them, and the files on this machine."""
    name, context = request.path_params["job"], context_of(request)
    found = await context.link.ask(lambda client: _described(client, name))
    files = await _files(context, name)
    child = context.children.of_job(name)
    stages = child.stages.seconds if child else context.link.stages(name)
    return JSONResponse({**found, "stages": stages, "paths": files})


async def measure(request: HttpRequest) -> Response:
    """Starts `voidbridge report` on the files of a job."""
    name, context = request.path_params["job"], context_of(request)
    files = await _files(context, name)
    missing = [role for role in ("result", "plate", "matte") if role not in files]
    if missing:
        raise BadPattern(
            f"the {missing[0]} of job {name} lies below none of the named folders",
            "Fetch the results into one of them, or start the page with --folder FOLDER.",
        )
    for role in ("result", "plate", "matte", "affected"):
        if role in files:
            await run_in_threadpool(context.folders.check_frames, files[role])
    words = ["report", files["result"], files["plate"], files["matte"]]
    words += [f"--affected={files['affected']}"] if "affected" in files else []
    return JSONResponse((await context.children.start(words, {}, asks_daemon=False)).described())


async def _files(context: PageContext, name: str) -> dict[str, str]:
    child = context.children.of_job(name)
    return (
        child.files if child else await run_in_threadpool(records.files_of, context.folders, name)
    )


def _described(client: Client, name: str) -> dict[str, Any]:
    status = client.status(name)
    try:
        made: Any = client.request(name)
    except VoidbridgeError:
        made = None  # an ended job may have lost its request
    provenance = json.loads(client.provenance(name)) if status.state is JobState.DONE else None
    return {
        "status": vars(status) | {"state": status.state.value},
        "settings": vars(made.settings) if made else {},
        "frames": [made.first, made.last] if made else [],
        "files": _counted(made.files) if made else {},
        "provenance": provenance,
    }


def _counted(files: Any) -> dict[str, int]:
    roles = [file.role for file in files]
    return {role: roles.count(role) for role in dict.fromkeys(roles)}


ROUTES: list[BaseRoute] = [
    Route("/api/jobs/{job}", job),
    Route("/api/jobs/{job}/report", measure, methods=["POST"]),
]
