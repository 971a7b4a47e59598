"""The queue as the page tells it, with a real daemon."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voidbridge_page import start_page, stop_page
from voidbridge_shots import make_shot
from voidbridge_stage import daemon as a_daemon
from voidbridge_stage import eventually


@pytest.fixture(scope="module")
def stage_of_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """A daemon, and a page of the user ann that a browser has entered."""
    folder = tmp_path_factory.mktemp("show")
    with a_daemon() as daemon:
        page = start_page(daemon.address, folder)
        try:
            page.enter()
            yield daemon, page
        finally:
            stop_page(page)


def events_of(page: Any) -> Iterator[Any]:
    """The changes of the queue as they come."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=120)
    connection.request("GET", "/api/events", headers={"Cookie": page.cookie})
    answer = connection.getresponse()
    try:
        while line := answer.readline():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
    finally:
        answer.close()
        connection.close()


def test_the_queue_follows_jobs_to_their_end(stage_of_two: Any, tmp_path: Path) -> None:
    daemon, page = stage_of_two
    changes = events_of(page)
    first = next(changes)
    assert first["daemon"]["is_there"]
    assert first["daemon"]["health"]["devices"][0]["name"] == "cpu"
    job = daemon.submit(make_shot(tmp_path, range(1001, 1004)), user="ann")
    states = []
    for change in changes:
        states += [found["state"] for found in change["jobs"] if found["job"] == job]
        if "done" in states:
            break
    changes.close()
    found = page.get(f"/api/jobs/{job}").json
    assert found["status"]["ready"] == 3
    assert found["provenance"]["job"] == job
    assert found["settings"]["engine"] == "echo"
    assert found["files"] == {"matte": 3, "plate": 3}


def test_a_job_is_cancelled_and_run_again(stage_of_two: Any, tmp_path: Path) -> None:
    daemon, page = stage_of_two
    job = daemon.submit(make_shot(tmp_path, range(1, 3), seed=1), user="ann", steps=1000)
    daemon.wait_for_state(job, "running")
    assert page.post(f"/api/jobs/{job}/cancel").status == 200
    daemon.wait_for_state(job, "cancelled")
    assert page.post(f"/api/jobs/{job}/again").json == {"job": job}
    eventually(lambda: daemon.status(job).state.value in ("running", "queued"))
    page.post(f"/api/jobs/{job}/cancel")
    daemon.wait_for_state(job, "cancelled")


def test_a_waiting_job_is_moved_before_another(stage_of_two: Any, tmp_path: Path) -> None:
    daemon, page = stage_of_two
    shots = [make_shot(tmp_path / str(n), range(1, 3), seed=10 + n) for n in range(3)]
    running, early, late = (daemon.submit(shot, user="ann", steps=1000) for shot in shots)
    daemon.wait_for_state(running, "running")
    assert [daemon.status(job).ahead for job in (early, late)] == [1, 2]
    refused = page.post(f"/api/jobs/{running}/priority", {"priority": -1})
    assert (refused.status, "only a waiting job" in refused.json["text"]) == (400, True)
    assert page.post(f"/api/jobs/{early}/priority", {"priority": -1}).json == {"job": early}
    assert [daemon.status(job).ahead for job in (early, late)] == [2, 1]
    for job in (early, late, running):
        page.post(f"/api/jobs/{job}/cancel")


def test_another_users_job_is_not_taken_over(stage_of_two: Any, tmp_path: Path) -> None:
    daemon, page = stage_of_two
    job = daemon.submit(make_shot(tmp_path, range(1, 2), seed=20), user="ben")
    daemon.wait_for_state(job, "done")
    refused = page.post(f"/api/jobs/{job}/again")
    assert (refused.status, refused.json["code"]) == (400, "request.setting")
    assert "belongs to ben" in refused.json["text"]


def test_an_unknown_job_is_not_found(stage_of_two: Any) -> None:
    _, page = stage_of_two
    answer = page.get("/api/jobs/none")
    assert (answer.status, answer.json["code"]) == (404, "request.unknown-job")
    browser = page.get("/no/<b>", Accept="text/html,*/*")
    assert (browser.status, browser.headers["content-type"][:9]) == (404, "text/html")
    assert b"There is no such page" in browser.body
    assert b"<b>" not in browser.body
    assert page.get("/no").json["code"] == "web"
