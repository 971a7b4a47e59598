"""The page touches only folders that were named, whatever way a path goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from voidbridge_backend.web.folders import Folders
from voidbridge_backend.web.records import files_of
from voidbridge_protocol.errors import PathNotAllowed


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for name in ("show/shot", "show-secret", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "other/plate.1001.exr").write_bytes(b"x")
    (tmp_path / "show/shot/plate.1001.exr").write_bytes(b"x")
    return Folders([tmp_path / "show"])


def test_paths_below_a_named_folder_are_allowed(folders: Folders, tmp_path: Path) -> None:
    for path in ("show", "show/shot", "show/shot/new.exr", "show/new/folder/x.####.exr"):
        assert folders.allowed(tmp_path / path) == tmp_path / path


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "{}/show/../other", "{}/show-secret", "{}", "show/shot", "", "~", "{}/show/\0",
     "{}/show/shot/../../other/plate.1001.exr", "file:///etc/passwd", "//etc/passwd", "{}/show/\ud800"],
)  # fmt: skip
def test_other_paths_are_refused(folders: Folders, tmp_path: Path, path: str) -> None:
    with pytest.raises(PathNotAllowed):
        folders.allowed(path.format(tmp_path))


def test_a_word_that_is_no_path_is_told_how_paths_are_written(
    folders: Folders, tmp_path: Path
) -> None:
    for word, text in (("--send", "'--send' is not a whole path"), ("", "no path is given")):
        with pytest.raises(PathNotAllowed) as found:
            folders.allowed(word)
        assert (str(found.value), found.value.hint) == (
            text,
            f"Write it from the slash on, as {tmp_path}/show/NAME.",
        )


def test_a_link_is_judged_by_the_place_it_leads_to(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "show/out").symlink_to(tmp_path / "other")
    (tmp_path / "show/in").symlink_to(tmp_path / "show/shot")
    (tmp_path / "show/shot/plate.1002.exr").symlink_to(tmp_path / "other/plate.1001.exr")
    with pytest.raises(PathNotAllowed):
        folders.inside(str(tmp_path / "show/out"))
    assert folders.inside(str(tmp_path / "show/in"))[1] == ["plate.1001.exr", "plate.1002.exr"]
    plate = folders.sequence(str(tmp_path / "show/shot/plate.####.exr"))
    assert folders.file(plate, 1001).is_file()
    with pytest.raises(PathNotAllowed):
        folders.file(plate, 1002)


def test_a_listing_leaves_hidden_files_out(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "show/.git").mkdir()
    assert folders.inside(str(tmp_path / "show")) == (["shot"], [])


def test_the_files_of_a_tracked_job_are_its_plate_and_its_quadmasks(
    folders: Folders, tmp_path: Path
) -> None:
    shot = tmp_path / "show/shot"
    plate = str(shot / "plate.%04d.exr")
    record = {"operation": "mask", "job": "7a", "frames": [1001, 1002], "files": {"plate": plate}}
    (shot / "mask.1001-1002.voidbridge.json").write_text(json.dumps(record))
    assert files_of(folders, "7a") == {"plate": plate}
    (shot / "quadmask.1001.exr").write_bytes(b"x")
    assert files_of(folders, "7a") == {"plate": plate, "matte": str(shot / "quadmask.%04d.exr")}
    assert files_of(folders, "8b") == {}
