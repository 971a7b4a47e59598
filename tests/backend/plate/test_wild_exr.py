"""Files from other programs: what is readable goes round to the bit, what is damaged is a typed error."""

from __future__ import annotations

import io
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from voidbridge_backend.exr import reader, writer
from voidbridge_backend.exr.chunks import chunks_of, file_of
from voidbridge_backend.exr.header import Attribute, parse_header, read_header
from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

REFUSED = {
    "Rec709_YC.exr": "luminance-chroma",
    "XYZ_YC.exr": "luminance-chroma",
    "WideFloatRange.exr": "only: G",
    "Trunks.exr": "deep",
}
DAMAGED_LIMIT_S = 5.0
"""For one damaged file, on a busy machine; each takes some milliseconds."""


def healthy(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.exr")) if "Damaged" not in path.parts]


def test_every_healthy_plate_goes_round_with_all_its_samples_and_attributes(wild_exr: Path) -> None:
    rounds = 0
    for path in healthy(wild_exr):
        if path.name in REFUSED:
            continue
        frame = reader.read(path)
        assert writer.encode(frame, {}) == path.read_bytes(), path.name
        words = {name: frame.channels[name].copy() for name in frame.rgb_names}
        rows = slice(frame.window.height // 2, frame.window.height // 2 + 20)
        for samples in words.values():
            samples[rows, 5:30] = 0.25

        result = writer.encode(frame, words, {"voidbridge/engine": "test"})

        expected = OpenEXR.File(str(path), separate_channels=True)
        for name, samples in words.items():
            expected.parts[frame.index].channels[name].pixels = samples
        found = OpenEXR.File(io.BytesIO(result), separate_channels=True)
        assert len(found.parts) == len(expected.parts)
        for theirs, ours in zip(expected.parts, found.parts, strict=True):
            assert theirs.channels.keys() == ours.channels.keys()
            for name, channel in theirs.channels.items():
                assert channel.pixels.tobytes() == ours.channels[name].pixels.tobytes(), path.name
        before, after = frame.header, parse_header(result)
        for index, part in enumerate(before.parts):
            count = len(part.attributes)
            assert after.parts[index].attributes[:count] == part.attributes, path.name
        rounds += 1
    assert rounds >= 20


def test_what_is_no_plate_says_why(wild_exr: Path) -> None:
    for path in healthy(wild_exr):
        if path.name in REFUSED:
            with pytest.raises(UnsupportedFrame, match=REFUSED[path.name]):
                reader.read(path)


def test_nan_and_infinity_arrive_as_they_are(wild_exr: Path) -> None:
    frame = reader.read(wild_exr / "TestImages" / "BrightRingsNanInf.exr")
    assert not np.isfinite(frame.rgb()).all()
    halves = reader.read(wild_exr / "TestImages" / "AllHalfValues.exr").channels["R"]
    assert np.unique(halves.view(np.uint16)).size == 65536


def test_windows_of_all_kinds_are_read(wild_exr: Path) -> None:
    for path in sorted((wild_exr / "DisplayWindow").glob("*.exr")):
        part = read_header(path).parts[0]
        theirs = OpenEXR.File(str(path), header_only=True).header()
        for name, window in (
            ("dataWindow", part.data_window),
            ("displayWindow", part.display_window),
        ):
            low, high = theirs[name]
            assert [window.xmin, window.ymin, window.xmax, window.ymax] == [*low, *high]


def test_a_gray_file_is_a_picture(wild_exr: Path) -> None:
    frame = reader.read(wild_exr / "TestImages" / "GrayRampsHorizontal.exr")
    assert list(frame.channels) == ["Y"]
    assert (frame.rgb() == frame.channels["Y"][..., None]).all()


def test_every_damaged_file_is_a_typed_error_within_a_time_limit(
    wild_exr: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tried = 0
    for path in sorted((wild_exr / "Damaged").iterdir()):
        begun = time.process_time()
        with pytest.raises((UnreadableFrame, UnsupportedFrame)):
            reader.read(path)
        assert time.process_time() - begun < DAMAGED_LIMIT_S, path.name
        tried += 1
    assert tried > 50


def test_no_flipped_byte_is_answered_with_anything_but_a_frame_or_a_typed_error(
    wild_exr: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(3)
    outcomes = {"read": 0, "refused": 0}
    for name in ("TestImages/stripes.exr", "DisplayWindow/t08.exr", "TestImages/GammaChart.exr"):
        whole = (wild_exr / name).read_bytes()
        for _ in range(60):
            data = bytearray(whole)
            for place in random.integers(0, len(data), 3):
                data[place] = random.integers(0, 256)
            try:
                frame = reader.decode(bytes(data), name)
            except (UnreadableFrame, UnsupportedFrame):
                outcomes["refused"] += 1
                continue
            outcomes["read"] += 1
            assert all(
                samples.shape == (frame.window.height, frame.window.width)
                for samples in frame.channels.values()
            )
    assert min(outcomes.values()) > 5, outcomes


def test_a_deep_part_beside_the_plate_keeps_every_byte(wild_exr: Path) -> None:
    deep = (wild_exr / "v2" / "LowResLeftView" / "Trunks.exr").read_bytes()
    flat = (wild_exr / "TestImages" / "stripes.exr").read_bytes()
    parts, chunks = [], []
    for index, data in enumerate((deep, flat)):
        header = parse_header(data)
        part = header.parts[0]
        own = ("name", "type", "chunkCount", "displayWindow")
        said = [a for a in part.attributes if a.name not in own]
        parts.append(
            [
                *said,
                # All parts of a file share their display window.
                Attribute("displayWindow", "box2i", struct.pack("<4i", 0, 0, 1023, 575)),
                Attribute("name", "string", b"part%d" % index),
                Attribute("type", "string", part.type.encode()),
                Attribute("chunkCount", "int", struct.pack("<i", len(part.offsets))),
            ]
        )
        chunks += [replace(c, part=index) for c in chunks_of(data, header, 0, "test")]
    whole = file_of(2 | 0x1800, parts, chunks, multipart=True)
    frame = reader.decode(whole)
    assert frame.index == 1
    assert writer.encode(frame, {}) == whole

    words = {name: np.zeros_like(frame.channels[name]) for name in frame.rgb_names}
    result = writer.encode(frame, words)

    kept = chunks_of(result, parse_header(result), 0, "test")
    assert [bytes(c.payload) for c in kept] == [bytes(c.payload) for c in chunks if c.part == 0]
    opened = OpenEXR.File(io.BytesIO(result), separate_channels=True)
    assert [part.type() for part in opened.parts] == [OpenEXR.deepscanline, OpenEXR.scanlineimage]
    assert not opened.parts[1].channels["R"].pixels.any()
