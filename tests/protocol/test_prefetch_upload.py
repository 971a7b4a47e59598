"""Files that are sent while others are still being made, before there is a request."""

from __future__ import annotations

from pathlib import Path

import pytest
from voidbridge_artist import client_of, noise, plates, results, shot

from voidbridge_protocol.errors import JobCancelled, SpoolFull, UnreadableFrame
from voidbridge_protocol.job_task import JobTask, Listener
from voidbridge_protocol.prefetch_upload import More
from voidbridge_protocol.testing.fake_daemon import FakeDaemon, Script, fake_daemon
from voidbridge_protocol.wire.messages import MAX_OFFERED, FrameFile, Limits, Offer, Put, Submit

SMALL = Limits(chunk=1000, window=4000)


def one_by_one(task: JobTask, daemon: FakeDaemon, until_got: int) -> More:
    """Each file when the daemon has the one before; the last ones, from `until_got` on, all at once."""
    files = list(zip(task.request.files, task.sources, strict=True))
    said: list[tuple[FrameFile, Path]] = []

    def more() -> list[tuple[FrameFile, Path]] | None:
        if len(said) >= until_got:
            return None
        if any(file.sha256 not in daemon.objects for file, _ in said):
            return []
        said.append(files[len(said)])
        return said[-1:]

    return more


def test_what_is_made_is_sent_before_the_rest_is_there_and_never_again(tmp_path: Path) -> None:
    task = shot(tmp_path, frames=3)
    with fake_daemon(Script(limits=SMALL)) as daemon, client_of(daemon) as client:
        ahead = client.prefetch(one_by_one(task, daemon, until_got=5))
        assert len(daemon.objects) >= 4
        assert not any(isinstance(said, Submit) for said in daemon.received)
        outcome = client.run(task)
    assert results(tmp_path) == plates(tmp_path)
    assert ahead.uploaded + outcome.uploaded == daemon.taken == 6 * 2500


def test_only_what_the_daemon_lacks_is_sent_ahead(tmp_path: Path) -> None:
    task = shot(tmp_path)
    with fake_daemon() as daemon, client_of(daemon) as client:
        client.run(task)
        assert client.prefetch(one_by_one(task, daemon, until_got=4)).uploaded == 0


def test_a_daemon_that_dies_meanwhile_is_told_everything_again(tmp_path: Path) -> None:
    task = shot(tmp_path, frames=3)
    script = Script(limits=SMALL, dies_at=(3000, 9000))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        client.prefetch(one_by_one(task, daemon, until_got=6))
        client.run(task)
        assert daemon.lives == 3
    assert results(tmp_path) == plates(tmp_path)


def test_many_files_are_offered_in_parts(tmp_path: Path) -> None:
    count = MAX_OFFERED + 5
    source = tmp_path / "plate.exr"
    source.write_bytes(noise("one", 100))
    files = [(FrameFile("plate", i, f"{i:064x}", 100), source) for i in range(count)]
    batches = [files, None]
    with fake_daemon(Script(deaf_to=frozenset({Put}))) as daemon, client_of(daemon) as client:
        client.prefetch(lambda: batches.pop(0), engine="void")
        client.jobs()  # answered behind the offers
        offers = [said for said in daemon.received if isinstance(said, Offer)]
    assert [len(said.files) for said in offers] == [MAX_OFFERED, 5]
    assert {said.engine for said in offers} == {"void"}


def test_a_daemon_that_takes_nothing_ahead_is_kept_until_there_is_a_request(tmp_path: Path) -> None:
    task = shot(tmp_path)
    calls = iter([list(zip(task.request.files, task.sources, strict=True)), [], None])
    with fake_daemon(Script(deaf_to=frozenset({Offer}))) as daemon, client_of(daemon) as client:
        assert client.prefetch(lambda: next(calls)).uploaded == 0
        assert daemon.taken == 0
        client.run(task)
    assert results(tmp_path) == plates(tmp_path)


def test_a_disk_that_is_full_is_the_requests_affair(tmp_path: Path) -> None:
    task = shot(tmp_path)
    files = list(zip(task.request.files, task.sources, strict=True))
    with fake_daemon(Script(has_no_room=True)) as daemon, client_of(daemon) as client:

        def more() -> list[tuple[FrameFile, Path]] | None:
            if files:
                return [files.pop(0)]
            return [] if not daemon.taken else None

        client.prefetch(more)
        with pytest.raises(SpoolFull):
            client.run(task)


def test_what_goes_wrong_while_files_are_made_ends_it(tmp_path: Path) -> None:
    def fails() -> None:
        raise UnreadableFrame("plate frame 1002: gone")

    with fake_daemon() as daemon, client_of(daemon) as client:
        with pytest.raises(UnreadableFrame, match="1002"):
            client.prefetch(fails)
        with pytest.raises(JobCancelled, match="being rendered"):
            client.prefetch(list, Listener(should_cancel=lambda: True))
        assert client.jobs() == []
