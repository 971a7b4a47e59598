"""Jobs from the page are commands like those that are typed: same words, same errors, same records."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voidbridge_page import Page, start_page, stop_page
from voidbridge_shots import channels_of, make_shot
from voidbridge_stage import check_echo, eventually
from voidbridge_stage import daemon as a_daemon

from voidbridge_backend import cli


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("show")


@pytest.fixture(scope="module")
def daemon_and_page(show: Path) -> Iterator[tuple[Any, Page]]:
    with a_daemon() as daemon:
        page = start_page(daemon.address, show)
        try:
            page.enter()
            yield daemon, page
        finally:
            stop_page(page)


def ended(page: Page, number: int) -> Any:
    return eventually(
        lambda: (
            found
            if (found := page.get(f"/api/commands/{number}").json)["state"] != "running"
            else None
        )
    )


def form(shot: Any, output: Path | str, **more: Any) -> dict[str, Any]:
    settings = {"engine": "echo", "grow": 0, "soften": 0}
    files = {"plate": str(shot.plate), "matte": str(shot.matte), "output": str(output)}
    return {"operation": "remove", **files, "settings": settings, **more}


def test_a_job_runs_from_files_to_files_and_is_found_again(
    daemon_and_page: Any, show: Path
) -> None:
    daemon, page = daemon_and_page
    shot, output = make_shot(show / "a", range(1001, 1004)), show / "a-out/r.%04d.exr"
    started = page.post("/api/start", form(shot, output))
    assert started.status == 200, started.body
    done = ended(page, started.json["number"])
    assert done["state"] == "done", done
    check_echo(shot, show / "a-out")
    job = page.get(f"/api/jobs/{done['job']}").json
    assert job["stages"], "they are counted although nobody looks"
    assert job["paths"] == {
        "plate": str(shot.plate), "matte": str(shot.matte), "result": str(output)
    }  # fmt: skip
    other = start_page(daemon.address, show)  # knows nothing of the command, and reads its record
    try:
        other.enter()
        assert other.get(f"/api/jobs/{done['job']}").json["paths"] == job["paths"]
        measured = other.post(f"/api/jobs/{done['job']}/report")
        report = ended(other, measured.json["number"])
        assert [figure["frame"] for figure in report["figures"]] == [1001, 1002, 1003]
        assert report["events"]["quality"]["outside_differing"] == 0
    finally:
        stop_page(other)


def test_the_errors_are_those_of_the_command_line(daemon_and_page: Any, show: Path) -> None:
    _, page = daemon_and_page
    shot = make_shot(show / "b", range(1001, 1004), seed=1)
    shot.remove("matte", [1002])
    started = page.post("/api/start", form(shot, f"{show}/b-out/"))
    failed = ended(page, started.json["number"])
    assert failed["state"] == "failed"
    assert failed["events"]["error"]["code"] == "request.missing-frames"
    assert "1002" in failed["events"]["error"]["text"]


def test_the_shown_command_line_is_the_form(daemon_and_page: Any, show: Path) -> None:
    _, page = daemon_and_page
    shot = make_shot(show / "with space", range(1, 2), seed=2)
    fields = form(shot, show / "c-out", frames="-5-10", force=True)
    fields["settings"] |= {"prompt": "a wall; $(rm -rf /)", "allow_full_matte": True}
    line = page.post("/api/command-line", fields).json["command"]
    name, *words = shlex.split(line)
    parsed = cli.parser().parse_args(words)
    assert (name, parsed.plate, parsed.matte) == ("voidbridge", str(shot.plate), str(shot.matte))
    assert (parsed.engine, parsed.grow, parsed.prompt) == ("echo", 0, "a wall; $(rm -rf /)")
    assert (parsed.frames, parsed.force, parsed.allow_full_matte) == ("-5-10", True, True)


def test_a_cancelled_command_cancels_its_job(daemon_and_page: Any, show: Path) -> None:
    daemon, page = daemon_and_page
    fields = form(make_shot(show / "d", range(1, 3), seed=3), f"{show}/d-out/")
    fields["settings"] |= {"steps": 1000}
    number = page.post("/api/start", fields).json["number"]
    job = eventually(lambda: page.get(f"/api/commands/{number}").json["job"])
    daemon.wait_for_state(job, "running")
    assert page.post(f"/api/commands/{number}/cancel").json == {"is_cancelled": True}
    assert ended(page, number)["state"] == "cancelled"
    daemon.wait_for_state(job, "cancelled")


def test_painted_frames_are_sent_and_come_back_into_the_form(
    daemon_and_page: Any, show: Path
) -> None:
    daemon, page = daemon_and_page
    shot = make_shot(show / "h", range(1, 3), seed=8)
    for frame in shot.frames:  # whole frames, as a clean plate of the set
        shot.write("paint", frame, channels_of(shot.file("plate", frame)))
    painted = [f"{frame}={shot.file('paint', frame)}" for frame in shot.frames]
    fields = form(shot, show / "h-out/r.%04d.exr", clean="\n".join(painted) + "\n")
    fields["settings"]["engine"] = "cleanplate"
    done = ended(page, page.post("/api/start", fields).json["number"])
    assert done["state"] == "done", done
    record = json.loads((show / "h-out/r.1-2.voidbridge.json").read_bytes())
    assert record["clean"]["frames"] == [1, 2]
    other = start_page(daemon.address, show)
    try:
        other.enter()
        assert other.get(f"/api/jobs/{done['job']}").json["paths"]["clean"].split("\n") == painted
    finally:
        stop_page(other)


def test_results_are_fetched_into_a_folder(daemon_and_page: Any, show: Path) -> None:
    daemon, page = daemon_and_page
    job = daemon.submit(make_shot(show / "e", range(7, 9), seed=4), user="ann")
    daemon.wait_for_state(job, "done")
    started = page.post("/api/fetch", {"job": job, "output": str(show / "e-out")})
    assert ended(page, started.json["number"])["state"] == "done"
    assert page.get(f"/api/jobs/{job}").json["paths"] == {
        "result": str(show / "e-out/result.%04d.exr")
    }


@pytest.mark.parametrize(
    "change",
    [
        {"plate": "/etc/passwd"}, {"matte": "/etc/passwd"}, {"affected": "/etc/passwd"},
        {"clean": "/etc/passwd"}, {"clean": "1=/etc/passwd"}, {"clean": "1=patch.exr"},
        {"output": "/tmp/elsewhere/"}, {"output": "relative/"}, {"plate": "--config=/etc/x"},
    ],
    ids=str,
)  # fmt: skip
def test_files_outside_of_the_folders_are_refused(
    daemon_and_page: Any, show: Path, change: dict[str, str]
) -> None:
    _, page = daemon_and_page
    shot = make_shot(show / "f", range(1, 2), seed=5)
    answer = page.post("/api/start", form(shot, f"{show}/f-out/") | change)
    assert (answer.status, answer.json["code"]) == (403, "request.path")


def test_a_form_that_makes_no_sense_is_refused_with_its_field(
    daemon_and_page: Any, show: Path
) -> None:
    _, page = daemon_and_page
    for fields, word in (
        ({"operation": "serve"}, "serve"), ({"plate": 5}, "plate"), ({"force": True}, "plate"),
        ([1], "object"),
    ):  # fmt: skip
        answer = page.post("/api/start", fields)
        assert (answer.status, word in answer.json["text"]) == (400, True), answer.body
    answer = page.post("/api/fetch", {"job": "--daemon=x", "output": str(show)})
    assert answer.status == 400


def test_folders_are_listed_with_their_sequences(daemon_and_page: Any, show: Path) -> None:
    _, page = daemon_and_page
    make_shot(show / "g", range(1001, 1005), seed=6)
    found = page.get(f"/api/folder?path={show}/g").json
    plates = [s for s in found["sequences"] if "plate" in s["pattern"]]
    assert [(plate["frames"], plate["count"]) for plate in plates] == [("1001-1004", 4)]
    assert page.get("/api/folder?path=/etc").status == 403
    assert page.get("/api/folder").json["is_top"]
