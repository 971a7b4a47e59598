"""Some folders may be shared, and files are opened in one way. Hostile paths: `tests/faults/test_paths.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from voidbridge_backend.daemon.files.shares import Share, Shares
from voidbridge_protocol.errors import BadSetting


@pytest.fixture
def show(tmp_path: Path) -> Path:
    folder = tmp_path / "show"
    (folder / "plates").mkdir(parents=True)
    (folder / "plates" / "p.1001.exr").write_bytes(b"plate")
    return folder


@pytest.mark.parametrize(
    ("text", "prefix", "folder"),
    [
        ("/mnt/shows", "/mnt/shows", "/mnt/shows"),
        ("/mnt/shows/", "/mnt/shows", "/mnt/shows"),
        ("/mnt/a=b", "/mnt/a=b", "/mnt/a=b"),
        ("Z:/=/mnt/z", "Z:", "/mnt/z"),
        (r"Z:\shows=/mnt/shows", "Z:/shows", "/mnt/shows"),
        (r"\\server\vol=/mnt/vol", "//server/vol", "/mnt/vol"),
        ("/Volumes/shows=/mnt/shows", "/Volumes/shows", "/mnt/shows"),
    ],
)
def test_a_share_is_a_folder_and_what_clients_call_it(text: str, prefix: str, folder: str) -> None:
    assert Share.parse(text) == Share(prefix, Path(folder))


@pytest.mark.parametrize(
    "text", ["shows", "./shows", "/", "Z:/shows", "shows=/mnt/shows", "Z:/=/", "Z:/shows=shows"]
)
def test_what_cannot_be_shared_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadSetting, match="the setting shares cannot be"):
        Shares([text])


def test_a_home_folder_may_be_written_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Share.parse("~/plates").folder == Path(os.path.realpath(tmp_path / "plates"))


def test_a_file_is_opened_by_each_of_its_names(show: Path) -> None:
    shares = Shares([str(show), f"Z:/shows={show}", f"/Volumes/x={show}"])
    assert shares.prefixes == (str(show), "Z:/shows", "/Volumes/x")
    for name in (
        f"{show}/plates/p.1001.exr",
        "z:\\shows\\plates\\p.1001.exr",
        "/Volumes/x/plates/p.1001.exr",
    ):
        file = shares.open(name, 5)
        assert file, name
        with file:
            assert file.read() == b"plate"


def test_without_shares_nothing_is_opened(show: Path) -> None:
    for shares in (Shares(), Shares([""])):
        assert shares.prefixes == ()
        assert shares.open(f"{show}/plates/p.1001.exr", 5) is None


def test_a_file_of_another_size_is_another_file(show: Path) -> None:
    assert Shares([str(show)]).open(f"{show}/plates/p.1001.exr", 6) is None


def test_links_are_followed_as_long_as_they_stay_inside(show: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.exr").write_bytes(b"plate")
    (show / "latest").symlink_to("plates")
    (show / "over").symlink_to(other)
    shares = Shares([str(show)])
    inside, outside = f"{show}/latest/p.1001.exr", f"{show}/over/b.exr"
    file = shares.open(inside, 5)
    assert file
    file.close()
    assert shares.open(outside, 5) is None
    file = Shares([str(show), str(other)]).open(outside, 5)  # where that is shared as well
    assert file
    file.close()


def test_a_share_may_be_a_link_itself_but_not_become_another(show: Path, tmp_path: Path) -> None:
    link, secret = tmp_path / "link", tmp_path / "secret"
    link.symlink_to(show)
    (secret / "plates").mkdir(parents=True)
    (secret / "plates" / "p.1001.exr").write_bytes(b"plate")
    shares = Shares([str(link)])
    file = shares.open(f"{link}/plates/p.1001.exr", 5)
    assert file
    file.close()
    show.rename(tmp_path / "away")
    show.symlink_to(secret)
    assert shares.open(f"{link}/plates/p.1001.exr", 5) is None


def test_a_disk_that_is_not_mounted_has_no_files_until_it_is(show: Path) -> None:
    away = show.with_name("away")
    show.rename(away)
    shares = Shares([str(show)])
    assert shares.missing == [show]
    assert shares.open(f"{show}/plates/p.1001.exr", 5) is None
    away.rename(show)
    assert shares.missing == []
    file = shares.open(f"{show}/plates/p.1001.exr", 5)
    assert file
    file.close()


def test_the_spool_and_the_keys_are_closed_wherever_they_lie(show: Path) -> None:
    shares = Shares([str(show)], closed=[show / "plates"])
    assert shares.open(f"{show}/plates/p.1001.exr", 5) is None
