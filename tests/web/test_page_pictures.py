"""Pictures for the player: right pixels, bounded, made once, and none for a browser that went away."""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import av
import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request
from voidbridge_page import start_page, stop_page
from voidbridge_shots import Shot, make_shot, square

from voidbridge_backend.cli.parsers.page_forms import page_options
from voidbridge_backend.sequences.found import find
from voidbridge_backend.web.access import Access
from voidbridge_backend.web.child_commands import ChildCommands
from voidbridge_backend.web.context import PageContext
from voidbridge_backend.web.daemon_link import DaemonLink
from voidbridge_backend.web.folders import Folders
from voidbridge_backend.web.forms import JobForms
from voidbridge_backend.web.player.bounded_cache import BoundedCache
from voidbridge_backend.web.player.pictures import Pictures
from voidbridge_backend.web.player.shots import ShotReader
from voidbridge_backend.web.routes.pictures import picture

LOOK = {"display": "sRGB - Display", "view": "Un-tone-mapped"}


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    """Gray plates, and results that differ in a square; the plate's gray is its frame's number."""
    made = make_shot(tmp_path_factory.mktemp("show"), range(1, 6), 96, 128)
    for frame in made.frames:
        gray = np.full((96, 128), 0.1 * frame, np.float16)
        made.write("plate", frame, {"R": gray, "G": gray, "B": gray})
        changed = np.where(square(96, 128, at=(40, 60)) > 0, np.float16(0), gray)
        made.write("result", frame, {"R": changed, "G": changed, "B": changed})
    return made


@pytest.fixture(scope="module")
def player(shot: Shot) -> Iterator[Any]:
    page = start_page(f"ipc://{shot.folder}/nobody", shot.folder)
    try:
        page.enter()
        yield page
    finally:
        stop_page(page)


def write_clip(path: Path, levels: list[float]) -> None:
    """A QuickTime file of gray frames, without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for level in levels:
            pixels = np.full((48, 64, 3), round(level * 255), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode())


def query(shot: Shot, **more: Any) -> str:
    files = {role: str(shot.folder / f"{role}.%04d.exr") for role in ("plate", "matte", "result")}
    return urlencode({**files, **LOOK, **more})


def pixels(answer: Any) -> np.ndarray:
    assert answer.status == 200, answer.body
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB")).astype(int)


def test_a_shot_tells_its_frames_its_color_and_the_views(player: Any, shot: Shot) -> None:
    found = player.get(f"/api/shot?{query(shot)}").json
    assert found["frames"] == {role: [1, 2, 3, 4, 5] for role in ("plate", "matte", "result")}
    assert (found["size"]["width"], found["size"]["height"]) == (128, 96)
    assert found["color"]["space"] == "ACEScg"
    assert "Un-tone-mapped" in found["views"]["sRGB - Display"]


def test_a_picture_is_the_frame_through_the_view(player: Any, shot: Shot) -> None:
    for frame in (1, 5):
        seen = pixels(player.get(f"/api/picture?{query(shot, kind='plate', frame=frame)}"))
        light = 0.1 * frame
        code = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
        assert seen.shape == (96, 128, 3)
        assert abs(seen.mean() - code) < 3


def test_exposure_and_width_are_followed(player: Any, shot: Shot) -> None:
    bright = player.get(f"/api/picture?{query(shot, kind='plate', frame=1, exposure=1, width=32)}")
    assert pixels(bright).shape == (24, 32, 3)
    twice = pixels(player.get(f"/api/picture?{query(shot, kind='plate', frame=2)}"))
    assert abs(pixels(bright).mean() - twice.mean()) < 2


def test_the_difference_is_black_but_for_the_change(player: Any, shot: Shot) -> None:
    seen = pixels(player.get(f"/api/picture?{query(shot, kind='difference', frame=5)}"))
    hole = square(96, 128, at=(40, 60)) > 0
    assert seen[hole].mean() > 240
    assert seen[:20].max() < 6


def test_a_part_comes_at_the_plates_own_size(player: Any, shot: Shot) -> None:
    part = pixels(
        player.get(f"/api/picture?{query(shot, kind='result', frame=5, tile='50,30,40,40')}")
    )
    assert part.shape == (40, 40, 3)
    assert part.min() < 40 < part.max()
    outside = player.get(f"/api/picture?{query(shot, kind='result', frame=5, tile='500,30,40,40')}")
    assert outside.status == 400


def test_a_matte_and_its_tint_are_shown(player: Any, shot: Shot) -> None:
    matte = pixels(player.get(f"/api/picture?{query(shot, kind='matte', frame=1)}"))
    overlay = pixels(player.get(f"/api/picture?{query(shot, kind='overlay', frame=1)}"))
    assert (matte.min(), matte.max() > 250) == (0, True)
    hole = matte[..., 0] > 128
    assert (overlay[hole][:, 0] - overlay[hole][:, 2]).mean() > 60


def test_confidence_is_shown_where_the_result_has_it(player: Any, shot: Shot) -> None:
    assert not player.get(f"/api/shot?{query(shot)}").json["has_confidence"]
    sure = np.zeros((96, 128), np.float16)
    sure[:, 64:] = 1
    shot.write("sure", 1, {**dict.fromkeys("RGB", sure), "voidbridge.confidence": sure})
    files = {"plate": shot.plate, "result": shot.folder / "sure.%04d.exr"}
    assert player.get(f"/api/shot?{urlencode(files)}").json["has_confidence"]
    seen = pixels(
        player.get(f"/api/picture?{urlencode({**files, 'kind': 'confidence', 'frame': 1})}")
    )
    assert (seen[:, :56].max() < 8, seen[:, 72:].min() > 247) == (True, True)
    missing = player.get(f"/api/picture?{query(shot, kind='confidence', frame=1)}")
    assert (missing.status, missing.json["code"]) == (400, "request.layer")


def test_a_pixel_is_told_in_scene_linear_light(player: Any, shot: Shot) -> None:
    found = player.get(f"/api/probe?{query(shot, frame=5, x=3, y=3)}").json
    assert found["plate"] == found["result"] == pytest.approx([0.5] * 3, abs=1e-3)
    assert player.get(f"/api/probe?{query(shot, frame=5, x=-1, y=9999)}").json == {}


def test_small_pictures_are_saved_as_one_file(player: Any, shot: Shot) -> None:
    path = f"/api/proxies?{query(shot, kind='result', first=2, last=4, width=32)}"
    answer = player.get(path)
    assert 'filename="result_proxies.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"result.{frame:04d}.webp" for frame in (2, 3, 4)]
        with Image.open(archive.open("result.0003.webp")) as found:
            assert found.size == (32, 24)
    nothing = player.get(f"/api/proxies?{urlencode({'plate': shot.folder / 'no.%04d.exr'})}")
    assert (nothing.status, nothing.json["code"]) == (404, "request.missing-frames")


def test_a_clip_stays_open_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    write_clip(path, [0.2, 0.5, 0.8])
    reader = ShotReader(Folders([tmp_path]))
    sequence = find(str(path))
    color = reader.color(sequence, 1, "lin_rec709")
    levels = [float(reader.light(sequence, frame, color).mean()) for frame in (1, 3, 2)]
    assert levels == pytest.approx([0.2, 0.8, 0.5], abs=0.02)
    first = reader._reader(reader.version(sequence, 1))
    assert first is reader._reader(reader.version(sequence, 2)) is not reader._files
    write_clip(path, [0.9, 0.1, 0.1])
    os.utime(path, ns=(1, 1))
    assert float(reader.light(sequence, 1, color).mean()) == pytest.approx(0.9, abs=0.02)


def test_a_value_is_made_once_for_all_that_ask_for_it_at_the_same_time() -> None:
    cache: BoundedCache[int] = BoundedCache(100)
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make() -> int:
        begun.set()
        go_on.wait(120)
        made.append(1)
        return len(made)

    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(cache.once, "frame", make, lambda _: 1) for _ in range(3)]
        assert begun.wait(120)
        go_on.set()
        assert [one.result(120) for one in asked] == [1, 1, 1]
    with pytest.raises(ZeroDivisionError):
        cache.once("broken", lambda: 1 // 0, lambda _: 1)
    assert cache.once("broken", lambda: 5, lambda _: 1) == 5


def test_a_picture_that_the_browser_has_is_not_sent_again(player: Any, shot: Shot) -> None:
    path = f"/api/picture?{query(shot, kind='plate', frame=3)}"
    first = player.get(path)
    again = player.get(path, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    gray = np.full((96, 128), 0.9, np.float16)
    shot.write("plate", 3, {"R": gray, "G": gray, "B": gray})
    changed = player.get(path, If_None_Match=first.headers["etag"])
    assert changed.status == 200
    assert pixels(changed).mean() > pixels(first).mean() + 20


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"kind": "plate", "frame": 99}, "request.missing-frames"),
        ({"kind": "confetti", "frame": 1}, "request.setting"),
        ({"kind": "plate", "frame": "x"}, "request.setting"),
        ({"kind": "plate", "frame": 1, "width": 10**9}, "request.setting"),
        ({"kind": "plate", "frame": 1, "exposure": "nan"}, "request.setting"),
        ({"kind": "plate", "frame": 1, "tile": "0,0,1"}, "request.setting"),
        ({"kind": "plate", "frame": 1, "plate": "/etc/hostname"}, "request.path"),
        ({"kind": "plate", "frame": 1, "view": "no such view"}, "request.color-space"),
        ({"kind": "plate", "frame": 1, "space": "no such space"}, "request.color-space"),
    ],
)
def test_a_picture_that_cannot_be_made_is_refused_with_the_reason(
    player: Any, shot: Shot, more: dict[str, Any], code: str
) -> None:
    answer = player.get(f"/api/picture?{query(shot, **more)}")
    assert answer.json["code"] == code, answer.body


def test_pictures_that_the_browser_gave_up_are_not_waited_for(player: Any, shot: Shot) -> None:
    for number in range(
        200
    ):  # as in wild scrubbing: each with a look of its own, so none is cached
        connection = http.client.HTTPConnection("127.0.0.1", player.port, timeout=120)
        path = f"/api/picture?{query(shot, kind='plate', frame=1, gain=number + 1)}"
        connection.request("GET", path, headers={"Cookie": player.cookie})
        connection.close()
    wanted = player.get(f"/api/picture?{query(shot, kind='plate', frame=2, gain=999)}")
    assert wanted.status == 200


@pytest.mark.parametrize(("said", "status"), [("http.disconnect", 499), ("http.request", 200)])
def test_a_picture_is_made_only_for_a_browser_that_still_waits(
    shot: Shot, said: str, status: int
) -> None:
    folders = Folders([shot.folder])
    pictures = Pictures(ShotReader(folders))
    link: Any = DaemonLink(lambda: None)  # type: ignore[arg-type, return-value]
    children, forms = ChildCommands([]), JobForms(page_options())
    context = PageContext(Access(), "", link, folders, children, pictures, "", forms, "")
    asked = query(shot, kind="plate", frame=2).encode()
    app = SimpleNamespace(state=SimpleNamespace(context=context))
    scope = {"type": "http", "method": "GET", "headers": [], "query_string": asked, "app": app}

    async def receive() -> dict[str, str]:
        if said == "http.request":
            await asyncio.Event().wait()
        return {"type": said}

    answer = asyncio.run(picture(Request(scope, receive)))  # type: ignore[arg-type]
    pictures.close()
    assert (answer.status_code, pictures._made.size > 0) == (status, status == 200)


def test_a_cache_stays_within_its_bytes_and_keeps_the_latest() -> None:
    cache: BoundedCache[int] = BoundedCache(100)
    for number in range(50):
        cache.put(number, number, 10)
        cache.get(0)
    assert cache.size == 100
    assert [cache.get(n) for n in (0, 49, 1)] == [0, 49, None]
    cache.put("large", 1, 101)
    assert cache.get("large") is None
    cache.put(49, 7, 50)
    assert cache.size <= 100
