"""Masks from clicks: prompts are saved beside the mattes, and `voidbridge mask` tracks them."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from voidbridge_backend.client.outputs import check_foreign, has_attribute, record_bytes
from voidbridge_backend.client.small_files import read_small
from voidbridge_backend.exr import seal
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.web.answers import answerable, fields_of, number_of, text_of
from voidbridge_backend.web.context import PageContext, context_of
from voidbridge_backend.web.forms import quadmasks
from voidbridge_protocol.errors import BadSetting, UnreadableFrame
from voidbridge_protocol.operations.mask import NAME, ROLES, parsed
from voidbridge_protocol.transfer.atomic_files import write_whole

PROMPTS = "prompts.json"
"""Name of the saved prompts, beside the mattes."""
PAINTED = "voidbridge/painted"
"""Attribute of a matte that was painted on the page; a seal tells whether it is unchanged."""
HINT = "Choose another folder, or tick “Replace files that Voidbridge did not make”."
MAX_SIDE = 16_384
MAX_PIXELS = 72_000_000
"""Of a painted matte: twice those of 8K. A small file may hold the 268 million that `MAX_SIDE` allows."""
PAINTING = threading.Lock()
"""One painted matte is decoded at a time; it takes 1 GB at most."""
SHARES = (np.arange(256) / np.float32(255)).astype(np.float16)


async def prompts(request: HttpRequest) -> Response:
    """The prompts that were saved in a folder; no objects if there are none."""
    folder = context_of(request).folders.allowed(request.query_params.get("folder", ""))
    path = context_of(request).folders.allowed(folder / PROMPTS)
    try:
        found = answerable(json.loads(read_small(path))["objects"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = []
    return JSONResponse({"objects": found, "file": str(path)})


async def save(request: HttpRequest) -> Response:
    """Saves what was clicked, as JSON that `voidbridge mask --prompts` reads."""
    return JSONResponse({"file": _saved(context_of(request), await fields_of(request))})


async def track(request: HttpRequest) -> Response:
    """Saves what was clicked, and starts `voidbridge mask`."""
    fields, context = await fields_of(request), context_of(request)
    plate, output = text_of(fields, "plate"), text_of(fields, "output").rstrip("/")
    await run_in_threadpool(context.folders.check_frames, plate)
    file = _saved(context, fields)
    words = ["mask", plate, f"--output={output}", f"--prompts={file}"]
    words += ["--overwrite"] if fields.get("overwrite") is True else []
    for name in ("frames", "color-space", "layer", "engine", "find"):
        if text := text_of(fields, name).strip():
            words.append(f"--{name}={text}")
    files = {"plate": plate, "matte": quadmasks(output, plate)}
    return JSONResponse((await context.children.start(words, files)).described())


async def combine(request: HttpRequest) -> Response:
    """Starts `voidbridge mask --combine`, with mattes that are there."""
    fields, context = await fields_of(request), context_of(request)
    plate, output = text_of(fields, "plate"), text_of(fields, "output").rstrip("/")
    layers = fields.get("mattes")
    if not isinstance(layers, list) or not layers:
        raise BadSetting("no matte is chosen", "Tick at least one matte.")
    words = ["mask", plate, f"--output={output}"]
    for layer in layers:
        if not isinstance(layer, dict):
            raise BadSetting(f"the matte {str(layer)[:60]!r} is not a JSON object")
        matte, role = text_of(layer, "matte"), text_of(layer, "role")
        await run_in_threadpool(context.folders.check_frames, matte)
        if role not in ROLES:
            raise BadSetting(f"the role {role[:60]!r} is not one of {', '.join(ROLES)}")
        words.append(f"--combine={role}={context.folders.allowed(matte)}")
    await run_in_threadpool(context.folders.check_frames, plate)
    context.folders.allowed(output)
    if text := text_of(fields, "frames").strip():
        words.append(f"--frames={text}")
    words += ["--overwrite"] if fields.get("overwrite") is True else []
    files = {"plate": plate, "matte": quadmasks(output, plate)}
    started = await context.children.start(words, files, asks_daemon=False)
    return JSONResponse(started.described())


async def paint(request: HttpRequest) -> Response:
    """Keeps a painted matte of one frame, a PNG of the plate's size, as OpenEXR beside the prompts."""
    query, context = dict(request.query_params), context_of(request)
    folder = context.folders.allowed(query.get("folder", ""))
    name, frame = query.get("object", ""), number_of(query, "frame")
    if not NAME.fullmatch(name):
        raise BadSetting(f"{name[:60]!r} cannot be the name of an object")
    path = context.folders.allowed(folder / f"painted.{name}.{frame:04d}.exr")
    data = await request.body()
    if query.get("overwrite") != "1":
        check_foreign([(path, _is_painted)], HINT)
    await run_in_threadpool(_write_matte, path, data)
    return JSONResponse({"file": path.name})


def _write_matte(path: Path, data: bytes) -> None:
    with PAINTING:
        _write_one_matte(path, data)


def _write_one_matte(path: Path, data: bytes) -> None:
    try:
        picture = Image.open(io.BytesIO(data), formats=["PNG"])
        if max(picture.size) > MAX_SIDE or picture.size[0] * picture.size[1] > MAX_PIXELS:
            raise BadSetting(f"the painted matte has {picture.size[0]}x{picture.size[1]} pixels")
        alpha = np.asarray(_alpha(picture))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableFrame(f"the painted matte is not a PNG: {error}", "") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    marks = {PAINTED: "on the page", seal.ATTRIBUTE: seal.BLANK}
    write_whole(path, seal.sealed(new_file({"A": SHARES[alpha]}, marks)))


def _is_painted(path: Path) -> bool:
    """Whether it is a matte that was painted on the page and not changed since."""
    return has_attribute(path, PAINTED) and seal.is_sealed(path)


def _alpha(picture: Image.Image) -> Image.Image:
    """The channel A without a copy of the others; of a picture without it, that of its copy as RGBA."""
    return (picture if picture.mode == "RGBA" else picture.convert("RGBA")).getchannel("A")


def _saved(context: PageContext, fields: dict[str, Any]) -> str:
    """Checks the objects and writes them. Raises `BadSetting`, `PathNotAllowed`, `OutputExists`."""
    folder = context.folders.allowed(text_of(fields, "output"))
    objects = fields.get("objects")
    if not isinstance(objects, list):
        raise BadSetting("no object is named", "Click on an object first.")
    parsed(json.dumps([_as_setting(entry) for entry in objects]))
    for entry in objects:
        for painted in dict(entry.get("keys", {})).values():
            context.folders.allowed(folder / str(painted))
    path = context.folders.allowed(folder / PROMPTS)
    if fields.get("overwrite") is not True:
        check_foreign([(path, _is_saved)], HINT)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, record_bytes({"content": _checksum(objects), "objects": objects}))
    return str(path)


def _is_saved(path: Path) -> bool:
    """Whether the page saved this file, and nobody changed its prompts since."""
    try:
        found = json.loads(path.read_bytes())
        return bool(found["content"] == _checksum(found["objects"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _checksum(objects: Any) -> str:
    return hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()


def _as_setting(entry: Any) -> Any:
    """As the protocol has it, where key mattes are frames only."""
    if not isinstance(entry, dict):
        raise BadSetting(f"the object {entry!r} is not a JSON object")
    keys = entry.get("keys", {})
    if not isinstance(keys, dict):
        raise BadSetting("the key mattes of an object are not a JSON object")
    return {**entry, "keys": list(keys)}


ROUTES: list[BaseRoute] = [
    Route("/api/prompts", prompts),
    Route("/api/prompts/save", save, methods=["POST"]),
    Route("/api/masks", track, methods=["POST"]),
    Route("/api/masks/combine", combine, methods=["POST"]),
    Route("/api/paint", paint, methods=["POST"]),
]
