"""The engine from clip to frames, on a tiny model."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.engines import registry
from voidbridge_backend.engines.base import Engine, Pixels
from voidbridge_backend.engines.void import make
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files.weights import PASSES
from voidbridge_backend.engines.void.noise import picture_noise
from voidbridge_backend.engines.void.options import Options, from_folder
from voidbridge_protocol.errors import BadSetting, JobCancelled, ModelMissing
from voidbridge_protocol.operations.remove import RemoveSettings

SMALL = Options(height=32, width=48, window=21, steps=2, fineness=2)
PASS = {passes: RemoveSettings(engine="void", prompt="a table", passes=passes) for passes in (1, 2)}


class Watcher:
    """Remembers what it is told; stops the work at a step."""

    def __init__(self, stop_at: int | None = None, stage: str = "") -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.warnings: list[str] = []
        self._stop_at, self._stage = stop_at, stage

    def step(self, stage: str, done: int, of: int) -> None:
        self.steps.append((stage, done, of))
        here = (
            len(self.steps) if not self._stage else sum(s == self._stage for s, _, _ in self.steps)
        )
        if self._stop_at is not None and here > self._stop_at:
            raise JobCancelled("stopped")

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    @property
    def stages(self) -> list[str]:
        return [stage for stage, _ in itertools.groupby(stage for stage, _, _ in self.steps)]


@pytest.fixture(scope="module")
def void(tiny: Path) -> Void:
    return Void(tiny, "cpu", SMALL)


def removed(engine: Engine, clip: Any, settings: RemoveSettings) -> dict[int, Pixels]:
    return dict(engine.remove(clip, settings, Watcher()))


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("count", [1, 5, 22, 46])
def test_every_frame_with_a_hole_comes_back_once_and_in_order(
    void: Void, small_clip: type, passes: int, count: int
) -> None:
    found = list(void.remove(small_clip(count), PASS[passes], Watcher()))
    assert [frame for frame, _ in found] == list(range(1001, 1001 + count))
    for _, pixels in found:
        assert pixels.shape == (32, 48, 3)
        assert pixels.dtype == np.float32
        assert np.isfinite(pixels).all()


def test_frames_without_a_hole_are_seen_and_not_returned(void: Void, small_clip: type) -> None:
    clip = small_clip(30, hole=range(12, 15))
    assert list(removed(void, clip, PASS[1])) == [1013, 1014, 1015]
    # A window of real frames around the hole, and no frame further away.
    assert set(clip.asked) == set(range(1004, 1025))


def test_a_clip_without_a_hole_costs_nothing(void: Void, small_clip: type) -> None:
    clip, watcher = small_clip(30, hole=range(0)), Watcher()
    assert list(void.remove(clip, PASS[1], watcher)) == []
    assert clip.asked == []
    assert watcher.steps == []


@pytest.mark.parametrize("passes", [1, 2])
def test_the_same_job_gives_the_same_bits_and_another_seed_others(
    tiny: Path, void: Void, small_clip: type, passes: int
) -> None:
    clip = small_clip(6)
    first = removed(void, clip, PASS[passes])
    again = removed(Void(tiny, "cpu", SMALL), clip, PASS[passes])
    assert all(np.array_equal(first[frame], again[frame]) for frame in first)
    other = removed(void, clip, replace(PASS[passes], seed=1))
    assert not np.array_equal(first[1001], other[1001])


def test_the_prompt_the_steps_and_the_second_pass_change_the_result(
    void: Void, small_clip: type
) -> None:
    clip = small_clip(6)
    first = removed(void, clip, PASS[1])[1001]
    for settings in (
        replace(PASS[1], prompt="an old car"),
        replace(PASS[1], steps=3),
        PASS[2],
    ):
        assert not np.array_equal(first, removed(void, clip, settings)[1001])


def test_the_second_pass_s_mask_and_noise_can_be_the_published_ones(
    tiny: Path, small_clip: type, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not full:
        monkeypatch.setattr(picture_noise, "REFERENCE_SIZE", (96, 144))
    clip = small_clip(5)
    ours = removed(Void(tiny, "cpu", SMALL), clip, PASS[2])[1001]
    for options in (
        replace(SMALL, pass2_mask="reference"),
        replace(SMALL, noise="reference", fineness=1),
    ):
        theirs = removed(Void(tiny, "cpu", options), clip, PASS[2])[1001]
        assert np.isfinite(theirs).all()
        assert not np.array_equal(ours, theirs)


def test_plate_and_mask_are_encoded_once_for_both_passes(tiny: Path, small_clip: type) -> None:
    clip, watcher = small_clip(21), Watcher()
    list(Void(tiny, "cpu", SMALL).remove(clip, PASS[2], watcher))
    assert clip.asked == list(clip.frames)
    assert watcher.stages == [
        "loading the model",
        "reading the prompt",
        "encoding the mask",
        "encoding the plate",
        "removing",
        "following the motion",
        "refining",
        "finishing",
    ]


def test_only_what_is_not_there_yet_is_loaded(tiny: Path, small_clip: type) -> None:
    engine, clip = Void(tiny, "cpu", SMALL), small_clip(1)
    loaded = []
    for passes in (1, 1, 2, 1, 2):
        watcher = Watcher()
        list(engine.remove(clip, replace(PASS[passes], steps=1), watcher))
        loaded.append([of for stage, _, of in watcher.steps if stage == "loading the model"])
    assert loaded == [[2, 2], [], [1], [], []]


def test_each_stage_is_counted_to_its_end(void: Void, small_clip: type) -> None:
    watcher = Watcher()
    list(void.remove(small_clip(26), PASS[2], watcher))
    for stage, steps in itertools.groupby(watcher.steps, key=lambda step: step[0]):
        counted = [step for step in steps if step[2]]  # it begins before its steps are counted
        assert len({of for _, _, of in counted}) == 1
        assert [done for _, done, _ in counted] == sorted(done for _, done, _ in counted)
        if stage not in ("loading the model", "reading the prompt"):
            assert counted[-1][1] == counted[-1][2], stage


def test_frames_come_out_before_the_last_is_decoded(void: Void, small_clip: type) -> None:
    watcher = Watcher()
    frames = void.remove(small_clip(21), PASS[1], watcher)
    next(frames)
    assert watcher.steps[-1][0] == "finishing"
    assert watcher.steps[-1][1] < watcher.steps[-1][2]
    assert len(list(frames)) == 20


@pytest.mark.parametrize(
    "stage",
    [
        "encoding the mask",
        "encoding the plate",
        "removing",
        "following the motion",
        "refining",
        "finishing",
    ],
)
def test_a_job_can_be_stopped_in_every_stage_and_the_engine_goes_on(
    void: Void, small_clip: type, stage: str
) -> None:
    clip, short = small_clip(2), replace(PASS[2], steps=1)
    before = removed(void, clip, short)
    with pytest.raises(JobCancelled):
        list(void.remove(clip, short, Watcher(stop_at=1, stage=stage)))
    after = removed(void, clip, short)
    assert all(np.array_equal(before[frame], after[frame]) for frame in before)


def test_an_upright_region_is_seen_upright(tiny: Path, void: Void, small_clip: type) -> None:
    assert void.input_spec(100, 200, PASS[1]).size == (32, 48)
    assert void.input_spec(200, 100, PASS[1]).size == (48, 32)
    assert Void(tiny).input_spec(1080, 1920, PASS[1]).size == (384, 672)
    assert void.input_spec(100, 200, PASS[1]).space == "model"
    upright = removed(void, small_clip(3, height=48, width=32), PASS[1])
    assert upright[1001].shape == (48, 32, 3)


def test_a_second_pass_without_its_weights_is_an_error_that_names_them(
    tiny: Path, tmp_path: Path, small_clip: type
) -> None:
    models = Path(shutil.copytree(tiny, tmp_path / "models"))
    (models / PASSES[2]).unlink()
    engine = Void(models, "cpu", SMALL)
    assert removed(engine, small_clip(3), PASS[1])
    with pytest.raises(ModelMissing, match=r"void_pass2\.safetensors"):
        list(engine.remove(small_clip(3), PASS[2], Watcher()))


def test_the_record_of_a_result_names_networks_options_and_versions(
    void: Void, tiny: Path, small_clip: type
) -> None:
    before = Void(tiny, "cpu", SMALL).describe()
    list(void.remove(small_clip(3), PASS[2], Watcher()))
    said = void.describe()
    assert said == before
    assert json.loads(json.dumps(said)) == said
    assert set(said["models"]) == {"vae", "text encoder", "pass 1", "pass 2"}
    assert said["options"]["pass2_mask"] == "tri"


def test_the_engine_is_made_by_its_name_with_the_folder_s_options(
    tiny: Path, small_clip: type
) -> None:
    engine = registry.make("remove", "void", "cpu", tiny)
    size = engine.input_spec(100, 200, PASS[1]).size
    assert size == (48, 80)
    found = removed(engine, small_clip(3, height=48, width=80), PASS[1])
    assert list(found) == [1001, 1002, 1003]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"heigth": 48}, "heigth"),
        ({"height": 50}, "height is 50"),
        ({"height": "48"}, "not a valid int"),
        ({"window": 25}, "window of 25"),
        ({"overlap": 24, "window": 21}, "overlap by 24"),
        ({"overlap": 12}, "overlap by 12"),
        ({"pass2_mask": "quad"}, "quad"),
        ({"noise": "white"}, "white"),
        ({"degradation": 2}, "degradation is 2"),
        ({"fineness": 3}, "fineness is 3"),
        ({"plan": "huge"}, "huge"),
        ({"precision": "fp8"}, "fp8"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    (tmp_path / "voidbridge.json").write_text(json.dumps(given))
    with pytest.raises(BadSetting, match=said):
        from_folder(tmp_path)


def test_a_folder_that_says_nothing_gets_the_model_s_own_options(tmp_path: Path) -> None:
    assert from_folder(tmp_path) == Options()
    (tmp_path / "voidbridge.json").write_text('{"second_guidance": 3, "plan": "swapped"}')
    assert from_folder(tmp_path) == Options(second_guidance=3.0, plan="swapped")


def test_no_folder_is_an_error() -> None:
    with pytest.raises(ModelMissing):
        make("cpu", None)
