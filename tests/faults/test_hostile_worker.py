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
            device = Path(str(arguments[0]).split("/objects/")[0], "work", "cpu")
            attempt = len(list(device.glob("tmp/said-*")))
            (device / "tmp" / f"said-{{attempt}}").touch()
            for folder in [f for f in device.iterdir() if f.is_dir()]:
                for name in ("8.exr", "provenance.json"):
                    (folder / name).write_bytes(b"x")
            os.write(100, WORDS[attempt])
done = []
if "voidbridge_backend.worker.process" in " ".join(sys.orig_argv):
    os.dup2(1, 100)
    sys.addaudithook(hook)
"""
"""The module `sitecustomize` of a worker.

Before it reads a frame, it writes files and says one of WORDS to the daemon, another one at each attempt.
"""
HASH = "0" * 64


def said(*events: object) -> bytes:
    return b"".join(
        event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
        for event in events
    )


FAILED = {"event": "failed", "code": "x", "text": "x", "hint": "x"}
RESULT = {"event": "result", "frame": 1, "sha256": HASH, "size": 6}
WELL_FORMED = {
    "a result that is not there": ({**RESULT, "frame": 1001}, "1001.exr cannot be taken"),
    "a result of a frame that is not the job's": (
        {**RESULT, "frame": 8},
        "it made frame 8 of a job with frames 1001 to 1002",
    ),
    "an end before all results": (
        {"event": "done", "provenance": HASH},
        "it ended a job of 2 frames with 0 results",
    ),
}
"""Events that are wrong for this job alone, and what the log says of them."""
MALFORMED = {
    "a line without end": (b"[" * (3 << 20), "sent no event"),
    "a result out of its folder": ({**RESULT, "frame": "../../../secret"}, "frame of result"),
    "files out of the user's": ({**FAILED, "files": ["../../jobs.db"]}, "files of failed"),
    "progress without steps": ({"event": "progress", "stage": "x"}, "step of progress"),
    "a size beyond the job table": ({**RESULT, "size": 10**30}, "size of result"),
    "a time of 400 digits": (
        {"event": "done", "provenance": HASH, "measured": {"seconds": 10**400}},
        "measured of done",
    ),
    "no event": ([1, 2], "it names no event"),
    "no JSON": (b"no\n", "sent no event"),
}
"""Events that are wrong for every job, and what the log says of them."""
HOSTILE = {**WELL_FORMED, **MALFORMED}
ATTEMPTS = 3
"""Starts of a worker for one job; each says another thing."""
PARTS = [[*HOSTILE][at : at + ATTEMPTS] for at in range(0, len(HOSTILE), ATTEMPTS)]


@pytest.mark.parametrize("part", range(len(PARTS)))
def test_no_event_of_a_worker_harms_more_than_its_own_job(
    tmp_path: Path, part: int, full: bool
) -> None:
    if part and not full:
        pytest.skip("with --full")
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=720)
    site = tmp_path / "site"
    site.mkdir()
    script = site / "sitecustomize.py"
    kinds = [HOSTILE[kind] for kind in PARTS[part]]
    words = [said(kinds[attempt % len(kinds)][0]) for attempt in range(ATTEMPTS)]
    script.write_text(TAKEN_OVER.format(words=words))
    with daemon(extra={"PYTHONPATH": f"{site}:{environment()['PYTHONPATH']}"}) as box:
        box.wait_for_worker()
        job = box.submit(shot)
        failed = box.wait_for_state(job, "failed")
        assert (failed.code, failed.attempt) == ("job.worker-died", ATTEMPTS)
        for _, told in kinds:
            assert told in box.log
        assert "Traceback" not in box.log
        assert (box.spool / "jobs.db").is_file()
        script.unlink()
        assert not list((box.spool / "work" / "cpu").glob(job))


GOOD = {"event": "progress", "stage": "x", "step": 1, "of": 2, "seconds_left": -1.0}


def test_events_of_workers_are_checked() -> None:
    assert events.parsed(json.dumps(GOOD).encode()) == GOOD
    assert events.parsed(json.dumps({**FAILED, "files": [HASH]}).encode())["files"] == [HASH]
    for event, _ in MALFORMED.values():
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
