"""Which files count as the sources of a job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from voidbridge_protocol.errors import OverwritesSource
from voidbridge_protocol.transfer.source_guard import SourceGuard
from voidbridge_protocol.transfer.upload import hash_file


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    path = tmp_path / "plate.1001.exr"
    path.write_bytes(b"a plate")
    return path


@pytest.mark.parametrize("by_content", [True, False])
def test_a_source_is_known_under_every_name(plate: Path, tmp_path: Path, by_content: bool) -> None:
    guard = SourceGuard([hash_file(plate, "plate", 1001)] if by_content else (), [plate])
    os.link(plate, tmp_path / "hard.exr")
    os.symlink(plate, tmp_path / "soft.exr")
    (tmp_path / "copy.exr").write_bytes(plate.read_bytes())
    for name in ("hard.exr", "soft.exr", "copy.exr", plate.name):
        with pytest.raises(OverwritesSource, match=f"{name} is a source .*; 1 of 2 results"):
            guard.check([tmp_path / "free.exr", tmp_path / name])


def test_other_files_are_none_and_a_source_that_is_gone_neither(
    plate: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.exr").write_bytes(b"a_plate")
    guard = SourceGuard(paths=[plate, tmp_path / "nowhere.exr"])
    guard.check([tmp_path / "other.exr", tmp_path / "nowhere.exr", tmp_path / "longer.exr"])


def test_the_file_that_is_written_first_is_looked_at_too(plate: Path, tmp_path: Path) -> None:
    (tmp_path / "r.exr.tmp").write_bytes(plate.read_bytes())
    with pytest.raises(OverwritesSource, match=r"r\.exr is a source"):
        SourceGuard([hash_file(plate, "plate", 1001)]).check([tmp_path / "r.exr"])
