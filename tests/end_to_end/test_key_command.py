"""`voidbridge key` through a real daemon: layers, report, cancel, a killed worker, bad hints, terms."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage
from voidbridge_machine import in_time
from voidbridge_screen_scene import ScreenScene

from voidbridge_backend.engines.corridorkey.terms import TERMS as terms
from voidbridge_backend.exr.new.file import new_file

SPACE = ("--color-space", "Linear Rec.709 (sRGB)")
LONG = range(1001, 1061)


@dataclass(frozen=True)
class Shot:
    folder: Path
    frames: range

    @property
    def plate(self) -> str:
        return str(self.folder / "plate.%04d.exr")

    @property
    def hint(self) -> str:
        return str(self.folder / "hint.%04d.exr")

    @property
    def truth(self) -> str:
        return str(self.folder / "truth.%04d.exr")


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[bytes]]:
    """Two frames, as files."""
    scene = ScreenScene(height=60, width=100)
    frames = [scene.frame(number) for number in range(2)]
    planes = [{c: f.plate[..., i].astype(np.float16) for i, c in enumerate("RGB")} for f in frames]
    return {
        "plate": [new_file(channels, {"artist": "nobody"}) for channels in planes],
        "hint": [new_file({"A": frame.hint.astype(np.float16)}) for frame in frames],
        "truth": [new_file({"A": frame.alpha}) for frame in frames],
    }


def shot_in(folder: Path, drawn: dict[str, list[bytes]], frames: range) -> Shot:
    folder.mkdir(parents=True, exist_ok=True)
    for role, files in drawn.items():
        for frame in frames:
            data = files[frame % len(files)]
            (folder / f"{role}.{frame}.exr").write_bytes(data)
    return Shot(folder, frames)


@pytest.fixture
def shot(tmp_path: Path, drawn: dict[str, list[bytes]]) -> Shot:
    return shot_in(tmp_path / "in", drawn, range(1001, 1003))


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def test_a_key_comes_back_with_its_layers_and_its_record(
    shot: Shot, daemon: stage.Daemon, user: str, tmp_path: Path
) -> None:
    words = ("key", shot.plate, shot.hint, "-o", tmp_path / "out/key.%04d.exr", *SPACE)
    to = ("--daemon", daemon.address, "--user", user, "--json")
    done = stage.called(*words, *to)
    assert done.code == 0, done.err
    for frame in shot.frames:
        result = shots.channels_of(tmp_path / f"out/key.{frame}.exr")
        layers = {f"{name}.{c}" for name in ("fg", "screen") for c in "RGB"}
        assert set(result) == {"R", "G", "B", "A", "alpha.A"} | layers
        header = shots.header_of(tmp_path / f"out/key.{frame}.exr")
        assert header["artist"] == "nobody"
        assert json.loads(header["voidbridge/provenance"])["engine"]["name"] == "chroma"
    record = json.loads((tmp_path / "out/key.1001-1002.voidbridge.json").read_text())
    assert record["operation"] == "key"
    assert set(record["quality"]) == {"spill_left", "solid", "soft", "flicker"}
    assert any("the screen is green" in note for note in record["notes"])
    assert stage.called(*words, *to).event("done")["from_store"]


def test_frames_of_a_key_travel_while_a_host_renders_the_others(
    shot: Shot, daemon: stage.Daemon, user: str, tmp_path: Path
) -> None:
    late = {role: shot.folder / f"{role}.1002.exr" for role in ("plate", "hint")}
    for role, path in late.items():
        path.rename(tmp_path / role)
    screen = tmp_path / "screen.1001.exr"
    scene = ScreenScene(height=60, width=100).frame(0)
    screen.write_bytes(new_file({c: scene.screen[..., i] for i, c in enumerate("RGB")}))
    words = ("key", shot.plate, shot.hint, "-o", tmp_path / "out/key.%04d.exr", *SPACE)
    more = ("--clean-screen", screen, "--frames", "1001-1002", "--frames-from-stdin", "--json")
    to = ("--daemon", daemon.address, "--user", user)
    child = subprocess.Popen(
        stage.command(*words, *more, *to),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=stage.environment(),
    )
    assert child.stdin
    child.stdin.write(b"1001\n")
    child.stdin.flush()
    for role, path in late.items():
        (tmp_path / role).rename(path)
    out, _ = child.communicate(b"1002\nend\n", timeout=stage.SECONDS)
    assert child.returncode == 0, out
    assert b'"event": "rendered"' in out
    assert len(list((tmp_path / "out").glob("key.*.exr"))) == 2


def test_a_report_measures_a_key_and_draws_it(shot: Shot, tmp_path: Path) -> None:
    result, picture = tmp_path / "out/key.%04d.exr", tmp_path / "sheet.png"
    words = ("key", shot.plate, shot.hint, "-o", result, *SPACE, "--despill", 0)
    assert stage.called(*words).code == 0
    report = ("key-report", result, shot.plate, "--truth", shot.truth, "-o", picture)
    done = stage.called(*report, "--json")
    assert done.code == 0, done.err
    found = done.event("key-quality")
    assert found["frames"] == 2
    assert 0.2 < found["clear"] < 0.9
    assert found["sad"] < 0.05 * 60 * 100
    # The files are half: the largest value has an error of two thousandths.
    assert found["recomposite_error"] <= 0.01
    assert found["flicker"] <= 1.5 * found["truth_flicker"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "alpha against truth" in stage.voidbridge(*report).out


def test_a_cancelled_key_ends_at_once(
    drawn: dict[str, list[bytes]], daemon: stage.Daemon, user: str, tmp_path: Path
) -> None:
    shot = shot_in(tmp_path / "in", drawn, LONG)
    to = ("--daemon", daemon.address, "--user", user)
    going = stage.Going("key", shot.plate, "-o", tmp_path / "out/key.%04d.exr", *SPACE, *to)
    going.until(lambda event: event.get("stage") == "keying")
    done, seconds = going.interrupt()
    assert done.code == 5
    assert in_time(seconds, 10)
    assert not stage.leftovers(tmp_path / "out")


def test_a_key_survives_its_worker(drawn: dict[str, list[bytes]], tmp_path: Path) -> None:
    shot = shot_in(tmp_path / "in", drawn, LONG)
    with stage.daemon() as daemon:
        daemon.wait_for_worker()
        to = ("--daemon", daemon.address)
        going = stage.Going("key", shot.plate, "-o", tmp_path / "out/key.%04d.exr", *SPACE, *to)
        going.until(lambda event: event.get("stage") == "keying" and event["step"] > 8)
        os.kill(daemon.worker_pids()[0], signal.SIGKILL)
        done = going.end()
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").glob("key.*.exr"))) == len(LONG)


def test_a_missing_hint_is_refused_before_anything_is_sent(shot: Shot, tmp_path: Path) -> None:
    (shot.folder / "hint.1002.exr").unlink()
    done = stage.called("key", shot.plate, shot.hint, "-o", f"{tmp_path}/out/")
    assert done.code == 2
    assert "the hint" in done.err
    assert "1002" in done.err


def test_a_damaged_hint_is_named_by_its_frame(
    shot: Shot, daemon: stage.Daemon, user: str, tmp_path: Path
) -> None:
    path = shot.folder / "hint.1002.exr"
    path.write_bytes(path.read_bytes()[:-200])
    to = ("--daemon", daemon.address, "--user", user)
    done = stage.called("key", shot.plate, shot.hint, "-o", tmp_path / "out/k.%04d.exr", *to)
    assert done.code in (2, 4)
    assert "hint frame 1002" in done.err


def test_corridorkey_asks_for_consent_once(shot: Shot, tmp_path: Path) -> None:
    models = tmp_path / "models"
    words = ("key", shot.plate, "-o", tmp_path / "out/k.%04d.exr", "--engine", "corridorkey")
    words = (*words, "--models", models)
    done = stage.called(*words)
    assert done.code == 4
    assert "job.terms-not-accepted" in done.err
    config = tmp_path / "config.toml"
    config.write_text(f'models = "{models}"\n')
    accepted = stage.called("models", "accept", "corridorkey", "--config", config)
    assert accepted.code == 0, accepted.err
    assert "Nobody may be charged" in accepted.out
    assert json.loads((models / "CorridorKey.terms.json").read_text())["name"] == "CorridorKey"
    assert "job.model-missing" in stage.called(*words).err


def test_a_daemon_that_bills_refuses_corridorkey(shot: Shot, tmp_path: Path) -> None:
    terms.accept(tmp_path / "models", date(2026, 1, 2))
    words = ("key", shot.plate, "-o", tmp_path / "out/k.%04d.exr", "--engine", "corridorkey")
    bills = {"VOIDBRIDGE_BILLS": "true", "VOIDBRIDGE_MODELS": str(tmp_path / "models")}
    with stage.daemon(extra=bills) as daemon:
        done = stage.called(*words, "--daemon", daemon.address)
    assert done.code == 4
    assert "job.paid-use" in done.err
