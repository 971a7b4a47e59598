"""A worker that a hostile file has taken over: it can end its own job, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import daemon, environment

from voidbridge_backend.daemon.workers import events

TAKEN_OVER = """
import os, sys
from pathlib import Path
WORDS = {words!r}
def hook(event, arguments):
    if event == "open" and "/objects/" in str(arguments[0]) and "worker.process" in " ".join(sys.orig_argv):
        if not done:
            done.append(True)
            os.write(100, WORDS)
done = []
if "voidbridge_backend.worker.process" in " ".join(sys.orig_argv):
    os.dup2(1, 100)
    sys.addaudithook(hook)
"""
"""The module `sitecustomize` of a worker: before it reads a frame, it says WORDS to the daemon."""
HASH = "0" * 64


def said(*events: object) -> bytes:
    return b"".join(
        event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
        for event in events
    )


FAILED = {"event": "failed", "code": "x", "text": "x", "hint": "x"}
HOSTILE = {
    "a result out of its folder": {
        "event": "result",
        "frame": "../../../secret",
        "sha256": HASH,
        "size": 6,
    },
    "files out of the user's": {**FAILED, "files": ["../../jobs.db"]},
    "a result that is not there": {"event": "result", "frame": 7, "sha256": HASH, "size": 6},
    "a record that is not there": {"event": "done", "provenance": HASH},
    "progress without steps": {"event": "progress", "stage": "x"},
    "a size beyond the job table": {"event": "result", "frame": 1, "sha256": HASH, "size": 10**30},
    "a time of 400 digits": {"event": "done", "provenance": HASH, "measured": {"seconds": 10**400}},
    "no event": [1, 2],
    "no JSON": b"no\n",
    "a line without end": b"[" * (3 << 20),
}


OFTEN = ("a result out of its folder", "a line without end")
"""Run without `--full` too; each takes three starts of a worker."""


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_event_of_a_worker_harms_more_than_its_own_job(
    tmp_path: Path, kind: str, full: bool
) -> None:
    if not (full or kind in OFTEN):
        pytest.skip("with --full")
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=720)
    site = tmp_path / "site"
    site.mkdir()
    script = site / "sitecustomize.py"
    script.write_text(TAKEN_OVER.format(words=said(HOSTILE[kind])))
    with daemon(extra={"PYTHONPATH": f"{site}:{environment()['PYTHONPATH']}"}) as box:
        box.wait_for_worker()
        job = box.submit(shot)
        failed = box.wait_for_state(job, "failed")
        assert (failed.code, failed.attempt) == ("job.worker-died", 3)
        assert "Traceback" not in box.log
        assert (box.spool / "jobs.db").is_file()
        script.unlink()
        assert not list((box.spool / "work" / "cpu").glob(job))


GOOD = {"event": "progress", "stage": "x", "step": 1, "of": 2, "seconds_left": -1.0}


def test_events_of_workers_are_checked() -> None:
    assert events.parsed(json.dumps(GOOD).encode()) == GOOD
    assert events.parsed(json.dumps({**FAILED, "files": [HASH]}).encode())["files"] == [HASH]
    for kind, event in HOSTILE.items():
        if not kind.endswith("is not there"):  # of which only the disk tells
            with pytest.raises(ValueError, match=r"."):
                events.parsed(said(event)[: events.MOST_LINE])
    for wrong in (
        {**GOOD, "step": "1"},
        {**GOOD, "step": True},
        {**GOOD, "stage": None},
        {**FAILED, "files": [HASH + "\n"]},
        {**FAILED, "files": HASH},
        {**GOOD, "of": 10**30},
        {**GOOD, "seconds_left": float("nan")},
        {**GOOD, "seconds_left": 10**400},
        {"event": "result", "frame": 10**30, "sha256": HASH, "size": 6},
        {"event": "result", "frame": 1, "sha256": HASH, "size": 0},
        {"event": "more devices", "count": -1},
        {"event": "done", "provenance": HASH, "measured": {}},
        {"event": ["ready"]},
        {"event": "quit"},
    ):
        with pytest.raises(ValueError, match=r"wrong|names no event"):
            events.parsed(json.dumps(wrong).encode())


def test_a_text_of_a_worker_can_always_be_stored() -> None:
    told = events.parsed(json.dumps({**FAILED, "text": "a\ud800b", "files": []}).encode())
    assert told["text"] == r"a\ud800b"
