"""Floods, and texts that no file, command or answer can hold: the page refuses them and goes on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.web import guard
from voidbridge_backend.web.access import Access
from voidbridge_backend.web.child_commands import MAX_RUNNING, ChildCommands
from voidbridge_backend.web.daemon_link import MAX_LISTENERS
from voidbridge_backend.web.server import MAX_CONNECTIONS
from voidbridge_protocol.errors import TooMany


def folder_of(page: Any) -> Path:
    return Path(page.get("/api/state").json["folders"][0])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/jobs/x/priority", '{"priority": 1e999}'),
        ("/api/start", '{"plate": "SHOW/\\ud800.exr", "output": "SHOW/out/"}'),
        ("/api/start", '{"plate": "SHOW/a.exr", "output": "SHOW/o/", "frames": "1\\u0000"}'),
        ("/api/start", '{"plate": "SHOW/a.exr", "output": "SHOW/o/", "frames": "\\ud800"}'),
        ("/api/command-line", '{"plate": "SHOW/a.exr", "output": "SHOW/o/", "frames": "\\ud800"}'),
        ("/api/prompts/save",
         '{"output": "SHOW/m", "objects": [{"points": [{"frame": 1e999, "x": 1, "y": 1}]}]}'),
        ("/api/prompts/save", '{"output": "SHOW/m", "objects": [{"keys": {"1": "\\ud800"}}]}'),
    ],
)  # fmt: skip
def test_values_that_nothing_can_hold_are_refused(page: Any, path: str, body: str) -> None:
    data = body.replace("SHOW", str(folder_of(page))).encode()
    headers = {"Cookie": page.cookie, "Origin": page.origin, "Content-Type": "application/json"}
    answer = page.ask("POST", path, data, **headers)
    assert (answer.status, answer.json["code"]) == (400, "request.setting")


def test_a_view_that_the_config_cannot_name_is_refused(page: Any) -> None:
    plate = folder_of(page) / "a.1001.exr"
    plate.write_bytes(new_file(dict.fromkeys("RGB", np.zeros((4, 4), np.float16))))
    answer = page.get(f"/api/picture?plate={plate}&frame=1001&display=%ff&view=%00")
    assert answer.status == 400


def test_a_link_to_itself_and_a_name_of_any_bytes_leave_a_folder_readable(page: Any) -> None:
    folder = folder_of(page)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "shot").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.1001.exr")).touch()
    except OSError:
        pytest.skip("this disk takes no such names")
    answer = page.get("/api/folder")
    assert (answer.status, answer.json["folders"]) == (200, ["shot"])


def test_a_painted_matte_of_more_pixels_than_any_plate_is_refused(page: Any) -> None:
    buffer = io.BytesIO()
    Image.new("1", (16_000, 8_000)).save(buffer, "PNG")
    headers = {"Cookie": page.cookie, "Origin": page.origin, "Content-Type": "image/png"}
    path = f"/api/paint?folder={folder_of(page)}&object=b&frame=1"
    answer = page.ask("POST", path, buffer.getvalue(), **headers)
    assert (answer.status, "16000x8000" in answer.json["text"]) == (400, True)


def test_commands_that_are_asked_for_at_once_are_bounded() -> None:
    async def flood() -> list[Any]:
        children = ChildCommands([])
        starts = [children.start(["--version"], {}, False) for _ in range(3 * MAX_RUNNING)]
        found = await asyncio.gather(*starts, return_exceptions=True)
        await children.close()
        return found

    found = asyncio.run(flood())
    assert sum(isinstance(one, TooMany) for one in found) == 2 * MAX_RUNNING


def connected(page: Any, held: ExitStack) -> socket.socket:
    return held.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=120))


def is_closed(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True


def test_pages_that_follow_the_queue_at_once_are_bounded(page: Any) -> None:
    request = (
        f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {page.cookie}\r\n\r\n"
    )
    with ExitStack() as held:
        sockets = [connected(page, held) for _ in range(2 * MAX_LISTENERS)]
        for one in sockets:
            one.sendall(request.encode())
        statuses = [one.recv(12)[9:] for one in sockets]
    assert statuses.count(b"200") == MAX_LISTENERS


def test_silent_connections_make_room(page: Any) -> None:
    with ExitStack() as held:
        sockets = [connected(page, held) for _ in range(MAX_CONNECTIONS + 40)]
        assert page.get("/api/folder").status == 200
        closed = [is_closed(one) for one in sockets[:40]]
    assert all(closed)


@pytest.mark.parametrize("is_known", [False, True])
def test_no_websocket_is_opened(page: Any, is_known: bool) -> None:
    cookie = {"Cookie": page.cookie} if is_known else {}
    asked = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "x" * 22 + "=="}
    for path in ("/api/events", "/", "/nothing"):
        answer = page.ask("GET", path, **asked, **key, **cookie, Sec_Fetch_Site="cross-site")
        assert answer.status == 403


def memory_mb(page: Any) -> float:
    for line in Path(f"/proc/{page.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def test_answers_that_nobody_reads_are_bounded(page: Any) -> None:
    """Each connection asks for the page again and again, and reads nothing."""
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {page.cookie}\r\n\r\n"
    before = memory_mb(page)
    with ExitStack() as held:
        for _ in range(8):
            one = connected(page, held)
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    one.send(request.encode() * 100)
        assert page.get("/api/folder").status == 200
        assert memory_mb(page) - before < 40


def test_bodies_that_never_end_make_room(page: Any) -> None:
    head = (
        f"POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nCookie: {page.cookie}\r\n"
        f"Origin: {page.origin}\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{{"
    )
    with ExitStack() as held:
        for _ in range(MAX_CONNECTIONS + 20):
            with contextlib.suppress(OSError):
                connected(page, held).sendall(head.encode())
        assert page.get("/api/folder").status == 200


def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.1)
    access = Access()
    session = access.enter(access.token())
    assert session
    one = guard.Guard(Starlette(routes=[Route("/x", read, methods=["POST"])]), access, 80)
    headers = {
        "host": "127.0.0.1:80",
        "origin": "http://127.0.0.1:80",
        "cookie": f"{one.cookie}={session}",
        "content-type": "application/json",
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/x",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def dripping() -> Any:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"{", "more_body": True}

    asyncio.run(one(scope, dripping, send))
    assert sent[0]["status"] == 408


async def read(request: HttpRequest) -> Response:
    return Response(await request.body())


def test_a_page_that_was_flooded_still_answers(page: Any) -> None:
    assert page.get("/api/state").status == 200
    assert json.loads(page.get("/api/commands").body) == []
