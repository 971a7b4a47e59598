"""Versions are archived whole: verified before anything is deleted, and nothing else is touched."""

from __future__ import annotations

import json
import os
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
        archiving.archive([version], tmp_path / "a", True, quiet)
    assert (version / "result.main.1001.exr").stat().st_size == 3000
    assert list((tmp_path / "a/3f0a").iterdir()) == []


def test_a_file_that_changes_meanwhile_is_not_deleted(version: Path, tmp_path: Path) -> None:
    def change(done: int, total: int) -> None:
        if done == 1:  # the first file is copied
            (version / "result.main.1001.exr").write_bytes(b"newer")

    with pytest.raises(NotArchived, match="changed while it was archived"):
        archiving.archive([version], tmp_path / "a", True, change)
    assert (version / "result.main.1001.exr").read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda v: (v / "version.json").unlink(), "is no version"),
        (lambda v: (v / "job.json").write_text("[]"), "still at work"),
        (lambda v: (v / "started.txt").write_text(""), "still at work"),
        (lambda v: (v / "plate.exr").symlink_to("/etc/hostname"), "is a link"),
    ],
)
def test_what_is_no_finished_version_is_refused(
    version: Path, tmp_path: Path, spoil: object, said: str
) -> None:
    spoil(version)  # type: ignore[operator]
    before = names(version)
    with pytest.raises(NotArchived, match=said):
        archiving.archive([version], tmp_path / "a", True, quiet)
    assert names(version) == before
    assert not (tmp_path / "a/3f0a/v001").exists()


def test_an_archive_with_other_files_is_not_replaced(version: Path, tmp_path: Path) -> None:
    archiving.archive([version], tmp_path / "a", False, quiet)
    (version / "result.main.1001.exr").write_bytes(b"another take")
    with pytest.raises(NotArchived, match="holds other files"):
        archiving.archive([version], tmp_path / "a", True, quiet)
    for inside in (version / "deeper", version.parents[1]):
        with pytest.raises(NotArchived, match="lies in"):
            archiving.archive([version], inside, True, quiet)
    assert (version / "result.main.1001.exr").read_bytes() == b"another take"


def test_a_full_disk_is_said_and_leaves_no_half_version(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> archiving.ArchivedFile:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(archiving, "_copy", full)
    with pytest.raises(DiskFull, match="MB are free"):
        archiving.archive([version], tmp_path / "a", True, quiet)
    assert list((tmp_path / "a/3f0a").iterdir()) == []
    assert version.is_dir()
