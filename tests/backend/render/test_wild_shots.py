"""Whole jobs on files that other programs wrote: kept to the bit, or refused with the frame's name."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.chunks import chunks_of
from voidbridge_backend.exr.header import parse_header, read_header
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import FrameMismatch, UnreadableFrame, UnsupportedFrame

RunShot = Callable[..., Any]


def usable(folder: Path) -> list[Path]:
    """Those that have a picture in them; `test_wild_exr` knows why the others have none."""
    found = []
    for path in sorted(folder.rglob("*.exr")):
        if "Damaged" in path.parts:
            continue
        try:
            choose_picture(read_header(path))
        except UnsupportedFrame:
            continue
        found.append(path)
    return found


def matte_for(frame: reader.Frame) -> tuple[bytes, np.ndarray]:
    """A file with a hole in the middle of the frame's data window, and the hole."""
    window, shown = frame.window, frame.part.display_window
    matte = np.zeros((window.height, window.width), np.float16)
    high, wide = window.height // 2, window.width // 2
    matte[high : high + 8, wide : wide + 12] = 1
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": _corners(window),
        "displayWindow": _corners(shown),
        "pixelAspectRatio": frame.part.pixel_aspect,
    }
    file = io.BytesIO()
    OpenEXR.File(header, {"A": OpenEXR.Channel("A", matte, 1, 1)}, num_threads=0).write(file)
    return file.getvalue(), matte > 0


def _corners(window: Any) -> Any:
    return (
        np.array((window.xmin, window.ymin), np.int32),
        np.array((window.xmax, window.ymax), np.int32),
    )


def test_every_usable_picture_goes_through_a_job_with_all_its_bits(
    wild_exr: Path, run_shot: RunShot
) -> None:
    tried = 0
    for path in usable(wild_exr):
        data = path.read_bytes()
        plate = reader.decode(data)
        matte, hole = matte_for(plate)

        done = run_shot({1001: data}, {1001: matte}, grow=0, soften=0)

        result = reader.decode(done.results[1001])
        for name, before in plate.channels.items():
            kept = ~hole if name in plate.rgb_names else np.ones_like(hole)
            after = result.channels[name]
            assert before.dtype == after.dtype, path.name
            assert before[kept].tobytes() == after[kept].tobytes(), (path.name, name)
        assert np.isfinite(result.rgb()[hole]).all(), path.name
        for index, part in enumerate(plate.header.parts):
            ours = result.header.parts[index].attributes
            said = [a for a in ours if not a.name.startswith("voidbridge/")]
            assert said == list(part.attributes), path.name
            if index != plate.index:
                theirs = chunks_of(data, plate.header, index, "test")
                copies = chunks_of(
                    done.results[1001], parse_header(done.results[1001]), index, "test"
                )
                assert [bytes(c.payload) for c in theirs] == [bytes(c.payload) for c in copies]
        tried += 1
    assert tried >= 20


def test_every_damaged_file_in_a_shot_is_an_error_that_names_role_and_frame(
    wild_exr: Path, run_shot: RunShot, capfd: pytest.CaptureFixture[str]
) -> None:
    good = new_file({name: np.zeros((4, 4), np.float16) for name in "RGB"})
    matte = new_file({"A": np.zeros((4, 4), np.float16)})
    tried = 0
    for path in sorted((wild_exr / "Damaged").iterdir()):
        if not path.is_file():
            continue
        data = path.read_bytes()
        for plates, mattes, said in (
            ({7: good, 8: data}, {7: matte, 8: matte}, r"plate.*\b8\b|frame 8.* plate"),
            ({7: good}, {7: data}, r"matte.*\b7\b|frame 7.* matte"),
        ):
            with pytest.raises((UnreadableFrame, UnsupportedFrame, FrameMismatch)) as failure:
                run_shot(plates, mattes)
            assert re.search(said, failure.value.text), failure.value.text
        tried += 1
    assert tried > 50
