"""The folder of a shot's takes: numbers that no two runs share, and records that may be damaged."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from voidbridge_backend.client.shots.take_folder import TakeFolder
from voidbridge_protocol.operations.generate import GenerateSettings
from voidbridge_protocol.wire.messages import FrameFile, Request

SETTINGS = GenerateSettings(mode="extend", prompt="rain")
REQUEST = Request(5, 6, SETTINGS, (FrameFile("plate", 4, "a" * 64, 9),), "generate")
RECORD = {
    "frames": [5, 6],
    "settings": asdict(SETTINGS),
    "sources": {"plate/4": "a" * 64},
}


def test_runs_at_the_same_time_claim_numbers_of_their_own(tmp_path: Path) -> None:
    folder = TakeFolder(tmp_path / "shot", "shot")
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda _: folder.claim(), range(40)))
    assert sorted(numbers) == list(range(1, 41))


def test_a_claim_counts_on_from_the_last_take_although_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "take_004").mkdir()
    (tmp_path / "take_2").mkdir()
    assert TakeFolder(tmp_path, "shot").claim() == 5


def test_a_take_is_the_same_only_with_the_same_files_frames_and_settings(tmp_path: Path) -> None:
    folder = TakeFolder(tmp_path, "shot")
    folder.sequence(folder.claim()).folder.joinpath("x.voidbridge.json").write_text(
        json.dumps(RECORD)
    )
    ((record,), damaged) = folder.records()
    assert damaged == []
    assert record.is_of(REQUEST)
    for other in (
        replace(REQUEST, last=7),
        replace(REQUEST, settings=replace(SETTINGS, prompt="snow")),
        replace(REQUEST, files=(FrameFile("plate", 4, "b" * 64, 9),)),
    ):
        assert not record.is_of(other)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({**RECORD, "frames": [1]}).encode(),
        json.dumps({**RECORD, "frames": ["1", "2"]}).encode(),
        json.dumps({**RECORD, "settings": {"engine": "morph"}}).encode(),
        json.dumps({**RECORD, "sources": None}).encode(),
    ],
)
def test_a_damaged_record_is_told_and_the_others_are_read(content: bytes, tmp_path: Path) -> None:
    folder = TakeFolder(tmp_path, "shot")
    bad, good = (
        folder.sequence(folder.claim()).folder / "x.voidbridge.json" for _ in ("bad", "good")
    )
    bad.write_bytes(content)
    good.write_text(json.dumps(RECORD))
    records, damaged = folder.records()
    assert [record.number for record in records] == [2]
    assert damaged == [bad]
