"""A result is told from a file that only carries its metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import seal, writer
from voidbridge_backend.exr.header import parse_header
from voidbridge_backend.exr.multi_part import split
from voidbridge_backend.exr.new.parts import new_parts
from voidbridge_backend.exr.reader import decode
from voidbridge_protocol.transfer.atomic_files import write_whole

MakeExr = Callable[..., bytes]
Words = dict[str, NDArray[np.float16]]
MARKS = {"voidbridge/version": "1", seal.ATTRIBUTE: seal.BLANK}


def result_of(make_exr: MakeExr, words: Words, **how: object) -> bytes:
    plate = decode(make_exr(words, **how))
    changed = {name: plane + np.float16(0.5) for name, plane in words.items()}
    return seal.sealed(writer.encode(plate, changed, MARKS))


@pytest.mark.parametrize(
    "how", [{}, {"compression": "NO"}, {"tiles": (16, 16)}, {"name": "x" * 40}]
)
def test_a_result_is_known_by_its_pixels(
    make_exr: MakeExr, rgb_words: Words, tmp_path: Path, how: dict[str, object]
) -> None:
    data = result_of(make_exr, rgb_words, **how)
    path = tmp_path / "r.exr"
    path.write_bytes(data)
    assert seal.is_sealed(path)
    for at in (len(data) - 1, len(data) // 2):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not seal.is_sealed(path)
    path.write_bytes(data[:-1])
    assert not seal.is_sealed(path)


def test_another_program_that_copies_the_metadata_makes_a_file_of_its_own(
    make_exr: MakeExr, rgb_words: Words, tmp_path: Path
) -> None:
    path = tmp_path / "r.exr"
    path.write_bytes(result_of(make_exr, rgb_words))
    with OpenEXR.File(str(path), separate_channels=True) as file:
        header, channels = dict(file.header()), file.channels()
        channels["G"].pixels[3, 5] += 1
        OpenEXR.File(header, channels).write(str(path))
    assert parse_header(path.read_bytes()).parts[0].text(seal.ATTRIBUTE) != seal.BLANK
    assert not seal.is_sealed(path)


def test_a_plate_that_was_a_result_is_sealed_anew(
    make_exr: MakeExr, rgb_words: Words, tmp_path: Path
) -> None:
    first = result_of(make_exr, rgb_words)
    second = seal.sealed(writer.encode(decode(first), rgb_words, MARKS))
    assert second != first
    (tmp_path / "r.exr").write_bytes(second)
    assert seal.is_sealed(tmp_path / "r.exr")


def test_each_part_that_is_split_off_has_a_seal_of_its_own(
    make_exr: MakeExr, rgb_words: Words, tmp_path: Path
) -> None:
    like = parse_header(make_exr(rgb_words)).parts[0]
    parts = {"ball": {"A": rgb_words["R"]}, "rod": {"A": rgb_words["G"]}}
    whole = seal.sealed(new_parts(parts, like, like.data_window, MARKS))
    for name, data in split(whole):
        (tmp_path / f"{name}.exr").write_bytes(data)
        assert seal.is_sealed(tmp_path / f"{name}.exr")


def test_a_file_without_a_mark_stays_as_it_is(
    make_exr: MakeExr, rgb_words: Words, tmp_path: Path
) -> None:
    data = make_exr(rgb_words)
    assert seal.sealed(data) == data
    (tmp_path / "plate.exr").write_bytes(data)
    assert not seal.is_sealed(tmp_path / "plate.exr")
    assert not seal.is_sealed(tmp_path / "nowhere.exr")


def test_a_file_behind_a_link_with_the_temporary_name_stays(tmp_path: Path) -> None:
    (tmp_path / "hero.exr").write_bytes(b"of the artist")
    (tmp_path / "r.exr.tmp").symlink_to(tmp_path / "hero.exr")
    write_whole(tmp_path / "r.exr", b"result")
    assert (tmp_path / "hero.exr").read_bytes() == b"of the artist"
    assert (tmp_path / "r.exr").read_bytes() == b"result"
