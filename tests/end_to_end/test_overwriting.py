"""No command writes over a source of its job, nor over a file that is no result, under whatever name it hides."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import OpenEXR
import pytest
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Finished, called, leftovers, voidbridge

Run = Callable[..., Finished]
Fetch = Callable[..., Finished]

SOURCE, EXISTS = "request.overwrites-source", "request.output-exists"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(done: Finished, code: str, *words: object) -> None:
    """Before anything was sent or written."""
    error = done.event("error")
    assert (done.code, error["code"], error["exit"]) == (2, code, 2), (error, done.err)
    for word in words:
        assert str(word) in error["text"]
    assert "-o" in error["hint"]
    assert not {event["event"] for event in done.events} & {"accepted", "uploading", "frame"}


@pytest.fixture
def fetch(daemon: Any, request: pytest.FixtureRequest) -> Fetch:
    def go(job: str, result: object, *words: object) -> Finished:
        return called(
            "fetch", job, "-o", result, "--daemon", daemon.address,
            "--user", request.node.name, "--json", *words,
        )  # fmt: skip

    return go


@pytest.fixture
def submit(daemon: Any, request: pytest.FixtureRequest) -> Callable[[Shot], str]:
    def go(shot: Shot) -> str:
        return str(daemon.submit(shot, user=request.node.name))

    return go


@pytest.fixture
def shot(tmp_path: Path, request: pytest.FixtureRequest) -> Shot:
    return make_shot(tmp_path / "in", range(1001, 1004), seed=len(request.node.name))


# -- run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["plate", "matte"])
@pytest.mark.parametrize("words", [[], ["--overwrite"]], ids=["plain", "overwrite"])
def test_run_never_replaces_its_own_sources(
    run: Run, shot: Shot, role: str, words: list[str]
) -> None:
    before = contents(shot.folder)
    refused(run(shot, shot.folder / f"{role}.####.exr", *words), SOURCE)
    assert contents(shot.folder) == before


@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard", "symbolic"])
@pytest.mark.parametrize("name", ["r", "PLATE"])
def test_run_sees_a_source_through_a_link(
    run: Run, shot: Shot, tmp_path: Path, link: Callable[..., None], name: str
) -> None:
    """A hard link with another case is how a file system that ignores case shows the plate."""
    (tmp_path / "out").mkdir()
    for frame in (1002, 1003):
        link(shot.file("plate", frame), tmp_path / f"out/{name}.{frame}.exr")
    before = contents(tmp_path)
    done = run(shot, tmp_path / f"out/{name}.%04d.exr", "--overwrite")
    refused(done, SOURCE, tmp_path / f"out/{name}.1002.exr", "2 of 4")
    assert contents(tmp_path) == before


def test_run_sees_a_copy_of_a_source(run: Run, shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    shutil.copy(shot.file("matte", 1003), tmp_path / "out/r.1003.exr")
    done = run(shot, tmp_path / "out/r.%04d.exr", "--overwrite")
    refused(done, SOURCE, tmp_path / "out/r.1003.exr")


def test_run_keeps_a_source_that_has_the_name_of_a_temporary_file(
    run: Run, shot: Shot, tmp_path: Path
) -> None:
    for role in ("plate", "matte"):
        for frame in shot.frames:
            shot.file(role, frame).rename(shot.folder / f"{role}.{frame}.exr.tmp")
    before = contents(tmp_path)
    done = run(
        shot, shot.folder / "plate.%04d.exr",
        plate=shot.folder / "plate.%04d.exr.tmp", matte=shot.folder / "matte.%04d.exr.tmp",
    )  # fmt: skip
    refused(done, SOURCE)
    assert contents(tmp_path) == before


def test_run_replaces_a_foreign_file_only_with_overwrite(
    run: Run, shot: Shot, tmp_path: Path
) -> None:
    other = make_shot(tmp_path / "out", range(1002, 1004), seed=77)
    before = contents(other.folder)
    done = run(shot, other.plate)
    refused(done, EXISTS, other.file("plate", 1002), "2 of 4")
    assert "--overwrite" in done.event("error")["hint"]
    assert contents(other.folder) == before
    done = run(shot, other.plate, "--overwrite")
    assert done.code == 0, done.err
    assert contents(other.folder)["matte.1002.exr"] == before["matte.1002.exr"]
    assert contents(other.folder)["plate.1002.exr"] != before["plate.1002.exr"]


def test_run_keeps_a_comp_that_carries_the_metadata_of_a_result(
    run: Run, shot: Shot, tmp_path: Path
) -> None:
    """As Nuke writes it with all metadata, and as a paint program does."""
    result = tmp_path / "out/r.%04d.exr"
    assert run(shot, result).code == 0
    path = tmp_path / "out/r.1002.exr"
    with OpenEXR.File(str(path), separate_channels=True) as file:
        header, channels = dict(file.header()), file.channels()
        channels["R"].pixels[0, 0] += 1
        OpenEXR.File(header, channels).write(str(path))
    assert "voidbridge/version" in header
    before = contents(path.parent)
    refused(run(shot, result, "--seed", 3), EXISTS, path)
    assert contents(path.parent) == before
    assert run(shot, result, "--overwrite").code == 0
    assert run(shot, result, "--seed", 3).code == 0


@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard", "symbolic"])
def test_a_link_with_the_name_of_a_temporary_file_is_not_written_through(
    run: Run, shot: Shot, tmp_path: Path, link: Callable[..., None]
) -> None:
    other = make_shot(tmp_path / "other", range(1001, 1002), seed=5).file("plate", 1001)
    before = other.read_bytes()
    (tmp_path / "out").mkdir()
    link(other, tmp_path / "out/r.1001.exr.tmp")
    refused(run(shot, tmp_path / "out/r.%04d.exr"), EXISTS, "r.1001.exr.tmp")
    assert run(shot, tmp_path / "out/r.%04d.exr", "--overwrite").code == 0
    assert other.read_bytes() == before


def test_run_keeps_a_record_that_is_not_its_own(run: Run, shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    record = tmp_path / "out/r.1001-1003.voidbridge.json"
    record.write_text('{"notes": "of the artist"}')
    refused(run(shot, tmp_path / "out/r.%04d.exr"), EXISTS, record)
    unfinished = record.rename(record.with_name(record.name + ".tmp"))
    refused(run(shot, tmp_path / "out/r.%04d.exr"), EXISTS, unfinished)
    assert unfinished.read_text() == '{"notes": "of the artist"}'
    assert run(shot, tmp_path / "out/r.%04d.exr", "--overwrite").code == 0


def test_run_may_be_repeated_and_a_range_of_it_too(run: Run, shot: Shot, tmp_path: Path) -> None:
    for words in ([], ["--seed", 3], ["--frames", "1002-1003", "--seed", 4]):
        done = run(shot, tmp_path / "out/r.%04d.exr", *words)
        assert done.code == 0, done.err


def test_what_a_killed_command_left_is_replaced(run: Run, shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/r.1002.exr.tmp").write_bytes(b"v/1\x01half")
    assert run(shot, tmp_path / "out/r.%04d.exr").code == 0
    assert leftovers(tmp_path) == []


def test_a_result_that_is_the_next_plate_is_a_source(run: Run, shot: Shot, tmp_path: Path) -> None:
    assert run(shot, tmp_path / "first/r.%04d.exr").code == 0
    first = tmp_path / "first/r.%04d.exr"
    before = contents(tmp_path / "first")
    refused(run(shot, tmp_path / "first/r.%d.exr", "--overwrite", plate=first), SOURCE)
    shutil.copytree(tmp_path / "first", tmp_path / "copies")
    refused(run(shot, tmp_path / "copies/r.%04d.exr", plate=first), SOURCE, "3 of 4")
    assert contents(tmp_path / "first") == before
    assert run(shot, tmp_path / "second/r.%04d.exr", plate=first).code == 0


def test_a_status_file_replaces_only_a_status_file(run: Run, shot: Shot, tmp_path: Path) -> None:
    plate = shot.file("plate", 1001)
    before = plate.read_bytes()
    done = run(shot, tmp_path / "out/r.%04d.exr", "--status-file", plate, "--overwrite")
    error = done.event("error")
    assert (done.code, error["code"]) == (2, EXISTS)
    assert plate.read_bytes() == before
    for _ in range(2):
        done = run(shot, tmp_path / "out/r.%04d.exr", "--status-file", tmp_path / "status.json")
        assert done.code == 0, done.err
    assert json.loads((tmp_path / "status.json").read_text())["phase"] == "done"


# -- submit and fetch -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["plate", "matte"])
@pytest.mark.parametrize("words", [[], ["--overwrite"]], ids=["plain", "overwrite"])
def test_fetch_never_replaces_a_source_of_the_job(
    submit: Callable[[Shot], str], fetch: Fetch, shot: Shot, role: str, words: list[str]
) -> None:
    before = contents(shot.folder)
    done = fetch(submit(shot), shot.folder / f"{role}.####.exr", *words)
    refused(done, SOURCE, shot.file(role, 1001), "3 of 4")
    assert contents(shot.folder) == before


def test_fetch_keeps_the_plate_when_only_one_frame_of_it_is_in_the_way(
    submit: Callable[[Shot], str], fetch: Fetch, shot: Shot, tmp_path: Path
) -> None:
    """Nothing is written before all names are known to be free."""
    job = submit(shot)
    (tmp_path / "out").mkdir()
    os.link(shot.file("plate", 1003), tmp_path / "out/r.1003.exr")
    before = contents(tmp_path)
    refused(fetch(job, tmp_path / "out/r.%04d.exr"), SOURCE, tmp_path / "out/r.1003.exr")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("how", ["symbolic", "hard", "folder", "case"])
def test_fetch_sees_a_source_under_every_name(
    submit: Callable[[Shot], str], fetch: Fetch, shot: Shot, tmp_path: Path, how: str
) -> None:
    name = "PLATE" if how == "case" else "plate"
    if how == "folder":
        (tmp_path / "out").symlink_to(shot.folder)
    else:
        (tmp_path / "out").mkdir()
        link = os.symlink if how == "symbolic" else os.link
        for frame in shot.frames:
            link(shot.file("plate", frame), tmp_path / f"out/{name}.{frame}.exr")
    before = contents(tmp_path)
    refused(fetch(submit(shot), tmp_path / f"out/{name}.%04d.exr", "--overwrite"), SOURCE, "3 of 4")
    assert contents(tmp_path) == before


def test_fetch_into_one_file_keeps_the_plate(
    submit: Callable[[Shot], str], fetch: Fetch, tmp_path: Path
) -> None:
    shot = make_shot(tmp_path / "in", range(1017, 1018), seed=9)
    job, plate = submit(shot), shot.file("plate", 1017)
    before = contents(tmp_path)
    refused(fetch(job, plate, "--overwrite"), SOURCE, plate)
    assert contents(tmp_path) == before
    assert fetch(job, tmp_path / "clean.exr").code == 0
    assert fetch(job, tmp_path / "clean.exr").code == 0


def test_fetch_replaces_a_foreign_file_only_with_overwrite(
    submit: Callable[[Shot], str], fetch: Fetch, shot: Shot, tmp_path: Path
) -> None:
    job, comp = submit(shot), tmp_path / "out/comp.1002.exr"
    comp.parent.mkdir()
    comp.write_bytes(b"the work of a week")
    refused(fetch(job, tmp_path / "out/comp.%04d.exr"), EXISTS, comp)
    assert contents(comp.parent) == {"comp.1002.exr": b"the work of a week"}
    assert fetch(job, tmp_path / "out/comp.%04d.exr", "--overwrite").code == 0
    assert fetch(job, tmp_path / "out/comp.%04d.exr").code == 0


# -- report and demo --------------------------------------------------------------------------------


def test_report_draws_over_no_file_but_its_own(run: Run, shot: Shot, tmp_path: Path) -> None:
    result = tmp_path / "out/r.%04d.exr"
    assert run(shot, result).code == 0
    before = contents(tmp_path)

    def report(picture: Path, *words: str) -> Finished:
        return called("report", result, shot.plate, shot.matte, "-o", picture, "--json", *words)

    refused(report(shot.file("plate", 1002), "--overwrite"), SOURCE, shot.file("plate", 1002))
    refused(report(tmp_path / "out/r.1001.exr", "--overwrite"), SOURCE)
    (tmp_path / "link.png").symlink_to(shot.file("matte", 1001))
    refused(report(tmp_path / "link.png", "--overwrite"), SOURCE)
    (tmp_path / "link.png").unlink()
    assert contents(tmp_path) == before
    notes = tmp_path / "notes.png"
    notes.write_bytes(b"of the artist")
    refused(report(notes), EXISTS, notes)
    assert notes.read_bytes() == b"of the artist"
    for words in (["--overwrite"], []):
        assert report(notes, *words).code == 0


@pytest.mark.parametrize("name", ["plate/plate.1001.exr", "contact_sheet.png", "report.json"])
def test_the_demo_draws_over_no_file_but_its_own(tmp_path: Path, name: str) -> None:
    foreign = tmp_path / "shot" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"{}")
    done = voidbridge("demo", tmp_path / "shot", "--json")
    error = done.event("error")
    assert (done.code, error["code"]) == (2, EXISTS), done.err
    assert str(foreign) in error["text"]
    assert contents(tmp_path / "shot") == {name: b"{}"}
