"""Faults in the middle of a job of `cleanplate`, which takes a frame's background from other frames of the shot.

The result has the same bytes as that of an undisturbed job. With --full there are 20 moments each.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Daemon, Going, called, daemon, leftovers

FRAMES = range(1001, 1009)
HEIGHT, WIDTH, PAN = 180, 320, 4
Results = dict[str, bytes]


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    """A camera that pans over a texture, and something that goes before it."""
    made = make_shot(tmp_path_factory.mktemp("in"), FRAMES, HEIGHT, WIDTH)
    noise = np.random.default_rng(7).random((HEIGHT // 6, WIDTH // 6 + 16, 3), np.float32)
    wide = cv2.resize(noise, (noise.shape[1] * 6, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0)
    for number, frame in enumerate(FRAMES):
        seen = wide[:, PAN * number :][:, :WIDTH].astype(np.float16)
        matte = np.zeros((HEIGHT, WIDTH), np.float16)
        matte[66:114, 100 + 8 * number : 140 + 8 * number] = 1
        made.write("plate", frame, {name: seen[..., i].copy() for i, name in enumerate("RGB")})
        made.write("matte", frame, {"A": matte})
    return made


def words(shot: Shot, out: Path, address: str, user: str) -> tuple[object, ...]:
    return (
        "run", shot.plate, shot.matte, "-o", out / "r.%04d.exr", "--engine", "cleanplate",
        "--daemon", address, "--user", user,
    )  # fmt: skip


def results(out: Path, job: str) -> Results:
    """Each file carries the name of its job, which is another for each user."""
    return {path.name: path.read_bytes().replace(job.encode(), b"") for path in out.glob("*.exr")}


@pytest.fixture(scope="module")
def made() -> Iterator[Daemon]:
    with daemon() as running:
        running.wait_for_worker()
        yield running


@pytest.fixture(scope="module")
def undisturbed(made: Daemon, shot: Shot, tmp_path_factory: pytest.TempPathFactory) -> Results:
    out = tmp_path_factory.mktemp("undisturbed")
    done = called(*words(shot, out, made.address, "nobody"), "--json")
    assert done.code == 0, done.err
    found = results(out, done.event("done")["job"])
    assert len(found) == len(FRAMES)
    return found


def kill_the_worker(made: Daemon, going: Going) -> None:
    with suppress(
        ProcessLookupError
    ):  # the job may have ended a moment ago, and the worker with it
        os.kill(made.worker_pids()[-1], signal.SIGKILL)


def kill_the_daemon(made: Daemon, going: Going) -> None:
    made.kill()
    made.start()


def stop_the_daemon(made: Daemon, going: Going) -> None:
    code, _ = made.terminate()
    assert code == 0, made.log
    made.start()


def kill_the_client(made: Daemon, going: Going) -> None:
    going.kill()


def cancel(made: Daemon, going: Going) -> None:
    going.interrupt()


FAULTS = [kill_the_worker, kill_the_daemon, stop_the_daemon, kill_the_client, cancel]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_result_is_that_of_a_job_that_nothing_happens_to(
    fault: Callable[[Daemon, Going], None],
    made: Daemon,
    shot: Shot,
    undisturbed: Results,
    tmp_path: Path,
    full: bool,
) -> None:
    chance = random.Random(fault.__name__)
    for turn in range(20 if full else 1):
        assert made.process
        made.process.send_signal(signal.SIGHUP)  # no device is given up for all that dies here
        out, user = tmp_path / f"{turn}", f"{fault.__name__} {turn}"
        going = Going(*words(shot, out, made.address, user))
        wanted = chance.choice(["camera", "removing"]) if full else "removing"
        going.until(lambda event, wanted=wanted: event.get("stage") == wanted)
        if full:
            time.sleep(chance.random())
        fault(made, going)
        if fault in (kill_the_client, cancel):
            job = next(event["job"] for event in going.events if "job" in event)
            assert results(out, job).items() <= undisturbed.items()  # each whole, or not there
            going = Going(*words(shot, out, made.address, user))
        done = going.end()
        assert done.code == 0, done.err
        assert results(out, done.event("done")["job"]) == undisturbed
        assert leftovers(out) == []
        jobs = [job for job in made.jobs() if job.user == user]
        assert [job.state.value for job in jobs] == ["done"]
        assert jobs[0].attempt <= 2
