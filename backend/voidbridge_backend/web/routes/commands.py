"""New jobs from files of this machine: the fields of a form as the words of a command, and the command itself."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from voidbridge_backend.sequences.found import sequences_in
from voidbridge_backend.sequences.patterns import compact
from voidbridge_backend.web.answers import fields_of, text_of
from voidbridge_backend.web.context import PageContext, context_of
from voidbridge_backend.web.folders import Folders, is_text
from voidbridge_backend.web.records import painted_file
from voidbridge_protocol.errors import BadSetting, UnknownJob
from voidbridge_protocol.operations import operation
from voidbridge_protocol.settings import grouped

COMMANDS = {"remove": ("run", ("plate", "matte")), "key": ("key", ("plate", "hint"))}
"""The command and the positional files of an operation."""
FILE_OPTIONS = ("affected",)
TEXT_OPTIONS = ("frames", "handles", "plate-start", "matte-start", "priority")
SWITCHES = ("overwrite", "force")
MAX_TEXT = 8192


def words_of(fields: dict[str, Any], folders: Folders) -> tuple[list[str], dict[str, str]]:
    """The words of a command, and its files by role. Raises `BadSetting`, `PathNotAllowed`.

    Every value stands behind an equals sign or begins with a slash, so none can be taken for an option.
    """
    name = text_of(fields, "operation", "remove")
    if name not in COMMANDS:
        raise BadSetting(f"the page starts {', '.join(COMMANDS)}, and not {name!r}")
    command, roles = COMMANDS[name]
    files = {}
    for role in (*roles, *FILE_OPTIONS, "output"):
        if text := text_of(fields, role).strip():
            folders.allowed(text)
            files[role] = text
    for role in ("plate", "output"):
        if role not in files:
            raise BadSetting(f"the {role} is missing", "Choose it in the form.")
    output = files.pop("output")
    words = [command, *(files[role] for role in roles if role in files), f"--output={output}"]
    words += [f"--{role}={files[role]}" for role in FILE_OPTIONS if role in files]
    painted = [line.strip() for line in text_of(fields, "clean").splitlines() if line.strip()]
    if painted and name == "remove":
        for line in painted:
            folders.allowed(painted_file(line))
        words += [f"--clean={line}" for line in painted]
        files["clean"] = "\n".join(painted)
    for option in TEXT_OPTIONS:
        if text := text_of(fields, option).strip():
            words.append(f"--{option}={text[:MAX_TEXT]}")
    words += [f"--{switch}" for switch in SWITCHES if fields.get(switch) is True]
    words += _setting_words(name, fields.get("settings"))
    return words, {**files, "result": _result_pattern(output, files["plate"])}


def _setting_words(name: str, values: Any) -> Iterator[str]:
    """Options for those settings that differ from their defaults."""
    chosen = values if isinstance(values, dict) else {}
    for members in grouped(operation(name).settings).values():
        for field, info in members:
            value = chosen.get(field.name, field.default)
            if not info.is_option or value in (field.default, None):
                continue
            option = "--" + field.name.replace("_", "-")
            if value is True:
                yield option
            elif value is not False:
                yield f"{option}={str(value)[:MAX_TEXT]}"


def _result_pattern(output: str, plate: str) -> str:
    """Where the results lie: a folder takes the plate's names."""
    if output.endswith("/") or os.path.isdir(output):
        return os.path.join(output, os.path.basename(plate))
    return output


async def forms(request: HttpRequest) -> Response:
    """The settings of every operation that the page starts, for its form."""
    return JSONResponse({name: _form(name) for name in COMMANDS})


def _form(name: str) -> dict[str, Any]:
    kind = operation(name).settings
    types = get_type_hints(kind)
    groups = {
        title: [
            {
                "name": field.name,
                "label": info.label or field.name.replace("_", " "),
                "help": info.text,
                "kind": types[field.name].__name__,
                "default": field.default,
                "choices": list(info.choices),
                "range": info.range_words,
            }
            for field, info in members
            if info.is_option
        ]
        for title, members in grouped(kind).items()
    }
    return {"roles": list(COMMANDS[name][1]), "groups": groups}


async def command(request: HttpRequest) -> Response:
    """The command line that this form stands for. It starts nothing."""
    context = context_of(request)
    words, _ = words_of(await fields_of(request), context.folders)
    line = shlex.join(["voidbridge", *words, f"--daemon={context.address}"])
    return JSONResponse({"command": line})


async def start(request: HttpRequest) -> Response:
    context = context_of(request)
    words, files = words_of(await fields_of(request), context.folders)
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
        raise BadSetting(f"{job[:60]!r} is no id of a job")
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
