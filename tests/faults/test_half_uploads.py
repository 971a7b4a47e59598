"""Uploads that are begun by the thousand and not finished: the daemon keeps its descriptors for others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_raw_client import Bystander, RawClient
from voidbridge_shots import make_shot
from voidbridge_stage import Daemon, check_echo, daemon

from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import (
    Accepted,
    Cancel,
    Credit,
    FrameFile,
    Got,
    Put,
    Request,
    Submit,
)

PIECES = 64
"""Pieces that are sent before their answers are waited for."""


def descriptors(box: Daemon) -> int:
    assert box.process
    return len(os.listdir(f"/proc/{box.process.pid}/fd"))


@pytest.mark.parametrize("whole", [False, True], ids=["half", "whole"])
def test_files_by_the_thousand_take_no_descriptors_from_others(
    tmp_path: Path, full: bool, note: Note, whole: bool
) -> None:
    """`whole`: the files are complete and wait for their fsync."""
    frames, most = 10_000 if full else 600, 0
    contents = [b"%010d" % i for i in range(2 * frames)]
    files = tuple(
        FrameFile(
            "matte" if i < frames else "plate",
            i % frames + 1,
            hashlib.sha256(content).hexdigest(),
            len(content),
        )
        for i, content in enumerate(contents)
    )
    with daemon() as box:
        before = descriptors(box)
        with Bystander(box) as other, RawClient(box.address) as client:
            request = Request(1, frames, RemoveSettings(engine="echo"), files)
            client.say(Submit(), request.canonical())
            job = client.until(client.control, Accepted).job
            for begin in range(0, 2 * frames, PIECES):
                batch = slice(begin, begin + PIECES)
                for file, content in zip(files[batch], contents[batch], strict=True):
                    client.say_bulk(Put(file.sha256, 10, 0), content if whole else content[:5])
                for _ in files[batch]:
                    client.until(client.bulk, Got if whole else Credit)
                most = max(most, descriptors(box) - before)
            shot = make_shot(tmp_path / "in", range(1001, 1003), seed=900)
            box.fetch(box.submit(shot), tmp_path / "out")
            check_echo(shot, tmp_path / "out")
            client.say(Cancel(job))  # until then the daemon remembers what it lacks
        assert most < 400
        other.check(note, "uploads", full, whole=whole, files=2 * frames, descriptors=most)
