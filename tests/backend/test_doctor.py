"""The doctor says what is the matter, and the shot that it sends notices a single wrong bit."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from voidbridge_backend import cli
from voidbridge_backend.client import local_daemon
from voidbridge_backend.config import Config
from voidbridge_backend.exr.header import parse_header
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_backend.tools.doctor import doctor, probe_shot
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import (
    DaemonUnavailable,
    EngineFailed,
    NoDevice,
    SpoolFull,
    UnreadableFrame,
)
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.testing.fake_daemon import Script, fake_daemon
from voidbridge_protocol.wire.messages import Device, Health

ROOT = Path(__file__).resolve().parents[2]
Connect = Callable[[], AbstractContextManager[Client]]


@pytest.fixture(scope="module")
def connect() -> Iterator[Connect]:
    """A way to a daemon with one worker."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(spool=Path(folder), devices=("cpu",), models=Path(folder) / "none")
        with local_daemon.daemon(config) as address:
            yield lambda: Client(address, user="doctor", software="test", patience=120)


def verdicts(checks: Iterator[doctor.Check]) -> dict[str, str]:
    return {check.name: check.verdict for check in checks}


def test_a_daemon_that_works_is_found_well(connect: Connect) -> None:
    daemon, health, trip = doctor.daemon(connect)
    assert (daemon.verdict, health.verdict, trip.verdict) == ("ok", "ok", "ok")
    assert re.fullmatch(r"cpu \w+; 0 waiting; [\d.]+ GB free", health.text)
    assert "cleanplate (remove)" in daemon.text
    assert "1001-1003" in trip.text


def test_a_device_in_quarantine_is_named_and_all_of_them_are_the_end_of_it() -> None:
    gone = Device("cuda:1", "quarantined", why="a bus error")
    check = doctor.condition(Health(True, (Device("cuda:0", "ready"), gone)))
    assert (check.verdict, check.advice) == ("missing", "In quarantine: cuda:1: a bus error")
    with pytest.raises(NoDevice, match="fire"):
        doctor.condition(Health(False, (gone,), code="daemon.no-device", text="fire"))
    with pytest.raises(SpoolFull):
        doctor.condition(Health(False, (), code="daemon.spool-full", text="no room"))
    starting = Health(False, (Device("cpu", "starting"),), code="daemon.no-device", text="soon")
    assert doctor.condition(starting).verdict == "ok"  # the round trip waits for it


def test_every_look_runs_the_shot_anew(connect: Connect) -> None:
    for _ in range(2):
        *_, trip = doctor.daemon(connect)
        assert trip.verdict == "ok"
    with connect() as client:
        assert len(client.jobs()) == 1


def test_a_busy_daemon_is_not_waited_for(connect: Connect, tmp_path: Path) -> None:
    assignment = probe_shot.write(tmp_path)
    slow = replace(assignment, settings=RemoveSettings(engine="echo", steps=1000), priority=9)
    task = slow.task(lambda frame: tmp_path / f"{frame}", lambda done, of: None, lambda: False)
    with connect() as client:
        job = client.run(task, wait=False).job
        check = doctor.round_trip(client, patience=1.0)
        client.cancel(job)
    assert check.verdict == "missing"
    assert check.text.startswith("not tried: 1 jobs are ahead")


def test_a_result_that_does_not_come_is_a_failure() -> None:
    with fake_daemon(Script(holds=True)) as never:
        with Client(never.address, user="doctor", software="test", patience=120) as client:
            with pytest.raises(EngineFailed, match="no result within 0 s"):
                doctor.round_trip(client, patience=0.0)


def test_nobody_there_is_the_last_line_and_what_is_raised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(spool=tmp_path, devices=("cpu",), models=tmp_path / "none")
    nobody = Client(f"ipc://{tmp_path}/nobody", user="doctor", software="test", patience=0.1)
    error = doctor.examine(config, lambda: nobody, as_json=True)
    checks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {check["event"] for check in checks} == {"check"}
    assert (checks[-1]["check"], checks[-1]["verdict"]) == ("daemon", "failed")
    assert isinstance(error, DaemonUnavailable)
    assert checks[-1]["advice"] == error.hint


def test_people_are_told_once_what_stands_in_the_way(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    taken = tmp_path / "file"
    taken.write_bytes(b"")
    assert cli.main(["doctor", "--devices", "cpu", "--daemon", f"ipc://{taken}/ctl"]) == 3
    said = capfd.readouterr()
    assert (said.out + said.err).count("failed   daemon") == 1
    assert (said.out + said.err).count("[daemon.unavailable]") == 1
    assert said.err == ""


def test_the_command_starts_a_daemon_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VOIDBRIDGE_DAEMON", raising=False)
    assert cli.main(["doctor", "--devices", "cpu", "--json"]) == 0
    *_, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (last["check"], last["verdict"]) == ("round trip", "ok")


def test_people_get_a_line_for_each_thing_and_below_it_what_to_do(
    connect: Connect, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(spool=tmp_path, devices=("cpu",), models=tmp_path / "none")
    assert doctor.examine(config, connect, as_json=False) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["ok", "python", sys.version.split()[0]]
    assert lines[-1].split()[:3] == ["ok", "round", "trip"]
    models = next(i for i, line in enumerate(lines) if line.startswith("missing  models"))
    assert lines[models + 1].startswith(" " * doctor.INDENT + "Give the folder")


def test_the_packages_looked_for_are_those_that_are_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    wanted = {"": re.search(r"^dependencies = (\[.*?\])", text, re.M)}
    for extra in ("backend", "void"):
        wanted[extra] = re.search(rf"^{extra} = (\[.*?\n\])", text, re.M | re.S)
    for extra, match in wanted.items():
        assert match
        names = set(re.findall(r'"([\w-]+)', match[1])) - {"tomli"}
        assert set(doctor.PACKAGES[extra]) == names


def test_what_is_not_installed_is_named_in_one_line_with_its_purpose() -> None:
    found, missing = doctor.packages("void", ["rich", "no-such-package", "nor-this"])
    assert (found.name, found.verdict) == ("rich", "ok")
    assert missing.verdict == "missing"
    assert missing.text == "no-such-package, nor-this; for the engine void"
    assert missing.advice == "pip install 'voidbridge[void]'"


def test_a_spool_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert doctor.spool(tmp_path / "spool", 1).verdict == "ok"
    check = doctor.spool(tmp_path / "file" / "spool", 1)
    assert check.verdict == "failed"
    assert "--spool" in check.advice


def test_a_disk_that_is_nearly_full_is_a_failure(tmp_path: Path) -> None:
    check = doctor.spool(tmp_path, 1 << 62)
    assert check.verdict == "failed"
    assert "must be free" in check.advice


def test_the_weights_that_lack_are_named(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from voidbridge_backend.engines.void import tiny

    assert doctor.models(tmp_path / "nowhere").verdict == "missing"
    tiny.make_tiny(tmp_path)
    assert doctor.models(tmp_path).verdict == "ok"
    (tmp_path / "void_pass2.safetensors").unlink()
    check = doctor.models(tmp_path)
    assert check.verdict == "missing"
    assert "void_pass2.safetensors" in check.text


def test_a_color_config_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    assert doctor.color("").verdict == "ok"
    (tmp_path / "config.ocio").write_text("no config")
    assert doctor.color(str(tmp_path / "config.ocio")).verdict == "failed"
    assert doctor.color(str(tmp_path / "nowhere.ocio")).verdict == "failed"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("cpu", "ok"), ("cuda:99", "failed"), ("tpu", "failed"), ("cuda:x", "failed")],
)
def test_a_device_is_there_or_it_is_not(name: str, verdict: str) -> None:
    if name == "cuda:99":
        pytest.importorskip("torch")
    assert doctor.device(name).verdict == verdict


# -- the shot -------------------------------------------------------------------------------------


@pytest.fixture
def result(tmp_path: Path) -> Sequence:
    """Returns the results of a daemon without faults."""
    frames = Sequence.parse(tmp_path / "result.%04d.exr")
    for frame in probe_shot.FRAMES:
        data = probe_shot.file_of_rows(probe_shot.RGB, probe_shot.expected(frame))
        frames.path(frame).write_bytes(data)
    return frames


def test_the_right_result_passes(result: Sequence) -> None:
    probe_shot.check(result)


def test_the_plate_itself_is_no_result(tmp_path: Path) -> None:
    plate = probe_shot.write(tmp_path).files["plate"]
    with pytest.raises(EngineFailed, match="frame 1001: 24 values inside the matte"):
        probe_shot.check(plate)


@pytest.mark.parametrize("place", range(0, 8 * 4 * 3, 5))
def test_a_single_wrong_bit_is_noticed(place: int, result: Sequence) -> None:
    path = result.path(1002)
    data = bytearray(path.read_bytes())
    first = parse_header(bytes(data), path.name).parts[0].offsets[0]
    line, within = divmod(place, 8 * 3)
    data[first + line * (8 + 8 * 3 * 2) + 8 + within * 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(EngineFailed, match="frame 1002: 1 values"):
        probe_shot.check(result)


def test_a_frame_too_few_or_of_another_kind_is_noticed(result: Sequence) -> None:
    matte = probe_shot.file_of_rows("A", [[0] * probe_shot.WIDTH] * probe_shot.HEIGHT)
    result.path(1001).write_bytes(matte)
    with pytest.raises(UnreadableFrame, match="came back as"):
        probe_shot.check(result)
    result.path(1003).unlink()
    with pytest.raises(EngineFailed, match="1001-1003 were sent"):
        probe_shot.check(result)


def test_other_libraries_read_the_shot(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    plate = probe_shot.write(tmp_path).files["plate"]
    with exr.File(str(plate.path(1001)), separate_channels=True) as file:
        pixels = file.channels()["G"].pixels
    assert pixels.shape == (4, 8)
    assert pixels[1, 3] == 16
    assert pixels[0, 1] == float("-inf")


def test_a_python_that_is_too_old_for_a_part_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.OLDEST_PYTHON, "backend", (3, 99))
    (missing,) = doctor.packages("backend", ["no-such-package"])
    assert missing.advice.startswith("This needs Python 3.99 or later; then pip install")
