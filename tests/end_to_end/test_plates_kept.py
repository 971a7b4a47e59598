"""Everything else of a plate comes back: values outside the matte, channels, windows, attributes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from voidbridge_shots import (
    channels_of,
    echoed,
    exr_bytes,
    header_of,
    make_shot,
    picture,
    same_bits,
    square,
    window,
)
from voidbridge_stage import Finished

from voidbridge_backend.exr.chunks import chunks_of, file_of
from voidbridge_backend.exr.header import Attribute, parse_header

Run = Callable[..., Finished]
HOLE = square() > 0


def strange(height: int = 48, width: int = 64) -> np.ndarray:
    """Every kind of half there is, all over the frame."""
    words = np.random.default_rng(3).integers(0, 65536, (height, width)).astype(np.uint16)
    words[0, :8] = [0x7E00, 0x7C00, 0xFC00, 0x8000, 0x0001, 0x7BFF, 0xFE01, 0x7C01]
    return words.view(np.float16)


def test_no_value_outside_the_matte_is_too_strange_to_come_back(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    plate = {}
    for name in "RGB":
        plate[name] = np.where(HOLE, np.float16(0.5), strange())
    plate["R"][30, :4] = np.float16([60000, -60000, np.inf, -0.0])
    for frame in shot.frames:
        shot.write("plate", frame, plate)
        shot.write("matte", frame, {"A": square()})
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    assert done.code == 0, done.err
    for frame in shot.frames:
        result = channels_of(tmp_path / "out" / f"r.{frame}.exr")
        for name in "RGB":
            assert same_bits(result[name][~HOLE], plate[name][~HOLE])
            assert (result[name][HOLE] == np.float16(0.5)).all()


def test_strange_values_under_the_matte_become_finite(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1002))
    shot.write("plate", 1001, {name: strange() for name in "RGB"})
    shot.write("matte", 1001, {"A": square()})
    done = run(shot, tmp_path / "r.%04d.exr")
    assert done.code == 0, done.err
    result = channels_of(tmp_path / "r.1001.exr")
    for name in "RGB":
        assert np.isfinite(result[name][HOLE]).all()
        assert same_bits(result[name][~HOLE], strange()[~HOLE])


def test_other_channels_come_back_to_the_bit(run: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    for frame in shot.frames:
        plate = picture(frame)
        plate["A"] = strange()
        plate["depth.Z"] = random.normal(1e6, 1e5, (48, 64)).astype(np.float32)
        plate["depth.Z"][0, 0] = np.nan
        plate["id.object"] = random.integers(0, 2**32, (48, 64), np.uint32)
        plate["spec.R"] = strange()
        shot.write("plate", frame, plate)
        shot.write("matte", frame, {"A": square()})
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    assert done.code == 0, done.err
    for frame in shot.frames:
        plate = channels_of(shot.file("plate", frame))
        result = channels_of(tmp_path / "out" / f"r.{frame}.exr")
        assert result.keys() == plate.keys()
        for name, samples in plate.items():
            wanted = echoed(samples, HOLE) if name in ("R", "G", "B") else samples
            assert same_bits(result[name], wanted), name


def test_float_plates_stay_float(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1002))
    random = np.random.default_rng(8)
    plate = {name: random.normal(0.4, 1.0, (48, 64)).astype(np.float32) for name in "RGB"}
    plate["G"][40, 40:43] = [np.nan, 3e38, -np.inf]
    shot.write("plate", 1001, plate)
    shot.write("matte", 1001, {"A": square()})
    done = run(shot, tmp_path / "r.%04d.exr")
    assert done.code == 0, done.err
    result = channels_of(tmp_path / "r.1001.exr")
    for name, samples in plate.items():
        assert same_bits(result[name], echoed(samples, HOLE))


def test_overscan_and_a_negative_origin_stay_where_they_are(run: Run, tmp_path: Path) -> None:
    """The plate reaches 8 pixels beyond its format on each side; the matte has the format's size."""
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    display = window(0, 0, 63, 47)
    for frame in shot.frames:
        plate = picture(frame, 64, 80)
        shot.write("plate", frame, plate, origin=(-8, -8), displayWindow=display)
        shot.write("matte", frame, {"A": square()}, displayWindow=display)
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    assert done.code == 0, done.err
    hole = np.zeros((64, 80), bool)
    hole[8:56, 8:72] = HOLE
    for frame in shot.frames:
        path = tmp_path / "out" / f"r.{frame}.exr"
        assert np.array_equal(header_of(path)["dataWindow"], window(-8, -8, 71, 55))
        assert np.array_equal(header_of(path)["displayWindow"], display)
        for name, samples in channels_of(shot.file("plate", frame)).items():
            assert same_bits(channels_of(path)[name], echoed(samples, hole))


def test_a_matte_may_hold_only_the_part_where_it_is_set(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    for frame in shot.frames:
        shot.write(
            "matte",
            frame,
            {"A": square()[9:23, 18:32].copy()},
            origin=(18, 9),
            displayWindow=window(0, 0, 63, 47),
        )
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    assert done.code == 0, done.err
    for frame in shot.frames:
        result = channels_of(tmp_path / "out" / f"r.{frame}.exr")
        for name, samples in channels_of(shot.file("plate", frame)).items():
            assert same_bits(result[name], echoed(samples, HOLE))


def test_a_plate_smaller_than_its_format_gets_nothing_added(run: Run, tmp_path: Path) -> None:
    """Its data window cuts through the matte; what lies outside of it is nobody's."""
    shot = make_shot(tmp_path / "in", range(1001, 1002))
    shot.write("plate", 1001, picture(1, 20, 30), origin=(0, 0), displayWindow=window(0, 0, 63, 47))
    shot.write("matte", 1001, {"A": square()})
    done = run(shot, tmp_path / "r.%04d.exr")
    assert done.code == 0, done.err
    assert np.array_equal(header_of(tmp_path / "r.1001.exr")["dataWindow"], window(0, 0, 29, 19))
    for name, samples in channels_of(shot.file("plate", 1001)).items():
        found = channels_of(tmp_path / "r.1001.exr")[name]
        assert same_bits(found, echoed(samples, HOLE[:20, :30]))


def test_every_attribute_comes_back_whether_anybody_knows_it_or_not(
    run: Run, tmp_path: Path
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    extra = [
        Attribute("studio/lens", "lensCurve", bytes(range(200))),
        Attribute("timeCode", "timecode", bytes([1, 2, 3, 4, 5, 6, 7, 8])),
        Attribute("comments", "string", "Fassung für Müller".encode()),
        Attribute("focus", "float", b"\x00\x00\xc0\x7f"),
    ]
    for frame in shot.frames:
        data = exr_bytes(picture(frame), compression=OpenEXR.PIZ_COMPRESSION)
        header = parse_header(data)
        listed = [*header.parts[0].attributes, *extra]
        chunks = chunks_of(data, header, 0, "test")
        shot.file("plate", frame).write_bytes(
            file_of(header.version, [listed], chunks, multipart=False)
        )
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    assert done.code == 0, done.err
    for frame in shot.frames:
        plate = parse_header(shot.file("plate", frame).read_bytes()).parts[0]
        result = parse_header((tmp_path / "out" / f"r.{frame}.exr").read_bytes()).parts[0]
        ours = [a for a in result.attributes if a.name.startswith("voidbridge/")]
        assert [a for a in result.attributes if a not in ours] == list(plate.attributes)
        assert ours


def test_every_result_says_where_it_came_from(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    done = run(shot, tmp_path / "out" / "r.%04d.exr", "--seed", 11)
    assert done.code == 0, done.err
    told = done.event("done")
    beside = json.loads((tmp_path / "out" / "r.1001-1002.voidbridge.json").read_text())
    assert told["sidecar"] == str(tmp_path / "out" / "r.1001-1002.voidbridge.json")
    assert beside["job"] == told["job"]
    assert beside["frames"] == [1001, 1002]
    assert beside["engine"]["engine"] == "echo"
    assert beside["settings"]["seed"] == 11
    assert beside["matte"]["kind"] == "matte"
    assert set(beside["sources"]) == {f"{r}/{f}" for r in ("plate", "matte") for f in shot.frames}
    header = header_of(tmp_path / "out" / "r.1002.exr")
    assert header["voidbridge/job"] == told["job"]
    short = json.loads(header["voidbridge/provenance"])
    assert short == {key: beside[key] for key in short}


CODES = {"remove": 0, "overlap": 63, "affected": 127}


@pytest.mark.parametrize("kind", ["codes as halves", "codes over 255", "codes as integers"])
def test_a_quadmask_is_read_by_its_codes(run: Run, tmp_path: Path, kind: str) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004))
    codes = np.full((48, 64), 255)
    codes[10:20, 10:20], codes[10:20, 20:24], codes[20:30, 10:30] = CODES.values()
    for frame in shot.frames:
        if kind == "codes as halves":
            matte = codes.astype(np.float16)
        elif kind == "codes over 255":
            matte = (codes / 255).astype(np.float16)
        else:
            matte = codes.astype(np.uint32)
        shot.write("matte", frame, {"Y": matte})
    done = run(shot, tmp_path / "out" / "r.%04d.exr")
    assert done.code == 0, done.err
    beside = json.loads((tmp_path / "out" / "r.1001-1003.voidbridge.json").read_text())
    assert beside["matte"]["kind"] == "quadmask"
    for frame in shot.frames:
        result = channels_of(tmp_path / "out" / f"r.{frame}.exr")
        for name, samples in channels_of(shot.file("plate", frame)).items():
            assert same_bits(result[name], echoed(samples, codes != 255))


def test_what_the_object_causes_is_a_matte_of_its_own(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003))
    for frame in shot.frames:
        shot.write("matte", frame, {"A": square()})
        shot.write("affected", frame, {"A": square(at=(30, 24))})
    done = run(shot, tmp_path / "out" / "r.%04d.exr", "--affected", shot.affected)
    assert done.code == 0, done.err
    assert done.event("request")["files"] == 6
    both = HOLE | (square(at=(30, 24)) > 0)
    for frame in shot.frames:
        result = channels_of(tmp_path / "out" / f"r.{frame}.exr")
        for name, samples in channels_of(shot.file("plate", frame)).items():
            assert same_bits(result[name], echoed(samples, both))


def test_growth_and_softness_end_where_they_say(run: Run, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1002))
    shot.write("matte", 1001, {"A": square()})
    done = run(shot, tmp_path / "r.%04d.exr", "--grow", 3, "--soften", 4)
    assert done.code == 0, done.err
    rows, columns = np.nonzero(HOLE)
    y, x = np.mgrid[:48, :64]
    outside_y = np.maximum(np.maximum(rows.min() - y, y - rows.max()), 0)
    outside_x = np.maximum(np.maximum(columns.min() - x, x - columns.max()), 0)
    distance = np.hypot(outside_y, outside_x)
    plate = channels_of(shot.file("plate", 1001))
    result = channels_of(tmp_path / "r.1001.exr")
    for name in "RGB":
        changed = result[name] != plate[name]
        assert not changed[distance > 3 + 4 + 1].any()
        assert same_bits(
            result[name][distance <= 2], echoed(plate[name], HOLE | True)[distance <= 2]
        )
