"""Captions of a dataset's clips by a language model: a real server process, and nothing sent without being told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from voidbridge_language_model import Server, running

from voidbridge_backend.cli.main import main
from voidbridge_backend.engines.void_lora.pairs import read_pair
from voidbridge_backend.tools.ask.endpoint import KEY, MODEL, URL

SHOW = """\
show = "harbour"
rights = "ours"
consent = "no persons"
color_space = "ACEScg"
variations = 1
[[plate]]
clip = "one.####.exr"
[[plate]]
clip = "two.####.exr"
prompt = "a street"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (URL, MODEL, KEY):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def show(tmp_path: Path) -> Path:
    random = np.random.default_rng(2)
    for name in ("one", "two"):
        for frame in range(1001, 1006):
            planes = {c: random.random((60, 96)).astype(np.float16) for c in "RGB"}
            header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
            OpenEXR.File(header, planes).write(str(tmp_path / f"{name}.{frame}.exr"))
    (tmp_path / "show.toml").write_text(SHOW)
    return tmp_path / "show.toml"


def make(show: Path, tiny: Path, *words: object) -> int:
    asked = show.parent / "asked"
    return main(["dataset", *map(str, (show, "--models", tiny, "--captions", asked, *words))])


def at(server: Server, model: str) -> tuple[object, ...]:
    return ("--send", "--endpoint", server.url, "--model", model, "--timeout", 20)


def prompts(show: Path) -> list[str]:
    files = sorted((show.parent / "show.dataset").glob("pair-*.safetensors"))
    return [read_pair(file, 1).record.prompt for file in files]


def test_without_send_the_pictures_are_shown_and_nothing_is_sent_or_made(
    show: Path, tiny: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, server.url)
    monkeypatch.setenv(MODEL, "caption")
    assert make(show, tiny) == 0
    server.requests(0)
    asked = show.parent / "asked"
    pictures = [path.name for path in sorted(asked.glob("*.jpg"))]
    assert pictures == [f"clip.001.{number}.jpg" for number in range(3)]
    [one] = json.loads((asked / "request.json").read_text())
    assert one["clip"] == "one.####.exr"
    parts = one["request"]["messages"][1]["content"][1:]
    assert [part["picture"] for part in parts] == pictures
    assert not (show.parent / "show.dataset").exists()


def test_a_clip_without_prompt_is_captioned_and_keeps_the_word_of_the_show(
    show: Path, tiny: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "secret")
    assert make(show, tiny, *at(server, "caption")) == 0
    [request] = server.requests(1)
    assert (request["pictures"], request["key"]) == (3, "Bearer secret")
    assert prompts(show) == ["harbour, A gray wall. Noon.", "a street"]
    asked = show.parent / "asked"
    assert json.loads((asked / "captions.json").read_text()) == {
        "model": "caption",
        "prompts": {"one.####.exr": "harbour, A gray wall. Noon."},
    }
    assert not any("secret" in path.read_text("latin1") for path in asked.iterdir())


def test_without_captions_the_name_of_the_show_stays_the_prompt(
    show: Path, tiny: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, server.url)
    monkeypatch.setenv(MODEL, "caption")
    assert main(["dataset", str(show), "--models", str(tiny)]) == 0
    server.requests(0)
    assert prompts(show) == ["harbour", "a street"]


def test_an_answer_of_another_form_is_sent_back_once(
    show: Path, tiny: Path, server: Server
) -> None:
    assert make(show, tiny, *at(server, "late-caption")) == 0
    assert [request["messages"] for request in server.requests(2)] == [2, 4]
    assert prompts(show)[0] == "harbour, A wall."


@pytest.mark.parametrize(
    ("model", "count", "words"),
    [
        ("empty-caption", 2, "answered twice in another form about one.####.exr: caption has 0"),
        ("malformed", 2, "not a JSON object with the text caption"),
        ("refusing", 1, "refused: I cannot help."),
        ("failing", 1, "answered 401"),
    ],
)
def test_no_pair_is_made_from_a_bad_answer(
    show: Path,
    tiny: Path,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    model: str,
    count: int,
    words: str,
) -> None:
    assert make(show, tiny, *at(server, model)) != 0
    assert len(server.requests(count)) == count
    assert words in capsys.readouterr().err
    assert not (show.parent / "show.dataset").exists()
    assert not (show.parent / "asked/captions.json").exists()


def test_sending_without_an_endpoint_or_a_folder_is_refused(
    show: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(show, tiny, "--send") == 2
    assert "no address of a language model is named" in capsys.readouterr().err
    assert not (show.parent / "asked").exists()
    assert main(["dataset", str(show), "--models", str(tiny), "--send"]) == 2
    assert "--send without --captions" in capsys.readouterr().err


def test_a_changed_file_in_the_folder_stays(
    show: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(show, tiny) == 0
    assert make(show, tiny) == 0
    notes = show.parent / "asked/request.json"
    notes.write_text("mine")
    assert make(show, tiny) != 0
    assert "request.json" in capsys.readouterr().err
    assert notes.read_text() == "mine"
