"""Prompts and painted mattes that the page keeps are checked before anything is written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from voidbridge_shots import channels_of

from voidbridge_backend.cli.prompts import objects_of
from voidbridge_backend.cli.prompts_file import read_prompts
from voidbridge_backend.exr.new.file import new_file

POINT = {"frame": 7, "x": 3.5, "y": 2, "label": 1}


def folder_of(page: Any) -> Path:
    return Path(page.get("/api/state").json["folders"][0])


def png(*size: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", size, (255, 0, 0, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def paint(page: Any, body: bytes, **query: Any) -> Any:
    path = "/api/paint?" + "&".join(f"{name}={value}" for name, value in query.items())
    headers = {"Cookie": page.cookie, "Origin": page.origin, "Content-Type": "image/png"}
    return page.ask("POST", path, body, **headers)


def test_saved_prompts_are_those_that_the_command_reads(page: Any) -> None:
    folder = folder_of(page) / "mattes"
    objects = [{"name": "ball", "role": "affected", "points": [POINT], "boxes": [], "keys": {}}]
    saved = page.post("/api/prompts/save", {"output": str(folder), "objects": objects})
    assert saved.status == 200, saved.body
    ((ball, _),) = objects_of(read_prompts(Path(saved.json["file"])))
    assert (ball.name, ball.role, ball.points[0].x) == ("ball", "affected", 3.5)
    assert page.get(f"/api/prompts?folder={folder}").json["objects"] == objects


@pytest.mark.parametrize(
    "objects",
    [
        None,
        [],
        [5],
        [{"name": "../x", "points": [POINT]}],
        [{"name": "ball", "points": []}],
        [{"name": "ball", "points": [POINT]}, {"name": "ball", "points": [POINT]}],
        [{"name": "ball", "points": [{**POINT, "x": "nan"}]}],
        [{"name": "ball", "keys": ["a.exr"]}],
        [{"name": "ball", "noun": "x:y"}],
    ],
    ids=str,
)
def test_prompts_that_make_no_sense_are_refused_and_not_written(page: Any, objects: Any) -> None:
    folder = folder_of(page) / "refused"
    answer = page.post("/api/prompts/save", {"output": str(folder), "objects": objects})
    assert (answer.status, answer.json["code"]) == (400, "request.setting"), answer.body
    assert not folder.exists()


@pytest.mark.parametrize("name", ["prompts.json", "prompts.json.tmp"])
@pytest.mark.parametrize("content", [b'{"objects": []}', b'{"content": "", "objects": []}'])
def test_prompts_of_somebody_else_are_kept_until_that_is_ticked(
    page: Any, tmp_path: Path, name: str, content: bytes
) -> None:
    folder = folder_of(page) / tmp_path.name
    folder.mkdir()
    (folder / name).write_bytes(content)
    form = {"output": str(folder), "objects": [{"name": "ball", "points": [POINT]}]}
    for path in ("/api/prompts/save", "/api/masks"):
        answer = page.post(path, {**form, "plate": str(folder / "plate.####.exr")})
        assert (answer.status, answer.json["code"]) == (400, "request.output-exists"), answer.body
    assert (folder / name).read_bytes() == content
    for more in ({"overwrite": True}, {}):
        assert page.post("/api/prompts/save", {**form, **more}).status == 200
    saved = json.loads((folder / "prompts.json").read_bytes())
    saved["objects"][0]["points"][0]["x"] += 1
    (folder / "prompts.json").write_text(json.dumps(saved))
    assert page.post("/api/prompts/save", form).json["code"] == "request.output-exists"


@pytest.mark.parametrize("name", ["painted.ball.0007.exr", "painted.ball.0007.exr.tmp"])
def test_a_painted_matte_keeps_the_file_of_somebody_else(
    page: Any, tmp_path: Path, name: str
) -> None:
    folder = folder_of(page) / tmp_path.name
    folder.mkdir()
    mine = new_file({"A": np.zeros((6, 8), np.float16)}, {"voidbridge/painted": "on the page"})
    (folder / name).write_bytes(mine)
    place: dict[str, Any] = {"folder": folder, "object": "ball", "frame": 7}
    if name.endswith(".tmp"):
        (folder / name).write_bytes(mine := b"of the artist")
    answer = paint(page, png(8, 6), **place)
    assert (answer.status, answer.json["code"]) == (400, "request.output-exists"), answer.body
    assert (folder / name).read_bytes() == mine
    for more in ({"overwrite": 1}, {}):
        assert paint(page, png(8, 6), **place, **more).status == 200


def test_a_key_matte_outside_of_the_folders_is_refused(page: Any) -> None:
    folder = folder_of(page) / "keys"
    for path in ("/etc/hostname", "../../../../etc/hostname"):
        objects = [{"name": "ball", "points": [POINT], "keys": {"7": path}}]
        answer = page.post("/api/prompts/save", {"output": str(folder), "objects": objects})
        assert (answer.status, answer.json["code"]) == (403, "request.path"), answer.body


def test_a_painted_matte_becomes_a_channel(page: Any) -> None:
    folder = folder_of(page) / "painted"
    kept = paint(page, png(8, 6), folder=folder, object="ball", frame=7)
    assert kept.json == {"file": "painted.ball.0007.exr"}
    matte = channels_of(folder / "painted.ball.0007.exr")["A"]
    assert matte.shape == (6, 8)
    assert np.allclose(matte, 128 / 255, atol=1e-3)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b"no picture", {"object": "ball", "frame": 7}),
        (png(8, 6)[:40], {"object": "ball", "frame": 7}),
        (png(20_000, 1), {"object": "ball", "frame": 7}),
        (png(8, 6), {"object": "../ball", "frame": 7}),
        (png(8, 6), {"object": "ball", "frame": "x"}),
    ],
    ids=["text", "half", "wide", "name", "frame"],
)
def test_a_body_that_is_no_matte_is_refused(page: Any, body: bytes, query: Any) -> None:
    folder = folder_of(page) / "nothing"
    assert paint(page, body, folder=folder, **query).status == 400
    assert not folder.exists()
    assert paint(page, png(8, 6), folder="/etc", object="ball", frame=7).status == 403
