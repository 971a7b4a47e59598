"""Smaller troubles: a disk that refuses, a small window, a command that is killed with the daemon it had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import OpenEXR
import pytest
from voidbridge_machine import in_time
from voidbridge_shots import make_shot
from voidbridge_stage import (
    SECONDS,
    Daemon,
    Going,
    called,
    check_echo,
    daemon,
    eventually,
    run_words,
)

from voidbridge_protocol.conformance import conformance


@pytest.fixture(scope="module")
def narrow() -> Iterator[Daemon]:
    """A daemon with the smallest window there is."""
    with daemon("--window-mb", 1) as made:
        made.wait_for_worker()
        yield made


def test_files_larger_than_the_window_pass_through_it(narrow: Daemon, tmp_path: Path) -> None:
    raw = {"compression": OpenEXR.NO_COMPRESSION}
    shot = make_shot(tmp_path / "in", range(1001, 1004), 540, 960, seed=300, **raw)
    assert shot.file("plate", 1001).stat().st_size > 3e6
    done = called(*run_words(shot, tmp_path / "out", narrow.address, "--json"))
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")


def test_a_job_whose_folder_cannot_be_written_fails_alone(narrow: Daemon, tmp_path: Path) -> None:
    busy = narrow.submit(make_shot(tmp_path / "a", range(1001, 1003), seed=301), steps=1000)
    job = narrow.submit(make_shot(tmp_path / "b", range(1001, 1003), seed=302))
    (narrow.spool / "jobs" / job).write_bytes(b"a file where the job's folder should be")
    narrow.wait_for_state(busy, "running")
    called("cancel", busy, "--daemon", narrow.address)
    failed = narrow.wait_for_state(job, "failed")
    assert failed.code == "job.disk-full"
    shot = make_shot(tmp_path / "c", range(1001, 1003), seed=303)
    narrow.fetch(narrow.submit(shot), tmp_path / "out")
    check_echo(shot, tmp_path / "out")


def test_the_daemon_keeps_to_the_protocol(narrow: Daemon) -> None:
    assert conformance(narrow.address, SECONDS) == []


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes with a word, or a setting of the daemon, that names something in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            environ = path.with_name("environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        settings = [pair for pair in environ if pair.startswith(b"VOIDBRIDGE_")]
        if any(str(folder).encode() in word for word in [*words, *settings]):
            found.append(b" ".join(words).decode())
    return found


def test_a_killed_command_takes_its_own_daemon_along(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004), seed=304)
    own = ("--spool", tmp_path / "spool", "--devices", "cpu")
    words = [word for word in run_words(shot, tmp_path / "out", "") if word not in ("--daemon", "")]
    going = Going(*words, *own, "--steps", 500)
    going.until(lambda event: event.get("stage") == "removing")
    assert any("serve" in process for process in processes_of(tmp_path))
    going.kill()
    eventually(lambda: processes_of(tmp_path) == [], "the end of the daemon")
    # Its spool is cleared away by the next command.
    assert called(*words, *own).code == 0
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["measured.jsonl"]
    check_echo(shot, tmp_path / "out")


def test_ctrl_c_ends_a_command_with_a_daemon_of_its_own(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004), seed=305)
    words = [word for word in run_words(shot, tmp_path / "out", "") if word not in ("--daemon", "")]
    going = Going(*words, "--spool", tmp_path / "spool", "--devices", "cpu", "--steps", 500)
    going.until(lambda event: event.get("stage") == "removing")
    done, seconds = going.interrupt()
    assert done.code == 5, done.err
    assert in_time(seconds, 5)
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "spool").iterdir()) == []
