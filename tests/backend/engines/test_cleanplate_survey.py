"""A range of a shot with the survey of the whole has its bits, and looks at the frames that it needs alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cleanplate_shots import Shot, Watch, across, pan, still

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.engines.cleanplate.survey import is_survey, packed, unpacked
from voidbridge_protocol.errors import BadSurvey
from voidbridge_protocol.operations.remove import RemoveSettings

SETTINGS = RemoveSettings(grow=0, soften=0)
THIS = {"plate files": "a", "matte files": "b", "--grow": "c"}


class Counted(Shot):
    decoded = 0

    def plate(self, frame: int) -> Pixels:
        self.decoded += 1
        return super().plate(frame)


class Cut(Counted):
    """Another scene from the seventh frame on, between bars, each of its pictures twice."""

    def truth(self, frame: int) -> Pixels:
        light = super().truth(frame if frame < self.first + 6 else frame - frame % 2)
        light = light if frame < self.first + 6 else np.ascontiguousarray(light[:, ::-1])
        light[:9] = light[-9:] = 0
        return light


@pytest.mark.parametrize(
    "shot",
    [
        lambda: Counted(9, pan, lambda n: (25.0 + 6 * n, 48.0)),
        lambda: Cut(9, still, across),
        lambda: Counted(4, still, lambda n: None),
    ],
    ids=["a pan", "a cut between bars", "no hole"],
)
def test_ranges_with_the_survey_have_the_bits_of_the_whole_shot(
    shot: Callable[[], Counted],
) -> None:
    whole = dict(Cleanplate().remove(shot(), SETTINGS, Watch()))
    data = Cleanplate().survey(shot(), SETTINGS, Watch(), THIS)
    assert packed(unpacked(data, THIS), THIS) == data
    engine, found, frames = Cleanplate(), dict[int, Pixels](), list(shot().frames)
    engine.use_survey(data, THIS)
    for part in (frames[: len(frames) // 3], frames[len(frames) // 3 :]):
        clip, watch = shot(), Watch()
        found |= dict(engine.remove(clip, SETTINGS, watch, part))
        assert "camera" not in {stage for stage, _, _ in watch.steps}
    assert found.keys() == whole.keys()
    assert all(np.array_equal(found[frame], whole[frame]) for frame in whole)


def test_a_range_with_the_survey_decodes_few_frames_and_the_next_job_has_none() -> None:
    shot = Counted(30, still, lambda n: (25.0 + 9 * n, 48.0) if n < 3 else None)
    data = Cleanplate().survey(shot, SETTINGS, Watch(), THIS)
    assert shot.decoded > 30
    engine, decoded = Cleanplate(), list[int]()
    for survey in (data, None):
        shot.decoded = 0
        engine.use_survey(survey, THIS)
        list(engine.remove(shot, SETTINGS, Watch(), range(1001, 1002)))
        decoded.append(shot.decoded)
    assert decoded[1] >= decoded[0] + 30


def changed(data: bytes, name: str, array: np.ndarray, **how: int) -> bytes:
    """The archive with another array of this name."""
    file, member = io.BytesIO(), io.BytesIO()
    np.save(member, array)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", **how) as new:
        for one in old.namelist():
            new.writestr(one, member.getvalue() if one == f"{name}.npy" else old.read(one))
    return file.getvalue()


def told(data: bytes, key: str, value: object) -> bytes:
    """The archive with another value in its head."""
    with np.load(io.BytesIO(data)) as found:
        head = {**json.loads(found["head"].tobytes()), key: value}
    return changed(data, "head", np.frombuffer(json.dumps(head).encode(), np.uint8))


def encrypted(data: bytes) -> bytes:
    """The archive, whose list says that its first file is encrypted."""
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + bytes([data[at] | 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"", "cannot be read"),
        (lambda data: b"PK" + bytes(5000), "cannot be read"),
        (lambda data: data[: len(data) // 2], "cannot be read"),
        (lambda data: changed(data, "places", np.array([{}])), "cannot be read"),
        (lambda data: changed(data, "ids", np.zeros(9, np.int32), compression=8), "is compressed"),
        (lambda data: changed(data, "ids", np.zeros(9, np.int32)), "points are not all there"),
        (lambda data: changed(data, "places", np.full((3, 3, 3), np.nan)), "no finite 3 x 3"),
        (lambda data: changed(data, "holes", np.zeros(1, np.uint8)), "is damaged"),
        (lambda data: changed(data, "head", np.zeros(1, np.uint8)), "cannot be read"),
        (
            lambda data: changed(data, "head", np.full(100_000, ord("["), np.uint8)),
            "cannot be read",
        ),
        (lambda data: told(data, "box", [1e400] * 4), "is damaged"),
        (lambda data: told(data, "mixes", [[1, 2, 3, 0.5]]), "is damaged"),
        (lambda data: data.replace(b"{'descr'", b"{'''escr"), "cannot be read"),
        (encrypted, "cannot be read"),
        (
            lambda data: data.replace(b"voidbridge survey 3", b"voidbridge survey 0"),
            "cannot be read",
        ),
    ],
)
def test_a_survey_that_is_none_is_refused(
    change: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    data = Cleanplate().survey(Shot(3, still, across), SETTINGS, Watch(), THIS)
    with pytest.raises(BadSurvey, match=said):
        Cleanplate().use_survey(change(data), THIS)
    (tmp_path / "s.npz").write_bytes(change(data))
    assert is_survey(tmp_path / "s.npz") in (True, False)
    with pytest.raises(BadSurvey, match=r"differs from this job in: matte files, --grow$"):
        Cleanplate().use_survey(data, {**THIS, "matte files": "x", "--grow": "y"})
    for value, refused in (([], "cannot be read"), ({}, "in: plate files, matte files, --grow$")):
        with pytest.raises(BadSurvey, match=refused):
            Cleanplate().use_survey(told(data, "fits", value), THIS)
    with pytest.raises(BadSurvey, match="another version"):
        Cleanplate().use_survey(told(data, "format", "voidbridge survey 2"), THIS)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("frames", [7, 8, 9], "the survey's shot has the frames 7-9, this job's 1001-1003"),
        (
            "box",
            [0, 0, 900, 900],
            r"picture goes from \(0, 0\) to \(900, 900\), the plate's is 160x96",
        ),
        ("size", [90, 160], "the survey's camera saw 160x90, of a picture of 160x96"),
        ("placed", [1001, 7, 1003], "where the camera was in 1 of 3 frames: 1002"),
        ("hole", [48, 320], "the survey's holes are 320x48, this shot's 160x96"),
        ("exposure", 0, "is damaged: its exposure is 0"),
        ("repeats", ["x"], "is damaged"),
    ],
)
def test_a_survey_of_another_shot_says_what_differs(key: str, value: object, said: str) -> None:
    engine, shot = Cleanplate(), Shot(3, still, across)
    data = Cleanplate().survey(shot, SETTINGS, Watch(), THIS)

    def use() -> None:
        engine.use_survey(told(data, key, value), THIS)
        list(engine.remove(shot, SETTINGS, Watch(), [1001]))

    with pytest.raises(BadSurvey, match=said):
        use()


def test_points_and_motions_that_no_survey_has_are_refused() -> None:
    data = Cleanplate().survey(Shot(3, still, across), SETTINGS, Watch(), THIS)
    with np.load(io.BytesIO(data)) as found:
        ids, places = found["ids"], found["places"]
    for name, array in (("ids", np.zeros_like(ids)), ("places", np.zeros_like(places))):
        with pytest.raises(BadSurvey, match="is damaged"):
            Cleanplate().use_survey(changed(data, name, array), THIS)
