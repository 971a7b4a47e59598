"""`voidbridge generate --engine ltx` through a real daemon with a tiny random LTX-2, and its models folder."""

from __future__ import annotations

import hashlib
import io
import json
import wave
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import voidbridge_stage as stage

pytest.importorskip("diffusers")

from voidbridge_backend import cli
from voidbridge_backend.engines.ltx import weights
from voidbridge_backend.engines.ltx.terms import TERMS
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.exr.part import TimeCode
from voidbridge_backend.exr.reader import read
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.errors import TermsNotAccepted

SHOT = DemoShot(height=46, width=81, length=30)
REVISION = "d" * 40
QUICK = ("--engine", "ltx", "--schedule", "full", "--steps", 1, "--prompt", "a red ball")


@pytest.fixture(scope="module")
def ltx_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "models"
    out = io.StringIO()
    with redirect_stdout(out):  # another process would load the engine's packages again
        assert cli.main(["models", "make-tiny", str(folder), "--engine", "ltx"]) == 0
    assert "transformer" in out.getvalue()
    TERMS.accept(folder, date(2026, 11, 29))
    (folder / weights.BASE / weights.REVISION).write_text(f"{REVISION}\n")  # as a fetch leaves it
    return folder


@pytest.fixture(scope="module")
def ltx_daemon(ltx_models: Path) -> Iterator[stage.Daemon]:
    with stage.daemon(extra={"VOIDBRIDGE_MODELS": str(ltx_models)}) as found:
        yield found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 1001-1010 and 1015-1022 of the demo shot."""
    folder = tmp_path_factory.mktemp("clip")
    for frame in (*range(1001, 1011), *range(1015, 1023)):
        plate = SHOT.render(frame).plate.astype(np.float16)
        rate = {"framesPerSecond": Fraction(24)}
        code = TimeCode(10, 0, 0, frame - 1001, False)
        data = new_file({c: plate[..., i] for i, c in enumerate("RGB")}, rate, code)
        (folder / f"a.{frame}.exr").write_bytes(data)
    return folder


def generate(daemon: stage.Daemon, *words: object) -> stage.Done:
    return stage.called(
        "generate", *words, *QUICK, "--daemon", daemon.address, "--user", "ana", "--json"
    )


@pytest.mark.parametrize(
    ("words", "frames", "seen"),
    [
        (("retake", "--frames", "1011-1014"), range(1011, 1015), "1001-1010, 1015-1022"),
        (("text", "--length", 3), range(1023, 1026), ""),
        (("from-frame", "--length", 2), range(1023, 1025), "1022"),
        (("extend", "--before", "--length", 2), range(999, 1001), "1001-1010, 1015-1016"),
        (("hdr", "--frames", "1003-1005"), range(1003, 1006), "1003-1005"),
    ],
)
def test_each_mode_writes_its_frames_and_says_from_which_they_come(
    words: tuple[object, ...],
    frames: range,
    seen: str,
    clip: Path,
    ltx_daemon: stage.Daemon,
    tmp_path: Path,
) -> None:
    before = {path: path.read_bytes() for path in clip.iterdir()}
    mode, *more = words
    done = generate(ltx_daemon, mode, clip / "a.####.exr", *more, "-o", tmp_path / "out/n.%04d.exr")
    assert done.code == 0, done.err
    found = sorted((tmp_path / "out").glob("*.exr"))
    assert [path.name for path in found] == [f"n.{frame:04d}.exr" for frame in frames]
    made = read(found[0])
    assert made.rgb().shape == (46, 81, 3)
    assert np.isfinite(made.rgb()).all()
    (record,) = (tmp_path / "out").glob("*.voidbridge.json")
    told = json.loads(record.read_text())
    assert told["engine"]["network"] == "LTX-2"
    assert told["engine"]["models"]
    assert told["generated"]["from"].replace(",", ", ").replace("  ", " ") == seen
    assert told["settings"]["prompt"] == "a red ball"
    claims = told["credentials"]
    (action,) = claims["assertions"][0]["data"]["actions"]
    model = action["parameters"]["io.voidbridge.model"]
    assert model == {key: told["engine"][key] for key in ("network", "revision", "models")}
    assert model["revision"] == REVISION
    kind = "compositeWithTrainedAlgorithmicMedia" if seen else "trainedAlgorithmicMedia"
    assert action["digitalSourceType"].endswith(f"/{kind}")
    data = {str(frame): path.read_bytes() for frame, path in zip(frames, found, strict=True)}
    hashes = {frame: hashlib.sha256(one).hexdigest() for frame, one in data.items()}
    assert claims["assets"] == hashes
    sources = {hashlib.sha256(data).hexdigest() for data in before.values()}
    assert {one["sha256"] for one in claims["ingredients"]} <= sources
    assert bool(claims["ingredients"]) == bool(seen)
    assert {path: path.read_bytes() for path in clip.iterdir()} == before


def test_sound_is_written_beside_the_frames_and_fetched_again(
    clip: Path, ltx_daemon: stage.Daemon, tmp_path: Path
) -> None:
    words = ("text", clip / "a.####.exr", "--length", 3, "--sound", "-o")
    done = generate(ltx_daemon, *words, tmp_path / "n.%04d.exr")
    assert done.code == 0, done.err
    sound = tmp_path / "n.1023-1025.wav"
    assert [path.name for path in sorted(tmp_path.glob("n.*.exr"))] == [
        f"n.{frame}.exr" for frame in (1023, 1024, 1025)
    ]
    told = json.loads((tmp_path / "n.1023-1025.voidbridge.json").read_text())
    assert told["frames"] == [1023, 1025]
    assert told["sound"]["sha256"] == hashlib.sha256(sound.read_bytes()).hexdigest()
    with wave.open(str(sound)) as found:
        assert found.getframerate() == told["sound"]["rate"]
        assert (
            found.getnframes() == told["sound"]["samples"] == round(3 / 24 * told["sound"]["rate"])
        )
        assert any(found.readframes(found.getnframes()))
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["path"] for event in events if event["event"] == "sound"] == [str(sound)]
    told_frames = {event["frame"] for event in events if event["event"] == "frame"}
    assert told_frames == {1023, 1024, 1025}
    address = ("--daemon", ltx_daemon.address, "--user", "ana")
    again = stage.called("fetch", told["job"], "-o", f"{tmp_path}/again/", *address)
    assert again.code == 0, again.err
    assert (tmp_path / "again/result.1023-1025.wav").read_bytes() == sound.read_bytes()
    sound.write_bytes(b"RIFF and something else")
    refused = generate(ltx_daemon, *words, tmp_path / "n.%04d.exr")
    assert refused.code == 2
    assert "n.1023-1025.wav exists" in refused.err
    assert sound.read_bytes() == b"RIFF and something else"


def test_without_terms_and_without_weights_the_error_is_typed(clip: Path, tmp_path: Path) -> None:
    words = (
        "generate",
        "extend",
        clip / "a.####.exr",
        "--length",
        1,
        "-o",
        tmp_path / "x.####.exr",
    )
    done = stage.called(*words, *QUICK, "--models", tmp_path / "none")
    assert done.code == 4
    assert "job.model-missing" in done.err
    assert "--engine morph" in done.err


def test_morph_refuses_a_mode_that_needs_a_model(clip: Path, tmp_path: Path) -> None:
    words = ("generate", "text", clip / "a.####.exr", "--length", 1, "-o", tmp_path / "x.####.exr")
    done = stage.called(*words, "--prompt", "a red ball")
    assert done.code == 2
    assert "the mode text needs a model" in done.err


def test_accepting_shows_the_terms_and_the_licence_that_came_with_the_weights(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    (models / "LTX-2").mkdir(parents=True)
    (models / "LTX-2/LICENSE").write_text("the whole licence\n")
    with pytest.raises(TermsNotAccepted) as error:
        TERMS.require(models)
    words = error.value.hint.partition("voidbridge ")[2].split()
    done = stage.voidbridge(*words)
    assert done.code == 0, done.err
    assert "US$10,000,000" in done.out
    assert "the whole licence" in done.out
    assert json.loads((models / "LTX-2.terms.json").read_text())["name"] == "LTX-2"
