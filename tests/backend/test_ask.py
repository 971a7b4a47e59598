"""Questions to a language model: a real server process, its bad answers, and nothing sent without being told."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import OpenEXR
import pytest
from voidbridge_language_model import Server, running

from voidbridge_backend.cli.main import main
from voidbridge_backend.cli.prompts import objects_of
from voidbridge_backend.cli.prompts_file import read_prompts
from voidbridge_backend.tools.ask import areas
from voidbridge_backend.tools.ask.answer import Answer, Grid, Place, Thing, parsed
from voidbridge_backend.tools.ask.endpoint import KEY, MODEL, URL, Endpoint
from voidbridge_protocol.errors import BadSetting, EndpointFailed, NoEndpoint

FRAMES = range(1001, 1010)
HEIGHT, WIDTH = 80, 144
"""8 x 14 cells; the first column has 10 pixels, each row has 10."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shot")
    matte = np.zeros((HEIGHT, WIDTH), np.float16)
    matte[20:40, 30:60] = 1
    gray = np.full((HEIGHT, WIDTH), 0.18, np.float16)
    for frame in FRAMES:
        for name, channels in {"plate": dict.fromkeys("RGB", gray), "man": {"A": matte}}.items():
            header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
            OpenEXR.File(header, channels).write(str(folder / f"{name}.{frame}.exr"))
    return folder


def ask(shot: Path, out: Path, *words: object) -> int:
    files = (shot / "plate.####.exr", shot / "man.####.exr", "-o", out)
    color = ("--color-space", "ACEScg", "--pictures", 3)
    return main(["mask-ask", *map(str, (*files, *color, *words))])


def at(server: Server, model: str) -> tuple[str, ...]:
    return ("--send", "--endpoint", server.url, "--model", model, "--timeout", "20")


def test_only_what_was_seen_is_sent_if_that_is_wanted(
    server: Server, shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(shot, tmp_path) == 0
    digest = capsys.readouterr().err.rpartition("--if-seen=")[2].split()[0]
    other = ("--instruction", "Other.")
    seen = (*at(server, "good"), f"--if-seen={digest}")
    assert ask(shot, tmp_path, *other) == 0, "drawn again, and seen by nobody"
    assert ask(shot, tmp_path, *seen, *other) == 2
    assert ask(shot, tmp_path, *at(server, "good"), "--if-seen=") == 2
    server.requests(0)
    assert ask(shot, tmp_path, *seen) == 0
    server.requests(1)


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (URL, MODEL, KEY):
        monkeypatch.delenv(name, raising=False)


def test_a_good_answer_becomes_mattes_prompts_and_a_scene(
    server: Server, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "secret")
    assert ask(shot, tmp_path, *at(server, "good")) == 0
    [request] = server.requests(1)
    assert request == {
        "path": "/v1/chat/completions",
        "key": "Bearer secret",
        "pictures": 4,
        "messages": 2,
        "strict": True,
    }
    assert (tmp_path / "scene.txt").read_text() == "An empty yard. At dusk.\n"
    [hat, cup] = [found for found, _ in objects_of(read_prompts(tmp_path / "prompts.json"))]
    assert (hat.name, hat.role, hat.boxes[0].frame) == ("red-hat-1", "belonging", 1001)
    assert (hat.boxes[0].left, hat.boxes[0].right) == (20, 41)
    assert (cup.role, cup.boxes[0].top) == ("affected", 20)
    matte = OpenEXR.File(str(tmp_path / "affected.1001.exr")).channels()["A"].pixels
    assert matte[65, 15] == 1, "the shadow"
    assert matte[5, 140] == 1, "the door's place"
    assert matte[75, 70] == 0
    assert not any("secret" in path.read_text("latin1") for path in tmp_path.iterdir())


def test_without_send_the_exact_pictures_are_shown_and_nothing_leaves(
    server: Server, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, server.url)
    monkeypatch.setenv(MODEL, "good")
    assert ask(shot, tmp_path) == 0
    server.requests(0)
    pictures = sorted(tmp_path.glob("*.jpg"))
    assert len(pictures) == 4
    request = json.loads((tmp_path / "request.json").read_text())
    assert [part.get("picture") for part in request["messages"][1]["content"][1:]] == [
        path.name for path in pictures
    ]
    assert not list(tmp_path.glob("*.exr"))


def test_no_request_leaves_without_an_endpoint(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(shot, tmp_path, "--send") == 2
    assert "no address of a language model is named" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_malformed_answer_is_sent_back_once(server: Server, shot: Path, tmp_path: Path) -> None:
    assert ask(shot, tmp_path, *at(server, "repaired")) == 0
    assert [request["messages"] for request in server.requests(2)] == [2, 4]


def test_a_fence_around_the_answer_is_no_fault(server: Server, shot: Path, tmp_path: Path) -> None:
    assert ask(shot, tmp_path, *at(server, "fenced")) == 0
    server.requests(1)


def test_cells_and_pictures_that_do_not_exist_are_moved_inside_and_told(
    server: Server, shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(shot, tmp_path, *at(server, "lying")) == 0
    server.requests(1)
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["artefacts"][0]["places"] == [{"picture": 3, "cells": [[7, 0]]}]
    assert answer["confidence"] == 1
    assert "picture 99 became 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "said", "requests"),
    [
        ("malformed", "answered twice in another form: confidence is missing", 2),
        ("refusing", "refused: I cannot help.", 1),
        ("cut", "cut off at its length limit", 1),
        ("strange", "no chat completion", 1),
        ("failing", "answered 401", 1),
        ("redirecting", "answered 302", 1),
        ("endless", "more than 4 MB", 1),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_and_writes_no_matte(
    server: Server,
    shot: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    said: str,
    requests: int,
) -> None:
    assert ask(shot, tmp_path, *at(server, model)) == 4
    assert said in capsys.readouterr().err
    server.requests(requests)
    assert not list(tmp_path.glob("*.exr"))


@pytest.mark.parametrize("model", ["slow", "dripping", "dripping_head"])
def test_a_server_that_never_ends_its_answer_is_given_up(server: Server, model: str) -> None:
    endpoint = Endpoint(server.url, model, timeout_s=0.3)
    body: dict[str, Any] = {"model": model, "messages": [{}, {"content": []}]}
    body["response_format"] = {"json_schema": {"strict": True}}
    with pytest.raises(EndpointFailed, match=r"did not answer within 0\.3 s"):
        endpoint.ask(body)
    server.requests(1)


def test_no_proxy_gets_what_is_not_encrypted(
    server: Server, shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(120)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, address)
        assert ask(shot, tmp_path, *at(server, "good")) == 0
        server.requests(1)
        assert select.select([proxy], [], [], 0)[0] == [], "the proxy was asked"

        heard: list[bytes] = []

        def answer() -> None:
            with proxy.accept()[0] as peer:
                heard.append(peer.recv(65536))

        waiting = Thread(target=answer)
        waiting.start()
        with pytest.raises(EndpointFailed):
            Endpoint("https://models.example/v1", "good", "secret", 120.0).ask({"seen": "picture"})
        waiting.join()
    assert heard[0].startswith(b"CONNECT models.example:443 ")
    assert b"secret" not in heard[0]
    assert b"picture" not in heard[0]


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(EndpointFailed, match="refused"):
        Endpoint("http://127.0.0.1:9/v1", "good").ask({})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://127.0.0.1/v1", "not an address"),
        ("http://models.example/v1", "without encryption"),
        ("https://user:key@models.example/v1", "more than a server and a path"),
    ],
)
def test_an_address_that_would_leak_is_refused(url: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        Endpoint.chosen(url, "m", None, 1.0, {})
    with pytest.raises(NoEndpoint, match="no model"):
        Endpoint.chosen(url, "", None, 1.0, {})


def test_a_key_is_read_from_a_file_and_is_in_no_text(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    found = Endpoint.chosen("https://m.example/v1/", "m", tmp_path / "key", 1.0, {KEY: "other"})
    assert (found.key, found.url) == ("secret", "https://m.example/v1")
    assert "secret" not in repr(found)
    with pytest.raises(BadSetting, match="cannot be read"):
        Endpoint.chosen("https://m.example/v1", "m", tmp_path / "none", 1.0, {})


def test_a_box_that_moves_is_swept_in_frame_time() -> None:
    layout = areas.GridLayout([1001, 1001, 1005, 1009], 8, 14, HEIGHT, WIDTH)
    cup = Thing("cup", (Place(1, ((2, 2),)),), fate="moves", path=(Place(3, ((6, 10),)),))
    answer = Answer((), (), (cup,), "", 1.0)
    halfway = areas.affected(answer, layout, 1005)
    left, top, right, bottom = layout.box([(4, 6)])
    assert halfway[top:bottom, left:right].all(), "the middle of the way"
    assert not halfway[:10].any()
    assert areas.affected(answer, layout, 1009)[65, 110]


def test_cells_of_an_artefact_are_held_until_the_next_picture() -> None:
    layout = areas.GridLayout([1001, 1001, 1005, 1009], 8, 14, HEIGHT, WIDTH)
    shadow = Thing("shadow", (Place(2, ((6, 1),)), Place(3, ((6, 9),))))
    answer = Answer((), (shadow,), (), "", 1.0)
    held = areas.affected(answer, layout, 1008)
    np.testing.assert_array_equal(held, layout.mask([(6, 1)]))
    np.testing.assert_array_equal(areas.affected(answer, layout, 1002), held)
    np.testing.assert_array_equal(areas.affected(answer, layout, 1009), layout.mask([(6, 9)]))


def test_the_grid_keeps_a_note_of_every_value_that_it_moves() -> None:
    grid = Grid(4, 8, 14)
    assert grid.cells([[9, 3], [9, 3]]) == ((7, 3),)
    assert grid.picture(-1) == 0
    assert grid.corrections == ["row 9 became 7", "row 9 became 7", "picture -1 became 0"]


@pytest.mark.parametrize("confidence", [10**400, -(10**400), 1e999, -1.0])
def test_a_confidence_without_bound_is_brought_inside(confidence: float) -> None:
    text = {"belongings": [], "artefacts": [], "objects": [], "scene_without": "a"}
    found = parsed(json.dumps(text | {"confidence": confidence}), Grid(4, 8, 14))
    assert 0 <= found.confidence <= 1


def test_words_of_a_model_hold_nothing_that_steers_a_terminal_or_cannot_be_written() -> None:
    text = {"belongings": [], "artefacts": [], "objects": [], "confidence": 1}
    scene = "a yard\x1b[2J\x9b2J\ud800 at dusk"
    found = parsed(json.dumps(text | {"scene_without": scene}), Grid(4, 8, 14))
    assert found.scene == "a yard [2J 2J  at dusk"
    assert found.scene.encode().isascii()
