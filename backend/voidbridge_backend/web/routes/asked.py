"""Questions to a language model: the pictures that would be sent are shown first, and nothing else is sent.

`voidbridge mask-ask` draws and sends them. It keeps a list of its files with their hashes, so a picture that
somebody changed is neither shown nor taken for one that was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from voidbridge_backend.client.small_files import read_small
from voidbridge_backend.web.answers import answerable, fields_of, text_of
from voidbridge_backend.web.context import PageContext, context_of
from voidbridge_backend.web.folders import Folders
from voidbridge_protocol.errors import BadSetting, MissingFrames, NoEndpoint, PathNotAllowed
from voidbridge_protocol.operations.mask import NAME
from voidbridge_protocol.transfer.hashing import digest_of

LIST, REQUEST, ANSWER, PROMPTS = (
    "ask.voidbridge.json",
    "request.json",
    "answer.json",
    "prompts.json",
)
"""Files of `mask-ask`; the first lists the others with their SHA-256."""
AFFECTED = "affected."
FIELDS = ("instruction", "frames", "color-space")
HINT = "Look at the pictures again, then send them."


async def question(request: HttpRequest) -> Response:
    """Returns the question and the answer for an object: names of the pictures, the text, the answer's objects."""
    context = context_of(request)
    if "folder" not in request.query_params:
        return JSONResponse({"endpoint": context.endpoint})
    folder = _folder(context, dict(request.query_params))
    found = await run_in_threadpool(_described, context.folders, folder)
    return JSONResponse({**found, "endpoint": context.endpoint})


async def picture(request: HttpRequest) -> Response:
    """One of the pictures that would be sent, as JPEG."""
    query, context = dict(request.query_params), context_of(request)
    folder, name = _folder(context, query), query.get("name", "")
    content = (await run_in_threadpool(_files, context.folders, folder)).get(name)
    if content is None or not name.endswith(".jpg"):
        raise MissingFrames(f"{folder} has no picture {name[:60]!r}", HINT)
    return Response(content, media_type="image/jpeg")


async def ask(request: HttpRequest) -> Response:
    """Starts `voidbridge mask-ask`. It sends only if the pictures in the folder are those that were shown."""
    fields, context = await fields_of(request), context_of(request)
    plate, matte = text_of(fields, "plate"), text_of(fields, "matte")
    for path in (plate, matte):
        await run_in_threadpool(context.folders.check_frames, path)
    folder = _folder(context, {"folder": text_of(fields, "output"), **fields})
    words = ["mask-ask", plate, matte, f"--output={folder}"]
    words += [f"--{name}={text}" for name in FIELDS if (text := text_of(fields, name).strip())]
    words += ["--overwrite"] if fields.get("overwrite") is True else []
    if shown := text_of(fields, "shown"):
        if not context.endpoint:
            raise NoEndpoint("no language model is named, so nothing is sent")
        now = await run_in_threadpool(_described, context.folders, folder)
        if shown != now["shown"]:
            raise BadSetting("the pictures have changed since they were shown", HINT)
        words += ["--send", f"--if-seen={shown}"]  # the plate may have changed, too
    return JSONResponse((await context.children.start(words, {}, asks_daemon=False)).described())


def _folder(context: PageContext, fields: dict[str, Any]) -> Path:
    """Beside the mattes, one for each object. Raises `BadSetting`, `PathNotAllowed`."""
    name = text_of(fields, "object")
    if not NAME.fullmatch(name):
        raise BadSetting(f"{name[:60]!r} cannot be the name of an object")
    folder = context.folders.allowed(text_of(fields, "folder"))
    return context.folders.allowed(folder / f"asked-{name}")


def _files(folders: Folders, folder: Path) -> dict[str, bytes]:
    """The content of each listed file that nobody changed since; nothing without a list."""
    try:
        listed = dict(json.loads(read_small(folders.allowed(folder / LIST)))["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    found = {}
    for name, digest in listed.items():
        with contextlib.suppress(OSError, PathNotAllowed):  # a list may name anything
            content = read_small(folders.allowed(folder / name))
            if hashlib.sha256(content).hexdigest() == digest:
                found[name] = content
    return found


def _described(folders: Folders, folder: Path) -> dict[str, Any]:
    """Returns the content of the files. Raises `BadSetting` for files that `mask-ask` did not write so."""
    try:
        found = _read(_files(folders, folder), folder)
        answerable(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadSetting(
            f"the question in {folder} is damaged: {ascii(str(error))[:120]}",
            "Show again what would be sent; that writes its files anew.",
        ) from error
    return found


def _read(files: dict[str, bytes], folder: Path) -> dict[str, Any]:
    request = json.loads(files.get(REQUEST, b"{}"))
    parts = [part for message in request.get("messages", ()) for part in _parts(message)]
    names = [part["picture"] for part in parts if "picture" in part]
    pictures = [name for name in names if name in files]
    sent = [files[name] for name in (*pictures, REQUEST) if pictures]
    affected = next(iter(sorted(folder.glob(f"{AFFECTED}*.exr"))), None)
    digits = affected.name.removeprefix(AFFECTED).removesuffix(".exr") if affected else ""
    return {
        "pictures": pictures,
        "text": "\n\n".join(part["text"] for part in parts if "text" in part),
        "shown": digest_of(sent) if pictures else "",
        "answer": json.loads(files.get(ANSWER, b"null")),
        "objects": json.loads(files.get(PROMPTS, b'{"objects": []}'))["objects"],
        "affected": str(folder / f"{AFFECTED}%0{len(digits)}d.exr") if affected else "",
    }


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"text": content}] if isinstance(content, str) else content


ROUTES: list[BaseRoute] = [
    Route("/api/asked", question),
    Route("/api/asked/picture", picture),
    Route("/api/asked/start", ask, methods=["POST"]),
]
