"""Bits that flip and files that are cut on the daemon's disk: no wrong pixel leaves, and nothing needs a hand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from voidbridge_figures import Note
from voidbridge_raw_client import RawClient
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Daemon, check_echo, daemon, voidbridge

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import DamagedFile, VoidbridgeError
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import MAX_CHUNK, Chunk, Get, Nack

Damage = Callable[[Path, random.Random], None]
FRAMES = range(1001, 1004)


@pytest.fixture(scope="module")
def box() -> Iterator[Daemon]:
    """One for all tests: each leaves it repaired."""
    with daemon() as made:
        made.wait_for_worker()
        yield made


@pytest.fixture
def found_before(box: Daemon) -> int:
    """Files that were found to be damaged in earlier tests."""
    return box.health().damaged


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return make_shot(tmp_path_factory.mktemp("damaged"), FRAMES, seed=700)


def run(box: Daemon, shot: Shot, out: Path, force: bool = False) -> str:
    """As the command `run`, to r.FRAME.exr in `out`; the job's name."""
    submission = Submission(
        {"plate": Sequence.parse(shot.plate), "matte": Sequence.parse(shot.matte)},
        settings=RemoveSettings(engine="echo", grow=0, soften=0),
        force=force,
    )
    target = Sequence.parse(out / "r.%04d.exr").path
    task = submission.task(target, lambda done, of: None, lambda: False)
    with Client(box.address, user="somebody", software="test") as client:
        return client.run(task).job


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def received(box: Daemon) -> list[Path]:
    return sorted(path for path in (box.spool / "objects").rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", [flip, cut], ids=["flip", "cut"])
def test_a_received_file_that_changed_is_sent_again(
    box: Daemon, shot: Shot, found_before: int, tmp_path: Path, damage: Damage
) -> None:
    job = run(box, shot, tmp_path / "one")
    rng = random.Random(1)
    for path in received(box):
        damage(path, rng)
    assert run(box, shot, tmp_path / "two", force=True) == job
    check_echo(shot, tmp_path / "two")
    if damage is flip:  # a file that is shorter than announced is simply not there
        assert box.health().damaged - found_before == len(received(box))


def test_a_flipped_bit_in_a_header_is_not_the_artists_fault(
    box: Daemon, shot: Shot, tmp_path: Path
) -> None:
    run(box, shot, tmp_path / "one")
    for path in received(box):
        data = bytearray(path.read_bytes())
        data[0] ^= 1  # the magic number
        path.write_bytes(data)
    run(box, shot, tmp_path / "two", force=True)
    check_echo(shot, tmp_path / "two")


@pytest.mark.parametrize("damage", [flip, cut], ids=["flip", "cut"])
def test_a_result_that_changed_is_made_again(
    box: Daemon, shot: Shot, found_before: int, tmp_path: Path, damage: Damage
) -> None:
    job = run(box, shot, tmp_path / "one")
    damage(box.spool / "jobs" / job / "1002.exr", random.Random(2))
    box.fetch(job, tmp_path / "two")
    check_echo(shot, tmp_path / "two")
    assert box.health().damaged - found_before == 1


def test_a_result_that_was_damaged_on_the_way_is_sent_again(
    box: Daemon, shot: Shot, found_before: int, tmp_path: Path
) -> None:
    job = run(box, shot, tmp_path / "one")
    result = box.spool / "jobs" / job / "1002.exr"
    size = min(result.stat().st_size, MAX_CHUNK)
    with RawClient(box.address, user="somebody") as client:
        client.say_bulk(Get(job, 1002, 0, size, verify=True))
        assert client.until(client.bulk, Chunk, Nack).kind == "chunk"
        assert box.health().damaged == found_before
        flip(result, random.Random(8))
        for verify in (False, True):
            client.say_bulk(Get(job, 1002, 0, size, verify))
        assert client.until(client.bulk, Chunk, Nack).kind == "chunk"  # nobody looked
        assert client.until(client.bulk, Chunk, Nack).code == DamagedFile.code
    box.fetch(job, tmp_path / "two")
    check_echo(shot, tmp_path / "two")
    assert box.health().damaged - found_before == 1


@pytest.mark.parametrize("damage", [flip, None], ids=["flip", "gone"])
def test_a_record_that_changed_is_made_again(
    box: Daemon, shot: Shot, found_before: int, tmp_path: Path, damage: Damage | None
) -> None:
    job = run(box, shot, tmp_path / "one")
    record = box.spool / "jobs" / job / "provenance.json"
    before = record.read_bytes()
    if damage:
        damage(record, random.Random(5))
    else:
        record.unlink()
    run(box, shot, tmp_path / "two")
    check_echo(shot, tmp_path / "two")
    assert record.read_bytes() == before
    assert box.health().damaged - found_before == 1


def scrub(box: Daemon, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of `voidbridge scrub` and the damage that it found."""
    done = voidbridge("scrub", "--spool", box.spool, "--json", *options)
    events = [json.loads(line) for line in done.out.splitlines()]
    return done.code, [event for event in events if event["event"] == "damaged"]


def test_scrub_finds_and_repairs_what_nobody_used(box: Daemon, shot: Shot, tmp_path: Path) -> None:
    job = run(box, shot, tmp_path / "one")
    done = voidbridge("scrub", "--spool", box.spool)
    assert (done.code, "Another daemon" in done.err) == (2, True)
    box.terminate()
    assert scrub(box) == (0, [])
    rng, result = random.Random(6), box.spool / "jobs" / job / "1002.exr"
    flip(result, rng)
    code, found = scrub(box, "--dry-run")
    assert (code, [(item["kind"], item["job"]) for item in found]) == (4, [("result", job)])
    assert scrub(box)[0] == 0
    box.start()
    box.fetch(job, tmp_path / "two")  # made again from the frames that are there
    check_echo(shot, tmp_path / "two")
    box.terminate()
    for path in (*received(box), result):
        flip(path, rng)
    flip(result.with_name("provenance.json"), rng)
    code, found = scrub(box)
    frames = len(received(box)) + len([item for item in found if item["kind"] == "frame"])
    assert {item["kind"] for item in found} == {"frame", "result"}
    assert frames == len(shot.frames) * 2
    assert not received(box)
    assert scrub(box) == (0, [])
    box.start()
    run(box, shot, tmp_path / "three")  # its frames are sent again
    check_echo(shot, tmp_path / "three")


def test_a_result_that_cannot_be_made_again_says_what_to_do(
    box: Daemon, shot: Shot, tmp_path: Path
) -> None:
    job = run(box, shot, tmp_path / "one")
    flip(box.spool / "jobs" / job / "1002.exr", random.Random(3))
    for path in received(box):
        path.unlink()
    with pytest.raises(DamagedFile) as raised:
        box.fetch(job, tmp_path / "two")
    assert "Submit the same job again" in raised.value.hint
    run(box, shot, tmp_path / "three")
    check_echo(shot, tmp_path / "three")


def test_damage_anywhere_at_rest_ends_right_or_with_a_typed_error(
    shot: Shot, tmp_path: Path, full: bool, note: Note
) -> None:
    count, rng = 100 if full else 6, random.Random(4)
    errors: list[VoidbridgeError] = []
    with daemon() as box:
        box.wait_for_worker()
        run(box, shot, tmp_path / "first")
        for i in range(count):
            code, _ = box.terminate()
            assert code == 0
            files = sorted(
                path for path in box.spool.rglob("*") if path.is_file() and path.stat().st_size
            )
            weights = [3 if path.name == "jobs.db" else 1 for path in files]
            rng.choices((flip, cut), (3, 1))[0](rng.choices(files, weights)[0], rng)
            box.start()
            try:
                run(box, shot, tmp_path / f"out {i}", force=bool(i % 2))
            except VoidbridgeError as error:
                errors.append(error)
            else:
                check_echo(shot, tmp_path / f"out {i}")
        run(box, shot, tmp_path / "last", force=True)
    check_echo(shot, tmp_path / "last")
    assert all(error.code != "error" and error.hint for error in errors)
    note(31, what="flips and cuts at rest", count=count, errors=len(errors))
