"""A worker writes in a folder of its device, from which the daemon takes plain files only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from voidbridge_backend.daemon.store.spool import Spool
from voidbridge_backend.daemon.store.work_folders import WorkFolders


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def folders(spool: Spool) -> WorkFolders:
    return WorkFolders(spool)


def test_a_result_is_moved_to_its_job(spool: Spool, folders: WorkFolders) -> None:
    order, folder = folders.begin("cuda:0", "job", b"{}")
    assert order.read_bytes() == b"{}"
    (folder / "1001.exr").write_bytes(b"new")
    spool.job_folder("job")
    spool.result_path("job", 1001).write_bytes(b"of an attempt before")
    folders.publish("cuda:0", "job", "1001.exr")
    assert spool.result_path("job", 1001).read_bytes() == b"new"
    folders.end("cuda:0", "job")
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_nothing_but_a_plain_file_is_taken(
    spool: Spool, folders: WorkFolders, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    _, folder = folders.begin("cpu", "job", b"{}")
    place = folder / "1001.exr"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(secret if kind == "link" else tmp_path / "nothing")
    with pytest.raises((ValueError, OSError)):
        folders.publish("cpu", "job", "1001.exr")
    assert not spool.result_path("job", 1001).is_file()
    assert not spool.result_path("job", 1001).is_symlink()
    assert secret.read_bytes() == b"secret"


def test_a_file_that_is_not_there_is_an_error(folders: WorkFolders) -> None:
    folders.begin("cpu", "job", b"{}")
    with pytest.raises(FileNotFoundError):
        folders.publish("cpu", "job", "1001.exr")


def test_a_new_attempt_has_the_checkpoint_and_nothing_else(
    spool: Spool, folders: WorkFolders
) -> None:
    _, folder = folders.begin("cpu", "job", b"{}")
    for name in ("checkpoint.safetensors", "1001.exr", "task-1"):
        (folder / name).write_bytes(name.encode())
    WorkFolders(spool).recover(["job"])  # as after kill -9
    assert not folder.exists()
    _, again = folders.begin("cpu:1", "job", b"{}")
    assert [path.name for path in again.iterdir()] == ["checkpoint.safetensors"]
    folders.end("cpu:1", "job")
    assert (spool.job_folder("job") / "checkpoint.safetensors").is_file()


def test_what_a_forgotten_job_left_goes(spool: Spool, folders: WorkFolders) -> None:
    _, folder = folders.begin("cpu", "job", b"{}")
    (folder / "checkpoint.safetensors").write_bytes(b"x")
    (folders.of("cpu") / "tmp").mkdir()
    folders.recover([])
    assert [path.name for path in folders.of("cpu").iterdir()] == ["tmp"]
    assert not list(spool.job_folder("job").iterdir())


def test_an_answer_goes_from_the_lent_device_to_the_job(folders: WorkFolders) -> None:
    _, folder = folders.begin("cpu", "job", b"{}")
    folders.of("cpu:1").mkdir()
    (folders.of("cpu:1") / "answer-3").write_bytes(b"answer")
    folders.pass_answer("cpu:1", "cpu", "job", 3)
    assert (folder / "answer-3").read_bytes() == b"answer"
    (folders.of("cpu:1") / "answer-3").write_bytes(b"late")
    folders.drop_answer("cpu:1", 3)
    assert not list(folders.of("cpu:1").iterdir())
