"""A folder of somebody else that is named as the spool loses nothing, whatever the names in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import Going, voidbridge

from voidbridge_backend.config import SPOOL_MARK


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def a_table(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE jobs (id TEXT)")
    database.commit()
    database.close()


@pytest.fixture(params=["text", "empty", "table"])
def studio(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the names of a spool, and a `jobs.db` of another program."""
    folder = tmp_path / "studio"
    for name in ("jobs/010", "objects/chair", "parts", "trash"):
        (folder / name).mkdir(parents=True)
        (folder / name / "plate.1001.exr").write_bytes(b"of the artist")
    if request.param == "table":
        a_table(folder / "jobs.db")
    else:
        (folder / "jobs.db").write_bytes(b"" if request.param == "empty" else b"of the artist")
    return folder


@pytest.mark.parametrize("words", [("scrub",), ("scrub", "--dry-run"), ("serve",)], ids=" ".join)
def test_a_folder_without_the_mark_is_refused(studio: Path, words: tuple[str, ...]) -> None:
    before = contents(studio)
    done = voidbridge(*words, "--spool", studio)
    assert done.code == 2, done.out
    assert SPOOL_MARK in done.err
    assert contents(studio) == before


def test_a_temporary_daemon_deletes_no_folder_of_another_tool(tmp_path: Path) -> None:
    """999999 is no process: a folder that a killed command left has such a name."""
    ours, render = tmp_path / "spool/run-999999-old", tmp_path / "spool/run-999999-v002"
    for folder in (ours, render):
        folder.mkdir(parents=True)
        (folder / "beauty.1001.exr").write_bytes(b"of the artist")
    (ours / SPOOL_MARK).touch()
    (tmp_path / "spool/measured.jsonl").write_bytes(b"of the artist")
    shot = make_shot(tmp_path / "in", range(1, 2))
    words = ("run", shot.plate, shot.matte, "-o", tmp_path / "out/r.%04d.exr", "--engine", "echo")
    done = Going(*words, extra={"VOIDBRIDGE_SPOOL": str(tmp_path / "spool")}).end()
    assert done.code == 0, done.err
    assert contents(tmp_path / "spool") == {
        name: b"of the artist" for name in ("measured.jsonl", "run-999999-v002/beauty.1001.exr")
    }


def test_a_dry_run_leaves_a_damaged_table_and_what_it_does_not_know(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    (spool / "jobs/0123").mkdir(parents=True)
    for name in (SPOOL_MARK, "jobs/0123/1001.exr"):
        (spool / name).write_bytes(b"a result")
    (spool / "jobs.db").touch()
    assert voidbridge("scrub", "--spool", spool, "--dry-run").code == 0
    assert (spool / "jobs/0123/1001.exr").exists()
    (spool / "jobs.db").write_bytes(damaged := b"no table " * 1000)
    done = voidbridge("scrub", "--spool", spool, "--dry-run")
    assert (done.code, "is damaged" in done.err) == (4, True), done.err
    assert (spool / "jobs.db").read_bytes() == damaged
    assert voidbridge("scrub", "--spool", spool).code == 0
    assert (spool / "jobs.db.damaged-1").read_bytes() == damaged
