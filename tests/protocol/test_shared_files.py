"""Files on a disk that both sides see are named, not sent; if an import fails, the file is sent."""

from __future__ import annotations

import io
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from voidbridge_artist import client_of, noise, plates, results, shot

from voidbridge_protocol.errors import NotHere
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.testing.fake_daemon import FakeDaemon, Script, fake_daemon
from voidbridge_protocol.transfer.shared_files import PROBE, PROBES, below, name_of, proof
from voidbridge_protocol.transfer.upload import Upload
from voidbridge_protocol.wire.messages import (
    MAX_IMPORTS,
    MAX_PATH,
    Credit,
    FrameFile,
    ImportFile,
    Limits,
    Message,
    Nack,
    Put,
)

SHA = "a" * 64


@pytest.mark.parametrize(
    ("prefix", "path", "names"),
    [
        ("/mnt/shows", "/mnt/shows/a/p.1001.exr", ("a", "p.1001.exr")),
        ("/mnt/shows", "/mnt/shows/x\\y.exr", ("x\\y.exr",)),
        ("Z:", "Z:/shows/a.exr", ("shows", "a.exr")),
        ("Z:/shows", "z:\\SHOWS\\A\\b.exr", ("A", "b.exr")),
        ("//server/vol", "\\\\SERVER\\vol\\a.exr", ("a.exr",)),
        ("/mnt/shows", "/mnt/Shows/a.exr", None),
        ("/mnt/shows", "/mnt/shows2/a.exr", None),
        ("/mnt/shows", "/mnt/shows", None),
        ("/mnt/shows", "/mnt/shows/", None),
        ("/mnt/shows", "mnt/shows/a.exr", None),
        ("/mnt/shows", "/mnt/shows/../a.exr", None),
        ("/mnt/shows", "/mnt/shows/./a.exr", None),
        ("/mnt/shows", "/mnt/shows//a.exr", None),
        ("/mnt/shows", "/mnt/shows/a\0.exr", None),
        ("Z:/shows", "Z:\\shows\\..\\a.exr", None),
        ("Z:", "Y:/a.exr", None),
        ("Z:", "Z:a.exr", None),
        ("/mnt/shows", "", None),
    ],
)
def test_a_path_lies_below_a_prefix_or_does_not(
    prefix: str, path: str, names: tuple[str, ...] | None
) -> None:
    assert below(prefix, path) == names


@pytest.mark.parametrize("size", [1, PROBE - 1, PROBE, PROBE + 1, 50_000])
def test_only_who_can_read_a_file_can_prove_it(size: int) -> None:
    data = noise("plate", size)
    shown = proof("e1", SHA, size, io.BytesIO(data))
    assert shown == proof("e1", SHA, size, io.BytesIO(data))
    assert shown != proof("e2", SHA, size, io.BytesIO(data))
    assert shown != proof("e1", SHA, size, io.BytesIO(noise("another", size)))
    assert shown != proof("e1", SHA, size, io.BytesIO(b""))


def test_what_is_shown_of_a_large_file_is_spread_over_it() -> None:
    size, seen = 100_000_000, set()

    class Spy(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            assert 0 <= offset <= size - PROBE
            seen.add(offset)
            return offset

    proof("epoch", SHA, size, Spy())
    assert len(seen) == PROBES
    assert min(seen) < size / 4 < 3 * size / 4 < max(seen)


def test_a_file_is_named_as_it_is_called_here_or_as_its_links_lead(tmp_path: Path) -> None:
    show, home = tmp_path / "show", tmp_path / "home"
    show.mkdir()
    home.symlink_to(show)
    (show / "a.exr").write_bytes(b"a")
    real = os.path.realpath(show)
    assert name_of(home / "a.exr", [f"{home}"]) == f"{home}/a.exr"
    assert name_of(home / "a.exr", [real]) == f"{real}/a.exr"
    assert name_of(home / ".." / "show" / "a.exr", [str(show)]) == f"{show}/a.exr"
    assert name_of(tmp_path / "a.exr", [str(show)]) is None
    assert name_of(show / "a.exr", []) is None
    assert name_of(show / ("x" * MAX_PATH), [str(show)]) is None


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_that_is_no_text_cannot_be_said(tmp_path: Path) -> None:
    assert name_of(tmp_path / os.fsdecode(b"\xff.exr"), [str(tmp_path)]) is None


def test_what_the_daemon_sees_too_is_not_sent(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    listener = Listener(imported=lambda done, of: told.append((done, of)))
    with fake_daemon(Script(shares=(str(tmp_path),))) as daemon, client_of(daemon) as client:
        outcome = client.run(shot(tmp_path, frames=5), listener)
        assert (outcome.uploaded, outcome.imported, daemon.taken) == (0, 10, 0)
        assert not any(isinstance(said, Put) for said in daemon.received)
    assert told == [(done, 10) for done in range(1, 11)]
    assert results(tmp_path) == plates(tmp_path)


def test_what_lies_elsewhere_is_sent_and_its_path_is_not_said(tmp_path: Path) -> None:
    other = tmp_path / "other"
    with fake_daemon(Script(shares=(str(other),))) as daemon, client_of(daemon) as client:
        outcome = client.run(shot(tmp_path))
        assert (outcome.uploaded, outcome.imported) == (4 * 2500, 0)
        assert not any(isinstance(said, ImportFile) for said in daemon.received)
    assert results(tmp_path) == plates(tmp_path)


class SeesNothing(FakeDaemon):
    """Its disk is not mounted."""

    def _import_file(self, asked: ImportFile) -> Message:
        return Nack(asked.sha256, 0, NotHere.code, "no")


def test_what_the_daemon_cannot_open_is_sent_instead(tmp_path: Path) -> None:
    daemon = SeesNothing(Script(shares=(str(tmp_path),)))
    daemon.start()
    try:
        with client_of(daemon) as client:
            outcome = client.run(shot(tmp_path))
    finally:
        daemon.stop()
    asked = [said.sha256 for said in daemon.received if isinstance(said, ImportFile)]
    assert (outcome.uploaded, outcome.imported) == (4 * 2500, 0)
    assert len(asked) == len(set(asked)) == 4, "each is tried once"
    assert results(tmp_path) == plates(tmp_path)


def test_files_come_before_their_job_in_the_same_way(tmp_path: Path) -> None:
    task = shot(tmp_path)
    files = list(zip(task.request.files, task.sources, strict=True))
    with fake_daemon(Script(shares=(str(tmp_path),))) as daemon, client_of(daemon) as client:

        def more() -> list[tuple[FrameFile, Path]] | None:
            if files:
                return [files.pop()]
            return [] if len(daemon.objects) < 4 else None

        ahead = client.prefetch(more)
        outcome = client.run(task)
    assert (ahead.imported, outcome.imported, daemon.taken) == (4, 0, 0)
    assert results(tmp_path) == plates(tmp_path)


class Slow(FakeDaemon):
    """Answers no import in its first life."""

    def _import_file(self, asked: ImportFile) -> Message:
        return super()._import_file(asked) if self.lives > 1 else Credit(0)


def test_a_new_epoch_asks_for_a_new_proof(tmp_path: Path) -> None:
    (tmp_path / "show").mkdir()
    task = shot(tmp_path)
    shared = tmp_path / "show" / "plate.1002.exr"
    shutil.move(task.sources[-1], shared)
    task = replace(task, sources=[*task.sources[:-1], shared])
    script = Script(shares=(str(shared.parent),), limits=Limits(1000, 4000), dies_at=(3000,))
    daemon = Slow(script)
    daemon.start()
    try:
        with client_of(daemon) as client:
            outcome = client.run(task)
    finally:
        daemon.stop()
    asked = [said for said in daemon.received if isinstance(said, ImportFile)]
    assert outcome.imported == 1
    assert len({said.proof for said in asked}) == len(asked) == 2
    assert shared.read_bytes() == (tmp_path / "out" / "result.1002.exr").read_bytes()


def test_a_daemon_that_names_no_folder_is_told_no_path(tmp_path: Path) -> None:
    with fake_daemon() as daemon, client_of(daemon) as client:
        assert client.run(shot(tmp_path)).uploaded == 4 * 2500
        assert not any(isinstance(said, ImportFile) for said in daemon.received)


# -- as state, without a daemon -----------------------------------------------------------------------


def upload_of(folder: Path, count: int) -> tuple[Upload, list[FrameFile]]:
    task = shot(folder, frames=count)
    upload = Upload(task.request.files, task.sources, 1000)
    upload.reconnected("epoch", [str(folder)])
    upload.wanted(range(2 * count), ())
    return upload, list(task.request.files)


def test_a_few_are_on_their_way_at_once(tmp_path: Path) -> None:
    upload, files = upload_of(tmp_path, 5)
    said = [upload.next_import() for _ in range(MAX_IMPORTS)]
    assert all(said)
    assert upload.next_import() is None
    assert upload.next_chunk() is None, "nothing of them is sent meanwhile"
    assert upload.confirmed(files[0].sha256)
    assert upload.next_import()
    assert (upload.imported, upload.to_import, upload.total) == (1, 10, 0)


def test_a_refused_file_goes_on_where_the_daemon_stands(tmp_path: Path) -> None:
    upload, files = upload_of(tmp_path, 1)
    assert upload.next_import()
    upload.refused(Nack(files[0].sha256, 500, NotHere.code, "no"))
    upload.granted(10_000)
    sent = upload.next_chunk()
    assert sent
    assert (sent[0], len(sent[1])) == (Put(files[0].sha256, 2500, 500), 1000)
    upload.close()
    assert (upload.total, upload.to_import) == (2000, 1)


def test_a_file_that_is_gone_is_left_to_the_sending_which_says_so(tmp_path: Path) -> None:
    upload, _ = upload_of(tmp_path, 1)
    (tmp_path / "matte.1001.exr").unlink()
    said = upload.next_import()
    assert said
    assert said[0].path.endswith("plate.1001.exr")
    assert upload.total == 2500
