"""A language model gets the pictures that somebody has looked at, and its answer becomes a quadmask."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from voidbridge_language_model import Server, running
from voidbridge_page import Page, start_page, stop_page
from voidbridge_shots import Shot, channels_of, make_shot
from voidbridge_stage import eventually


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    """A plate of 8 x 14 cells, and the matte of an object in it."""
    made = make_shot(tmp_path_factory.mktemp("show"), range(1, 4), 80, 144)
    for frame in made.frames:
        made.write("ball", frame, channels_of(made.file("matte", frame)))
    return made


@pytest.fixture(scope="module")
def model() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def asking(shot: Shot, model: Server) -> Iterator[Page]:
    extra = {"VOIDBRIDGE_ASK_URL": model.url, "VOIDBRIDGE_ASK_MODEL": "good"}
    page = start_page(f"ipc://{shot.folder}/nobody", shot.folder, extra=extra)
    try:
        page.enter()
        yield page
    finally:
        stop_page(page)


def form(shot: Shot, **more: Any) -> dict[str, Any]:
    matte = str(shot.folder / "ball.%04d.exr")
    files = {"plate": str(shot.plate), "matte": matte, "output": str(shot.folder)}
    return {**files, "object": "ball", "instruction": "Remove the ball.", **more}


def run(page: Page, path: str, fields: dict[str, Any]) -> Any:
    """The command that was started, once it has ended."""
    started = page.post(path, fields)
    assert started.status == 200, started.body

    def ended() -> Any:
        found = page.get(f"/api/commands/{started.json['number']}").json
        return found if found["state"] != "running" else None

    done = eventually(ended)
    assert done["state"] == "done", done
    return done


def test_the_pictures_are_shown_then_sent_and_the_answer_becomes_a_quadmask(
    asking: Page, shot: Shot, model: Server
) -> None:
    assert asking.get("/api/asked").json == {"endpoint": f"good at {model.url}"}
    run(asking, "/api/asked/start", form(shot))
    model.requests(0)
    place = urlencode({"folder": shot.folder, "object": "ball"})
    question = asking.get(f"/api/asked?{place}").json
    assert (len(question["pictures"]), question["answer"]) == (4, None)
    assert "Remove the ball." in question["text"]
    assert "You help to remove" in question["text"]
    name = question["pictures"][0]
    first = asking.get(f"/api/asked/picture?{place}&name={name}")
    red = np.asarray(Image.open(io.BytesIO(first.body)).convert("RGB")).astype(int)
    assert ((red[..., 0] - red[..., 2]) > 60).any()

    run(asking, "/api/asked/start", form(shot, shown=question["shown"]))
    [sent] = model.requests(1)
    assert sent["pictures"] == 4
    found = asking.get(f"/api/asked?{place}").json
    assert [thing["name"] for thing in found["objects"]] == ["red-hat-1", "cup-2"]
    assert found["answer"]["confidence"] == 0.8

    layers = [
        {"role": "primary", "matte": str(shot.folder / "ball.%04d.exr")},
        {"role": "affected", "matte": found["affected"]},
    ]
    fields = {"plate": str(shot.plate), "output": str(shot.folder / "out"), "mattes": layers}
    done = run(asking, "/api/masks/combine", fields)
    assert done["files"]["matte"] == str(shot.folder / "out/quadmask.%04d.exr")
    codes = channels_of(shot.folder / "out/quadmask.0002.exr")["Y"].astype(np.float32) * 255
    assert {0, 127} <= set(np.unique(np.rint(codes)).astype(int))


def test_pictures_that_nobody_has_seen_are_not_sent(
    asking: Page, shot: Shot, model: Server
) -> None:
    answer = asking.post("/api/asked/start", form(shot, object="other", shown="f" * 64))
    assert (answer.status, answer.json["code"]) == (400, "request.setting"), answer.body
    run(asking, "/api/asked/start", form(shot, object="changed"))
    place = urlencode({"folder": shot.folder, "object": "changed"})
    question = asking.get(f"/api/asked?{place}").json
    folder = shot.folder / "asked-changed"
    name = question["pictures"][1]
    (folder / name).write_bytes((folder / question["pictures"][0]).read_bytes())
    assert asking.get(f"/api/asked/picture?{place}&name={name}").status == 404
    answer = asking.post("/api/asked/start", form(shot, object="changed", shown=question["shown"]))
    assert (answer.status, "changed since" in answer.json["text"]) == (400, True)
    model.requests(0)


@pytest.mark.parametrize(
    "damage",
    [
        ("request.json", b"{"), ("request.json", b"[]"), ("request.json", b'{"messages": [5]}'),
        ("request.json", b'{"messages": [{"content": [{"picture": {}}]}]}'), ("prompts.json", b"[1]"),
        ("prompts.json", b'{"objects": NaN}'), ("answer.json", b'"\\ud800"'), ("request.json", b"[" * 9999),
    ],
    ids=str,
)  # fmt: skip
def test_damaged_files_of_a_question_are_named(
    page: Any, tmp_path: Path, damage: tuple[str, bytes]
) -> None:
    name, content = damage
    top = Path(page.get("/api/state").json["folders"][0])
    folder = top / tmp_path.name / "asked-ball"
    folder.mkdir(parents=True)
    listed = {name: hashlib.sha256(content).hexdigest(), "\ud800": "", "..": ""}
    (folder / "ask.voidbridge.json").write_text(json.dumps({"files": listed}))
    (folder / name).write_bytes(content)
    place = urlencode({"folder": folder.parent, "object": "ball"})
    answer = page.get(f"/api/asked?{place}")
    assert (answer.status, answer.json["code"]) == (400, "request.setting"), answer.body
    assert "is damaged" in answer.json["text"]
    assert page.get("/api/asked/picture?object=ball").status == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"plate": "/etc/passwd"}, 403), ({"matte": "/etc/passwd"}, 403), ({"output": "/etc"}, 403),
        ({"object": "../x"}, 400), ({"object": "--send"}, 400), ({"plate": "--send"}, 403),
    ],
    ids=str,
)  # fmt: skip
def test_a_question_about_other_files_is_refused(
    asking: Page, shot: Shot, change: dict[str, str], status: int
) -> None:
    assert asking.post("/api/asked/start", form(shot, **change)).status == status
    place = urlencode({"folder": "/etc", "object": "ball"})
    assert asking.get(f"/api/asked?{place}").status == 403


def test_no_picture_but_those_of_the_list_is_given_out(asking: Page, shot: Shot) -> None:
    place = urlencode({"folder": shot.folder, "object": "ball"})
    for name in ("../plate.0001.exr", "request.json", "ask.voidbridge.json", "", "/etc/hostname"):
        query = urlencode({"name": name})
        assert asking.get(f"/api/asked/picture?{place}&{query}").status == 404, name


def test_without_a_language_model_nothing_can_be_sent(page: Any, shot: Shot) -> None:
    folder = page.get("/api/state").json["folders"][0]
    assert page.get("/api/asked").json == {"endpoint": ""}
    fields = form(shot, plate=f"{folder}/p.exr", matte=f"{folder}/m.exr", output=folder)
    answer = page.post("/api/asked/start", {**fields, "shown": "f" * 64})
    assert (answer.status, answer.json["code"]) == (400, "request.no-endpoint"), answer.body


@pytest.mark.parametrize(
    ("mattes", "status"),
    [
        (None, 400), ([], 400), ([5], 400), ([{"role": "primary", "matte": "/etc/passwd"}], 403),
        ([{"role": "--force", "matte": "--force"}], 403),
        ([{"role": "primary=/etc/passwd", "matte": "{}/m.exr"}], 400),
    ],
    ids=str,
)  # fmt: skip
def test_mattes_that_make_no_sense_are_not_combined(page: Any, mattes: Any, status: int) -> None:
    folder = page.get("/api/state").json["folders"][0]
    mattes = json.loads(json.dumps(mattes).replace("{}", folder))
    fields = {"plate": f"{folder}/p.exr", "output": folder, "mattes": mattes}
    assert page.post("/api/masks/combine", fields).status == status
