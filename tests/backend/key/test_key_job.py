"""The operation `key` in one process: files of a plate and a hint in, files with layers out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_screen_scene import ScreenFrame, ScreenScene

from voidbridge_backend.engines import registry
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.quality.matte_scores import recomposite_error
from voidbridge_backend.render import key
from voidbridge_backend.render.job import RenderJob
from voidbridge_protocol.errors import (
    BadMatte,
    FrameMismatch,
    NoScreen,
    UnclearLayer,
    UnreadableFrame,
)
from voidbridge_protocol.operations.key import KeySettings
from voidbridge_protocol.wire.messages import FrameFile, Request

LAYERS = {f"{name}.{c}" for name in ("fg", "screen") for c in "RGB"} | {"alpha.A", "A"}
SMALL = ScreenScene(height=60, width=100)


class Heard:
    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


@dataclass(frozen=True)
class Done:
    results: dict[int, reader.Frame]
    provenance: dict[str, Any]


def keyed(
    folder: Path, wanted: range, roles: Mapping[str, Mapping[int, bytes]], **settings: Any
) -> Done:
    files = []
    for role, frames in sorted(roles.items()):
        for frame, data in sorted(frames.items()):
            name = hashlib.sha256(data).hexdigest()
            (folder / name).write_bytes(data)
            files.append(FrameFile(role, frame, name, len(data)))
    chosen = KeySettings(**{"color_space": "ACEScg", **settings})
    request = Request(wanted[0], wanted[-1], chosen, tuple(files), "key")
    results = folder / "results"
    results.mkdir(exist_ok=True)
    order = RenderJob("job", request, lambda sha256: folder / sha256, results)
    provenance = key.run(order, registry.make("key", chosen.engine), Heard(), lambda _: None)
    assert json.loads((results / "provenance.json").read_text()) == provenance
    return Done({f: reader.read(results / f"{f}.exr") for f in wanted}, provenance)


@pytest.fixture(scope="module")
def shot() -> list[ScreenFrame]:
    return [SMALL.frame(number) for number in range(3)]


def plate_file(drawn: ScreenFrame, dtype: Any = np.float32, **more: Any) -> bytes:
    planes = {name: drawn.plate[..., i].astype(dtype) for i, name in enumerate("RGB")}
    return new_file({**planes, **more}, {"artist": "nobody"})


def hint_file(drawn: ScreenFrame) -> bytes:
    return new_file({"A": drawn.hint.astype(np.float16)})


def light(frame: reader.Frame, layer: str) -> np.ndarray[Any, Any]:
    return np.stack([frame.channels[f"{layer}{c}"] for c in "RGB"], axis=-1).astype(np.float32)


def test_layers_recomposite_to_the_plate(shot: list[ScreenFrame], tmp_path: Path) -> None:
    plates = {1001 + n: plate_file(drawn) for n, drawn in enumerate(shot)}
    hints = {1001 + n: hint_file(drawn) for n, drawn in enumerate(shot)}
    done = keyed(tmp_path, range(1001, 1004), {"plate": plates, "hint": hints}, despill=0.0)
    for drawn, result in zip(shot, done.results.values(), strict=True):
        assert set(result.channels) == {"R", "G", "B"} | LAYERS
        alpha = result.channels["alpha.A"]
        parts = alpha, light(result, "fg."), light(result, "screen.")
        assert recomposite_error(drawn.plate, *parts) <= 1e-4
        assert np.array_equal(alpha, result.channels["A"])
        assert np.allclose(light(result, ""), light(result, "fg.") * alpha[..., None], atol=1e-6)
    assert 0 < done.provenance["quality"]["solid"] < 0.6
    assert done.provenance["quality"]["flicker"] > 0


def test_straight_color_is_a_choice(shot: list[ScreenFrame], tmp_path: Path) -> None:
    done = keyed(tmp_path, range(1, 2), {"plate": {1: plate_file(shot[0])}}, alpha_mode="straight")
    result = done.results[1]
    assert np.array_equal(light(result, ""), light(result, "fg."))


def test_everything_else_is_as_the_plate_has_it(shot: list[ScreenFrame], tmp_path: Path) -> None:
    depth = np.linspace(0, 9, 6000, dtype=np.float32).reshape(60, 100)
    depth[0, 0] = np.nan
    ids = np.arange(6000, dtype=np.uint32).reshape(60, 100)
    plate = plate_file(shot[0], np.float16, **{"depth.Z": depth, "id": ids})
    result = keyed(tmp_path, range(1, 2), {"plate": {1: plate}}).results[1]
    before = reader.decode(plate)
    for name in ("depth.Z", "id"):
        assert np.array_equal(
            reader.bits(result.channels[name]), reader.bits(before.channels[name])
        )
    assert result.channels["fg.R"].dtype == np.float16
    assert result.part.strings("artist") == before.part.strings("artist")


def test_a_frame_alone_is_the_frame_of_the_whole_clip(
    shot: list[ScreenFrame], tmp_path: Path
) -> None:
    """With its neighbors as handles and the screen's color given."""
    plates = {1 + n: plate_file(drawn) for n, drawn in enumerate(shot)}
    color = {"screen_color": "0.06 0.42 0.1"}
    whole = keyed(tmp_path, range(1, 4), {"plate": plates}, **color)
    alone = keyed(tmp_path, range(2, 3), {"plate": plates}, **color)
    for name, samples in whole.results[2].channels.items():
        assert np.array_equal(samples, alone.results[2].channels[name])


def test_a_given_clean_screen_is_used(shot: list[ScreenFrame], tmp_path: Path) -> None:
    screen = shot[0].screen
    file = new_file({name: screen[..., i] for i, name in enumerate("RGB")})
    done = keyed(tmp_path, range(1, 2), {"plate": {1: plate_file(shot[0])}, "screen": {7: file}})
    solid = done.results[1].channels["alpha.A"] == 1
    assert np.count_nonzero(solid) > 100
    assert np.allclose(light(done.results[1], "screen.")[solid], screen[solid], atol=1e-6)


def test_a_plate_with_hardly_any_screen_gets_a_warning(
    shot: list[ScreenFrame], tmp_path: Path
) -> None:
    """A close-up: gray costume over all but a corner of the screen."""
    plate = np.full((60, 100, 3), 0.2, np.float32)
    plate[:9, :11] = shot[0].screen[:9, :11]
    file = new_file({name: plate[..., i] for i, name in enumerate("RGB")})
    done = keyed(tmp_path, range(1, 2), {"plate": {1: file}})
    (note,) = [text for text in done.provenance["notes"] if "hardly any" in text]
    assert "hardly any of the plate is screen: 1." in note
    whole = keyed(tmp_path, range(1, 2), {"plate": {1: plate_file(shot[0])}})
    assert not [text for text in whole.provenance["notes"] if "hardly any" in text]


def test_a_screen_of_another_size_is_refused(shot: list[ScreenFrame], tmp_path: Path) -> None:
    file = new_file({name: np.full((30, 50), 0.3, np.float32) for name in "RGB"})
    with pytest.raises(FrameMismatch):
        keyed(tmp_path, range(1, 2), {"plate": {1: plate_file(shot[0])}, "screen": {7: file}})


def test_a_hint_of_another_range_is_refused(shot: list[ScreenFrame], tmp_path: Path) -> None:
    hint = new_file({"A": (shot[0].hint * 255).astype(np.float32)})
    with pytest.raises(BadMatte, match=r"hint frame 1, channel A, goes from 0 to 255"):
        keyed(tmp_path, range(1, 2), {"plate": {1: plate_file(shot[0])}, "hint": {1: hint}})


def test_the_channel_of_a_hint_is_chosen_as_that_of_a_matte(
    shot: list[ScreenFrame], tmp_path: Path
) -> None:
    """An opaque alpha is no hint, and of two channels that hold something none is taken unasked."""
    plate, drawn = {1: plate_file(shot[0])}, shot[0].hint.astype(np.float32)
    alone = keyed(tmp_path, range(1, 2), {"plate": plate, "hint": {1: new_file({"A": drawn})}})
    opaque = new_file({**dict.fromkeys("RGB", drawn), "A": np.ones_like(drawn)})
    found = keyed(tmp_path, range(1, 2), {"plate": plate, "hint": {1: opaque}})
    same = (r.results[1].channels["alpha.A"] for r in (alone, found))
    assert np.array_equal(*same)
    two = new_file({"one.Y": drawn, "two.Y": drawn[::-1].copy()})
    with pytest.raises(UnclearLayer, match=r"the hint's file has 2 mattes.*one\.Y") as refused:
        keyed(tmp_path, range(1, 2), {"plate": plate, "hint": {1: two}})
    assert "--hint-channel" in refused.value.hint


def test_a_damaged_hint_is_named(shot: list[ScreenFrame], tmp_path: Path) -> None:
    whole = hint_file(shot[0])
    damaged = whole[: len(whole) * 2 // 3]
    with pytest.raises(UnreadableFrame, match="hint frame 1"):
        keyed(tmp_path, range(1, 2), {"plate": {1: plate_file(shot[0])}, "hint": {1: damaged}})


def test_a_plate_without_a_screen_is_refused(tmp_path: Path) -> None:
    gray = np.random.default_rng(2).random((60, 100)).astype(np.float32)
    with pytest.raises(NoScreen, match="no green or blue screen"):
        keyed(tmp_path, range(1, 2), {"plate": {1: new_file({"R": gray, "G": gray, "B": gray})}})


def test_the_layer_and_the_hints_channel_are_told(shot: list[ScreenFrame], tmp_path: Path) -> None:
    planes = {f"beauty.{name}": shot[0].plate[..., i] for i, name in enumerate("RGB")}
    roles = {"plate": {1: new_file(planes)}, "hint": {1: hint_file(shot[0])}}
    found = keyed(tmp_path, range(1, 2), roles).provenance
    assert found["plate"] == {"layer": "beauty", "channels": [f"beauty.{c}" for c in "RGB"]}
    assert found["hint"] == {"channel": "A"}
    assert any("the plate's layer beauty is worked on" in note for note in found["notes"])
