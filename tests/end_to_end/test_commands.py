"""The contract of the command line: JSON lines, exit codes, jobs that outlive their client, a daemon of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import voidbridge_stage as stage
from voidbridge_machine import in_time
from voidbridge_shots import Shot, channels_of, echoed, make_shot, same_bits
from voidbridge_stage import Daemon, Finished, Going, called, environment, eventually, voidbridge

from voidbridge_protocol.client import Client
from voidbridge_protocol.job_task import Listener

Run = Callable[..., Finished]


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return request.node.name


def ask(daemon: Daemon, *words: object, how: Run = called) -> Finished:
    return how(*words, "--daemon", daemon.address)


def submit(daemon: Daemon, shot: Shot, user: str, *words: object, how: Run = called) -> str:
    done = ask(
        daemon, "submit", shot.plate, shot.matte, "--engine", "echo", "--grow", 0, "--soften", 0,
        "--user", user, *words, how=how,
    )  # fmt: skip
    assert done.code == 0, done.err
    return done.out.strip()


def is_echo(shot: Shot, folder: Path) -> bool:
    """Whether every frame came back as the engine `echo` makes it."""
    for frame in shot.frames:
        hole = channels_of(shot.file("matte", frame))["A"] > 0
        plate = channels_of(shot.file("plate", frame))
        result = channels_of(folder / f"r.{frame:04d}.exr")
        if not all(same_bits(result[name], echoed(plate[name], hole)) for name in plate):
            return False
    return True


# -- JSON, exit codes -------------------------------------------------------------------------------


def test_standard_output_is_one_object_a_line_and_nothing_else(
    daemon: Daemon, tmp_path: Path, user: str
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    words = stage.run_words(shot, tmp_path, daemon.address, "--user", user, "--json")
    done = voidbridge(*words)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[0]["event"] == "request"
    assert events[1]["event"] == "accepted"
    assert events[-1]["event"] == "done"
    assert sorted(e["frame"] for e in events if e["event"] == "frame") == list(shot.frames)
    assert all(Path(e["path"]).is_file() for e in events if e["event"] == "frame")
    assert done.states()[-1] == "done"
    assert set(events[-1]) == {
        "event", "job", "frames", "result", "sidecar", "from_store", "uploaded", "imported", "warnings",
        "seconds", "preview",
    }  # fmt: skip


def test_people_are_told_on_standard_error(daemon: Daemon, tmp_path: Path, user: str) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    done = ask(
        daemon, "run", shot.plate, shot.matte, "-o", tmp_path / "r.%04d.exr", "--engine", "echo",
        "--user", user, how=voidbridge,
    )  # fmt: skip
    assert done.code == 0
    assert done.out == ""
    assert "done in" in done.err
    assert "1001-1002" in done.err


def test_a_result_that_cannot_be_written_is_refused(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    (tmp_path / "file").write_bytes(b"in the way")
    done = run(shot, tmp_path / "file" / "r.%04d.exr")
    assert (done.code, done.event("error")["code"]) == (2, "request.output-unwritable"), done.err


def test_nobody_there_is_said_within_five_seconds(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    address = f"ipc://{tmp_path}/nobody"
    began = time.monotonic()
    done = voidbridge(
        "run", shot.plate, shot.matte, "-o", tmp_path / "r.%04d.exr", "--daemon", address, "--json"
    )
    seconds = time.monotonic() - began
    error = done.event("error")
    assert (done.code, error["code"]) == (3, "daemon.unavailable")
    assert address in error["text"]
    assert "voidbridge serve" in error["hint"]
    assert in_time(seconds, 5 + 2)  # the start of Python included


@pytest.mark.parametrize("words", [["status", "f" * 24], ["cancel", "f" * 24], ["status", "../x"]])
def test_an_unknown_job_is_a_bad_request(daemon: Daemon, words: list[str]) -> None:
    done = ask(daemon, *words, "--json")
    assert (done.code, done.event("error")["code"]) == (2, "request.unknown-job")


def test_the_address_may_come_from_the_environment(daemon: Daemon) -> None:
    env = {**environment(), "VOIDBRIDGE_DAEMON": daemon.address}
    done = subprocess.run(
        [os.sys.executable, "-m", "voidbridge_backend", "status", "--json"],
        env=env, capture_output=True, timeout=stage.SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# -- jobs that outlive their client -----------------------------------------------------------------


def test_a_job_is_submitted_watched_and_fetched_by_different_commands(
    daemon: Daemon, tmp_path: Path, user: str
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    job = submit(daemon, shot, user, how=voidbridge)
    words = ("fetch", job, "-o", tmp_path / "out" / "r.%04d.exr", "--json")
    done = ask(daemon, *words, how=voidbridge)
    assert done.code == 0, done.err
    assert is_echo(shot, tmp_path / "out")
    assert (tmp_path / "out" / "r.1001-1003.voidbridge.json").is_file()

    told = ask(daemon, "status", job, "--json", how=voidbridge).events[0]
    assert (told["state"], told["ready"], told["frames"], told["user"]) == ("done", 3, 3, user)
    table = ask(daemon, "status")
    assert job in table.out
    assert user in table.out


def test_fetching_again_leaves_what_is_there_and_repairs_what_is_not(
    daemon: Daemon, tmp_path: Path, user: str
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    job = submit(daemon, shot, user)
    pattern = tmp_path / "out" / "r.%04d.exr"
    assert ask(daemon, "fetch", job, "-o", pattern).code == 0
    kept, broken = tmp_path / "out" / "r.1001.exr", tmp_path / "out" / "r.1002.exr"
    before = kept.stat().st_mtime_ns
    broken.write_bytes(broken.read_bytes()[:-7])
    refused = ask(daemon, "fetch", job, "-o", pattern)  # it may have been changed on purpose
    assert (refused.code, str(broken) in refused.err) == (2, True)
    assert ask(daemon, "fetch", job, "-o", pattern, "--overwrite").code == 0
    assert kept.stat().st_mtime_ns == before
    assert is_echo(shot, tmp_path / "out")


def test_a_job_of_many_frames_does_not_fit_into_one_file(
    daemon: Daemon, tmp_path: Path, user: str
) -> None:
    job = submit(daemon, make_shot(tmp_path / "in", range(1001, 1003)), user)
    done = ask(daemon, "fetch", job, "-o", tmp_path / "one.exr", "--json")
    assert (done.code, done.event("error")["code"]) == (2, "request.pattern")


def test_a_cancelled_job_can_be_submitted_once_more(
    daemon: Daemon, tmp_path: Path, user: str
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    slow = ["--steps", "25"]
    job = daemon.submit(shot, user, steps=25)
    with Client(
        daemon.address, user=user, software="test"
    ) as client:  # sooner than a command starts
        client.cancel(job)
    daemon.wait_for_state(job, "cancelled")
    done = ask(daemon, "fetch", job, "-o", tmp_path / "r.%04d.exr", "--json")
    assert (done.code, done.event("error")["code"]) == (5, "job.cancelled")
    late = ask(daemon, "cancel", job, "--json", how=voidbridge).events[0]
    assert late["state"] == "cancelled"  # cancelling twice changes nothing

    assert submit(daemon, shot, user, *slow) == job
    assert ask(daemon, "fetch", job, "-o", tmp_path / "out" / "r.%04d.exr").code == 0
    assert is_echo(shot, tmp_path / "out")


def test_the_engine_is_loaded_while_frames_are_on_their_way(tmp_path: Path) -> None:
    def wait(job: str) -> None:
        """Not a frame is sent before."""
        eventually(lambda: "engine echo loaded" in made.log, "the engine to be loaded")
        assert made.status(job).state.value == "receiving"

    shot = make_shot(tmp_path / "in", range(1001, 1003))
    with stage.daemon() as made:
        job = made.submit(shot, listener=Listener(accepted=wait))
        made.wait_for_state(job, "done")


def test_a_late_cancel_leaves_a_done_job_done(daemon: Daemon, tmp_path: Path, user: str) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    job = submit(daemon, shot, user)
    daemon.wait_for_state(job, "done")
    told = ask(daemon, "cancel", job, "--json")
    assert (told.code, told.events[0]["state"]) == (0, "done")


def test_the_same_shot_is_answered_from_the_store(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    first = run(shot, tmp_path / "one" / "r.%04d.exr")
    second = run(shot, tmp_path / "two" / "r.%04d.exr")
    assert (first.event("done")["from_store"], second.event("done")["from_store"]) == (False, True)
    assert second.event("done")["job"] == first.event("done")["job"]
    assert second.event("done")["uploaded"] == 0
    assert second.states() == ["done"]
    assert is_echo(shot, tmp_path / "two")

    again = run(shot, tmp_path / "three" / "r.%04d.exr", "--force")
    assert again.event("done")["from_store"] is False
    assert again.event("done")["uploaded"] == 0
    assert "running" in again.states()
    assert is_echo(shot, tmp_path / "three")


def test_a_changed_frame_is_another_job_and_only_it_travels(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    first = run(shot, tmp_path / "one" / "r.%04d.exr").event("done")
    shot.write("plate", 1002, channels_of(shot.file("plate", 1001)))
    changed = make_shot(tmp_path / "other", range(1002, 1003), seed=9)
    os.replace(changed.file("plate", 1002), shot.file("plate", 1002))
    second = run(shot, tmp_path / "two" / "r.%04d.exr").event("done")
    assert second["job"] != first["job"]
    assert second["uploaded"] == shot.file("plate", 1002).stat().st_size
    assert is_echo(shot, tmp_path / "two")


@pytest.mark.parametrize(
    "other", [("--seed", "7"), ("--prompt", "an empty street"), ("--grow", "3")]
)
def test_another_setting_on_the_same_plate_is_another_job_and_nothing_travels(
    run: Run, tmp_path: Path, other: tuple[str, str]
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    first = run(shot, tmp_path / "one" / "r.%04d.exr").event("done")
    second = run(shot, tmp_path / "two" / "r.%04d.exr", *other).event("done")
    assert second["job"] != first["job"]
    assert (second["from_store"], second["uploaded"]) == (False, 0)


def test_the_same_shot_of_two_users_is_two_jobs_of_one_upload(
    daemon: Daemon, tmp_path: Path, user: str
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    jobs = {submit(daemon, shot, f"{user} {name}") for name in ("ana", "ben")}
    assert len(jobs) == 2


def test_results_that_were_deleted_are_made_again(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    first = run(shot, tmp_path / "one" / "r.%04d.exr").event("done")
    (daemon.spool / "jobs" / first["job"] / "1002.exr").unlink()
    second = run(shot, tmp_path / "two" / "r.%04d.exr").event("done")
    assert second["from_store"] is False
    assert is_echo(shot, tmp_path / "two")


def test_a_job_is_cancelled_while_it_runs_and_its_client_told(
    daemon: Daemon, tmp_path: Path, user: str
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    going = Going(
        "run", shot.plate, shot.matte, "-o", tmp_path / "out" / "r.%04d.exr", "--engine", "echo",
        "--steps", 500, "--daemon", daemon.address, "--user", user,
    )  # fmt: skip
    going.until(lambda event: event.get("stage") == "removing")
    job = going.events[1]["job"]
    assert ask(daemon, "cancel", job).code == 0
    done = going.end()
    assert (done.code, done.event("error")["code"]) == (5, "job.cancelled")


# -- a daemon of one's own --------------------------------------------------------------------------


def test_without_an_address_the_command_has_a_daemon_of_its_own(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    done = voidbridge(
        "run", shot.plate, shot.matte, "-o", tmp_path / "out" / "r.%04d.exr", "--engine", "echo",
        "--grow", 0, "--soften", 0, "--spool", tmp_path / "spool", "--devices", "cpu", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert is_echo(shot, tmp_path / "out")
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["measured.jsonl"]


def test_a_daemon_of_ones_own_that_cannot_start_says_why(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    done = voidbridge(
        "run", shot.plate, shot.matte, "-o", tmp_path / "r.%04d.exr", "--engine", "echo",
        "--spool", tmp_path / "spool", "--window-mb", "many", "--json",
    )  # fmt: skip
    assert (done.code, done.event("error")["code"]) == (2, "request.setting")


def test_the_settings_are_shown_with_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('window_mb = 3\ndevices = ["cpu"]\n')
    shown = voidbridge("config", "--config", file, "--ocio", "studio.ocio", "--json").events[0]
    assert shown["window_mb"] == {"value": 3, "from": "file", "temporary": True}
    assert shown["ocio"] == {"value": "studio.ocio", "from": "command line", "temporary": True}
    assert shown["listen"]["from"] == "default"


@pytest.mark.parametrize("text", ["windowmb = 3", "window_mb = [", 'window_mb = "many"'])
def test_a_bad_file_of_settings_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    done = called("config", "--config", file, "--json")
    assert (done.code, done.event("error")["code"]) == (2, "request.setting")
