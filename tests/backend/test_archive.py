"""Versions are archived whole: verified before anything is deleted, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from voidbridge_backend import cli
from voidbridge_backend.tools import archive as archiving
from voidbridge_protocol.errors import DiskFull, NotArchived


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "Märkte/voidbridge/3f0a/v001"
    folder.mkdir(parents=True)
    (folder / "version.json").write_text("{}")
    (folder / "result.main.1001.exr").write_bytes(os.urandom(3000))
    (folder / "started").mkdir()
    return folder


def quiet(done: int, total: int) -> None:
    pass


def done(
    folders: list[Path], place: Path, move: bool, on_file: Callable[[int, int], None]
) -> list[archiving.ArchivedVersion]:
    return list(archiving.archive(folders, place, move, on_file))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_version_is_copied_with_a_manifest_and_then_moved(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = (version / "result.main.1001.exr").read_bytes()
    place = tmp_path / "archive"
    assert cli.main(["archive", str(version), "--to", str(place), "--json"]) == 0
    assert version.is_dir()
    assert cli.main(["archive", str(version), "--to", str(place), "--json", "--move"]) == 0
    copied, moved = map(json.loads, capsys.readouterr().out.splitlines())
    assert (copied["deleted"], moved["deleted"], moved["files"]) == (False, True, 2)
    assert not version.exists()
    kept = place / "3f0a/v001"
    assert names(kept) == ["manifest.json", "result.main.1001.exr", "version.json"]
    assert (kept / "result.main.1001.exr").read_bytes() == frame
    listed = json.loads((kept / "manifest.json").read_text())
    assert listed["files"]["result.main.1001.exr"]["size"] == 3000
    assert listed["from"] == str(version)


def test_a_copy_that_differs_deletes_nothing(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses a bit: the copy is changed before it is read again."""
    whole = archiving._verify

    def verify(place: Path, read: dict[str, archiving.ArchivedFile]) -> None:
        (place / "result.main.1001.exr").write_bytes(b"bad")
        whole(place, read)

    monkeypatch.setattr(archiving, "_verify", verify)
    with pytest.raises(NotArchived, match=r"the copy of result\.main\.1001\.exr differs"):
        done([version], tmp_path / "a", True, quiet)
    assert (version / "result.main.1001.exr").stat().st_size == 3000
    assert list((tmp_path / "a/3f0a").iterdir()) == []


def test_a_file_that_changes_meanwhile_is_not_deleted(version: Path, tmp_path: Path) -> None:
    def change(done: int, total: int) -> None:
        if done == 1:  # the first file is copied
            (version / "result.main.1001.exr").write_bytes(b"newer")

    with pytest.raises(NotArchived, match="changed while it was archived"):
        list(archiving.archive([version], tmp_path / "a", True, change))
    assert (version / "result.main.1001.exr").read_bytes() == b"newer"


def bound(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda v: (v / "version.json").unlink(), "is not a version"),
        (lambda v: (v / "job.json").write_text("[]"), "still at work"),
        (lambda v: (v / "started.txt").write_text(""), "still at work"),
        (lambda v: (v / "submitted.txt").write_text(""), "still at work"),
        (lambda v: (v / "plate.exr").symlink_to("/etc/hostname"), "is a link"),
        (lambda v: (v / "manifest.json").write_text("mine"), "the archive's own list"),
        (lambda v: (v / "Manifest.JSON").write_text("mine"), "the archive's own list"),
        (lambda v: (v / "manifest.json.tmp").write_text("mine"), "the archive's own list"),
        (lambda v: (v / "Version.json").write_text("mine"), "in case only"),
        (lambda v: (v / "started/deeper").mkdir(), "is a folder with files"),
        (lambda v: os.mkfifo(v / "pipe"), "is not a plain file"),
        (lambda v: bound(v / "socket"), "is not a plain file"),
    ],
)
def test_what_is_no_finished_version_is_refused(
    version: Path, tmp_path: Path, spoil: object, said: str
) -> None:
    spoil(version)  # type: ignore[operator]
    before = names(version)
    other = version.with_name("v000")
    other.mkdir()
    (other / "version.json").write_text("{}")
    with pytest.raises(NotArchived, match=said):
        done([other, version], tmp_path / "a", True, quiet)
    assert names(version) == before
    assert not (tmp_path / "a").exists(), "nothing is copied, not even the one before"


def test_an_archive_with_other_files_is_not_replaced(version: Path, tmp_path: Path) -> None:
    done([version], tmp_path / "a", False, quiet)
    (version / "result.main.1001.exr").write_bytes(b"another take")
    with pytest.raises(NotArchived, match="holds other files"):
        done([version], tmp_path / "a", True, quiet)
    for inside in (version / "deeper", version.parents[1]):
        with pytest.raises(NotArchived, match="lies in"):
            done([version], inside, True, quiet)
    assert (version / "result.main.1001.exr").read_bytes() == b"another take"


def test_a_full_disk_is_said_and_leaves_no_half_version(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> archiving.ArchivedFile:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(archiving, "_copy", full)
    with pytest.raises(DiskFull, match="MB are free") as refused:
        done([version], tmp_path / "a", True, quiet)
    assert list((tmp_path / "a/3f0a").iterdir()) == []
    assert version.is_dir()
    assert "repeat the command" in refused.value.hint
    assert "job" not in refused.value.hint


def three(version: Path) -> list[Path]:
    for name in ("v002", "v003"):
        shutil.copytree(version, version.with_name(name))
    return [version.with_name(name) for name in ("v001", "v002", "v003")]


def test_each_version_is_told_as_it_is_done_and_the_same_words_go_on(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = three(version)
    place = tmp_path / "archive"
    (place / "3f0a/v002").mkdir(parents=True)
    (place / "3f0a/v002/manifest.json").write_text('{"files": {}}')
    words = ["archive", *map(str, folders), f"{version}/../v001", "--to", str(place)]
    assert cli.main([*words, "--move", "--json"]) == 2
    archived, error = map(json.loads, capsys.readouterr().out.splitlines())
    assert (archived["source"], archived["deleted"]) == (str(folders[0]), True)
    assert "1 of 3 versions are in the archive, 1 of them moved: v001" in error["text"]
    assert [folder.exists() for folder in folders] == [False, True, True]
    shutil.rmtree(place / "3f0a/v002")
    assert cli.main([*words, "--move", "--json"]) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["deleted"], one["files"]) for one in again] == [(True, 2)] * 3
    (place / "3f0a/v001/result.main.1001.exr").write_bytes(b"rotten")
    with pytest.raises(NotArchived, match="differs"):
        done(folders[:1], place, True, quiet)
    with pytest.raises(NotArchived, match="is not a version"):
        done([version.with_name("v009")], place, True, quiet)


def test_two_versions_never_get_one_place(version: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/3f0a/v001"
    shutil.copytree(version, other)
    with pytest.raises(NotArchived, match="would both be"):
        done([version, other], tmp_path / "a", True, quiet)
    link = tmp_path / "3f0a/v002"
    link.parent.mkdir()
    link.symlink_to(version)
    with pytest.raises(NotArchived, match="is a link"):
        done([link], tmp_path / "a", True, quiet)
    assert not (tmp_path / "a").exists()


def stop_before(patch: pytest.MonkeyPatch, folder: Path, count: int) -> None:
    """Ends the process before the deletion with this number in a folder."""
    seen = []

    def counted(call: Callable[[Path], None]) -> Callable[[Path], None]:
        def counting(path: Path) -> None:
            if folder in (Path(path), Path(path).parent):
                if len(seen) == count:
                    raise SystemExit(137)
                seen.append(path)
            call(path)

        return counting

    patch.setattr(os, "unlink", counted(os.unlink))
    patch.setattr(os, "rmdir", counted(os.rmdir))


def test_a_move_that_was_killed_at_any_moment_is_finished(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed before each of its deletions in turn."""
    for name, text in (("started.txt", ""), ("ended.txt", "0"), ("status.json", "{}")):
        (version / name).write_text(text)
    whole = names(version)
    for moment in range(len(whole) + 1):
        place = tmp_path / f"archive{moment}"
        folder = tmp_path / f"{moment}/3f0a/v001"
        shutil.copytree(version, folder)
        with monkeypatch.context() as killed:
            stop_before(killed, folder, moment)
            with pytest.raises(SystemExit):
                done([folder], place, True, quiet)
        assert moment > 4 or (folder / "version.json").exists(), "it goes last"
        (one,) = done([folder], place, True, quiet)
        assert one.deleted
        assert one.files == len(whole) - 1, "without the empty folder"
        assert not folder.exists()
        assert names(place / "3f0a/v001") == sorted({*whole, "manifest.json"} - {"started"})


def test_what_a_killed_copy_left_is_removed_and_a_running_one_is_left_alone(
    version: Path, tmp_path: Path
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from voidbridge_backend.tools import archive as a\n"
        "def kill(done, total):\n    done and os.kill(os.getpid(), 9)\n"
        "list(a.archive([Path(sys.argv[1])], Path(sys.argv[2]), True, kill))"
    )
    place = tmp_path / "a"
    words = [sys.executable, "-c", code, str(version), str(place)]
    assert subprocess.run(words, timeout=60, check=False).returncode == -9
    (stale,) = (place / "3f0a").iterdir()
    assert names(stale) == ["result.main.1001.exr"]
    *begin, process, end = stale.name.split(".")
    token = process.partition("-")[2]
    running = stale.with_name(".".join([*begin, f"{os.getppid()}-{token}", end]))
    elsewhere = stale.with_name(f".v001.another-machine.{process}.part")
    for folder in (running, elsewhere):
        shutil.copytree(stale, folder)
    done([version], place, True, quiet)
    assert names(place / "3f0a") == sorted([running.name, elsewhere.name, "v001"])
    assert not version.exists()


def test_the_archive_is_on_the_disk_before_anything_is_deleted(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    fsync, unlink = os.fsync, os.unlink

    def synced(file: int) -> None:
        fsync(file)
        told.append(os.fstat(file).st_ino)

    def unlinked(path: Path) -> None:
        if Path(path).parent == version:
            told.append(0)
        unlink(path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "unlink", unlinked)
    place = tmp_path / "deep/archive"
    done([version], place, True, quiet)
    monkeypatch.undo()
    before = told[: told.index(0)]
    kept = place / "3f0a/v001"
    wanted = [*kept.iterdir(), kept, kept.parent, place, place.parent, tmp_path]
    assert {path.stat().st_ino for path in wanted} <= set(before)


@pytest.mark.parametrize("linked", [os.symlink, os.link])
def test_an_archive_that_leads_back_to_the_version_is_refused(
    version: Path, tmp_path: Path, linked: Callable[[Path, Path], None]
) -> None:
    done([version], tmp_path / "a", False, quiet)
    copy, frame = tmp_path / "a/3f0a/v001/result.main.1001.exr", version / "result.main.1001.exr"
    copy.unlink()
    linked(frame, copy)
    before = frame.read_bytes()
    with pytest.raises(NotArchived, match="is not a copy"):
        done([version], tmp_path / "a", True, quiet)
    copy.unlink()
    elsewhere = tmp_path / "elsewhere.exr"
    elsewhere.write_bytes(before)
    copy.symlink_to(elsewhere)
    with pytest.raises(NotArchived, match="is a link"):
        done([version], tmp_path / "a", True, quiet)
    assert frame.read_bytes() == before


@pytest.mark.parametrize("same_inode", [True, False])
def test_a_change_that_keeps_size_and_time_is_seen(
    version: Path, tmp_path: Path, same_inode: bool
) -> None:
    frame = version / "result.main.1001.exr"

    def change(done: int, total: int) -> None:
        if done == 1:  # this file is copied, for it goes first
            state = frame.stat()
            if not same_inode:
                (version.parent / "newer").write_bytes(b"y" * 3000)
                os.replace(version.parent / "newer", frame)
            frame.write_bytes(b"x" * 3000)
            os.utime(frame, ns=(state.st_atime_ns, state.st_mtime_ns))

    with pytest.raises(NotArchived, match="changed while it was archived"):
        done([version], tmp_path / "a", True, change)
    assert frame.read_bytes() == b"x" * 3000


def test_a_file_that_came_meanwhile_stays_with_its_version(version: Path, tmp_path: Path) -> None:
    def add(done: int, total: int) -> None:
        (version / "notes.txt").write_text("new")

    with pytest.raises(NotArchived, match="came while it was archived"):
        done([version], tmp_path / "a", True, add)
    assert names(version) == ["notes.txt", "result.main.1001.exr", "started", "version.json"]


def test_what_the_system_refuses_is_told_as_such(version: Path, tmp_path: Path) -> None:
    long = "x" * 300
    for folder, place in ((tmp_path / long / "v001", tmp_path), (version, tmp_path / long)):
        with pytest.raises(NotArchived, match="File name too long"):
            done([folder], place, True, quiet)
    assert len(names(version)) == 3
