"""Versions on disk: found again, complete or not, never written twice, never deleted with a result in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from voidbridge_nuke import cache
from voidbridge_nuke.knobs import with_values
from voidbridge_nuke.operations import REMOVE
from voidbridge_nuke.request import NodeError, NodeRequest, Scene, differences, resolve

REQUEST = resolve(
    {knob.name: knob.default for knob in with_values(REMOVE.knobs)},
    Scene((1001, 1003), {"plate": "", "matte": ""}, ("main",), "linear"),
)


@pytest.fixture
def home(tmp_path: Path) -> str:
    return (tmp_path / "Ordner mit Ümläuten" / "n1").as_posix()


def write_results(version: cache.Version, frames: range, sidecar: bool = True) -> None:
    for frame in frames:
        Path(version.folder, f"result.main.{frame:04d}.exr").write_bytes(b"x")
    if sidecar:
        Path(version.folder, "result.main.1001-1003.voidbridge.json").write_text("{}")


@pytest.mark.parametrize(
    ("knob", "script", "folder"),
    [
        ("vb/x", "/shots/010/a.nk", "/shots/010/vb/x/n1"),
        ("vb", "", "/tmp/t/vb/n1"),
        ("", "/jobs/a b/shot.nk", "/jobs/a b/voidbridge/n1"),
        ("", "", "/tmp/t/voidbridge/n1"),
        ("/cache/", "/jobs/shot.nk", "/cache/n1"),
        ("", r"Z:\jobs\shot.nk", "Z:/jobs/voidbridge/n1"),
    ],
    ids=[
        "relative",
        "relative, never saved",
        "beside the script",
        "never saved",
        "chosen",
        "Windows",
    ],
)
def test_the_folder_of_a_node(knob: str, script: str, folder: str) -> None:
    assert cache.home(knob, script, "/tmp/t", "n1") == folder


def test_a_version_is_read_back_as_it_was_begun(home: str) -> None:
    version = cache.begin(home, [home], REQUEST)
    assert (version.name, cache.read(version.folder)) == ("v001", version)
    assert cache.versions([home]) == [version]


def test_numbers_go_on_over_all_homes_and_are_never_taken_twice(home: str, tmp_path: Path) -> None:
    other = (tmp_path / "later").as_posix()
    first = cache.begin(home, [home], REQUEST)
    second = cache.begin(other, [home, other], REQUEST)
    Path(other, "v003").mkdir()  # of somebody whose record is not there yet
    third = cache.begin(other, [home, other], REQUEST)
    assert [v.number for v in (first, second, third)] == [1, 2, 4]
    assert cache.versions([home, other]) == [first, second, third]
    assert cache.begin(other, [home, other], REQUEST, last=7).number == 8


def test_a_version_is_complete_with_every_frame_and_the_record_of_the_command(home: str) -> None:
    version = cache.begin(home, [home], REQUEST)
    assert len(cache.missing(version)) == 4
    write_results(version, range(1001, 1003))
    assert cache.missing(version) == ["result.main.1003.exr"]
    write_results(version, range(1003, 1004))
    assert cache.is_complete(version)


def test_a_folder_that_is_gone_lacks_everything(home: str) -> None:
    version = cache.begin(home, [home], REQUEST)
    assert cache.discard(version)
    assert len(cache.missing(version)) == 4
    assert cache.read(version.folder) is None


def test_an_attempt_with_a_result_frame_or_a_foreign_file_is_kept(home: str) -> None:
    for name in ("result.main.1001.exr", "notes.txt"):
        version = cache.begin(home, [home], REQUEST)
        Path(version.folder, "plate.main.1001.exr").write_bytes(b"x")
        Path(version.folder, name).write_bytes(b"x")
        assert not cache.discard(version)
        assert Path(version.folder, "plate.main.1001.exr").exists()


@pytest.mark.parametrize("name", ["comp.nk.tmp", "clean.painted.exr", "output.notes.txt"])
def test_a_file_of_the_artist_with_a_name_like_ours_is_kept(home: str, name: str) -> None:
    version = cache.begin(home, [home], REQUEST)
    Path(version.folder, name).write_bytes(b"of the artist")
    assert not cache.discard(version)
    assert Path(version.folder, name).read_bytes() == b"of the artist"


def test_an_attempt_with_half_a_frame_goes(home: str) -> None:
    version = cache.begin(home, [home], REQUEST)
    Path(version.folder, "plate.main.1001.exr").write_bytes(b"x")
    Path(version.folder, "result.main.1001.exr.tmp").write_bytes(b"x")
    assert cache.discard(version)
    assert not Path(version.folder).exists()


@pytest.mark.parametrize("record", ["", "[]", '{"frames": [1]}', '{"frames": [1, 2], "views": 3}'])
def test_a_damaged_record_is_no_version(home: str, record: str) -> None:
    version = cache.begin(home, [home], REQUEST)
    Path(version.folder, cache.RECORD).write_text(record)
    assert cache.versions([home]) == []


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NodeError, match="file/n1"):
        cache.begin(f"{file.as_posix()}/n1", [], REQUEST)


def test_another_request_is_another_version(home: str) -> None:
    other = NodeRequest(**{**REQUEST.__dict__, "wanted": (1002, 1003)})
    one, two = cache.begin(home, [home], REQUEST), cache.begin(home, [home], other)
    assert differences(one.made_with, two.made_with) == ["frames"]
