"""The engine `ltx` with tiny random networks: each mode, odd sizes, exact lengths, cancel, the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("diffusers")

import torch

from voidbridge_backend.engines import registry
from voidbridge_backend.engines.ltx import model, weights
from voidbridge_backend.engines.ltx.engine import Ltx, _Gap, unbroken
from voidbridge_backend.engines.ltx.model import STAGE, eight_bits
from voidbridge_backend.engines.ltx.pictures import Fit
from voidbridge_backend.engines.ltx.terms import TERMS
from voidbridge_backend.engines.ltx.tiny import make_tiny
from voidbridge_backend.engines.ltx.windows import windows
from voidbridge_protocol.errors import BadSetting, JobCancelled, ModelMissing, TermsNotAccepted
from voidbridge_protocol.operations.generate import GenerateSettings

HEIGHT, WIDTH = 45, 70
Picture = NDArray[np.float32]


class Ramp:
    """Footage whose brightness rises from left to right and with time."""

    to_rec709 = np.eye(3)
    pixel_aspect = 1.0
    frames_per_second = 24.0

    def __init__(self, frames: Sequence[int]) -> None:
        self.frames = frames

    def picture(self, frame: int) -> Picture:
        assert frame in self.frames
        row = np.linspace(0.1, 0.4, WIDTH, dtype=np.float32) + np.float32(0.004 * frame)
        return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)))


class Watch:
    def __init__(self, cancel_at: int | None = None) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.warnings: list[str] = []
        self._cancel_at = cancel_at

    def step(self, stage: str, done: int, of: int) -> None:
        self.steps.append((stage, done, of))
        if stage == STAGE and done == self._cancel_at:
            raise JobCancelled("enough")

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def engine(tiny_ltx: Path) -> Ltx:
    return Ltx(tiny_ltx, "cpu", frames=41)


def settings(mode: str, **words: Any) -> GenerateSettings:
    chosen = {"schedule": "full", "steps": 2, "prompt": "a red ball", **words}
    return GenerateSettings(engine="ltx", mode=mode, **chosen)


def made(
    engine: Ltx, known: Sequence[int], frames: Sequence[int], chosen: GenerateSettings
) -> dict[int, Picture]:
    found = dict(engine.generate(Ramp(known), frames, chosen, Watch()))
    assert list(found) == list(frames)
    for picture in found.values():
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert picture.dtype == np.float32
        assert np.isfinite(picture).all()
    return found


BEFORE, BEHIND = range(1, 17), range(100, 116)


@pytest.mark.parametrize("count", [1, 8, 9, 60])
@pytest.mark.parametrize(
    ("mode", "known", "first"),
    [
        ("text", range(16, 17), 17),
        ("from-frame", range(16, 17), 17),
        ("extend", BEFORE, 17),
        ("extend", BEHIND, None),
        ("bridge", (*BEFORE, *BEHIND), None),
        ("bridge", (16, 100), None),
    ],
)
def test_a_mode_makes_exactly_the_frames_that_are_asked_for(
    engine: Ltx, mode: str, known: Sequence[int], first: int | None, count: int
) -> None:
    first = first or 100 - count
    made(engine, known, range(first, first + count), settings(mode, steps=1, schedule="full"))


def test_the_same_job_gives_the_same_bits_and_another_seed_gives_others(engine: Ltx) -> None:
    known = (*BEFORE, *BEHIND)
    frames = range(88, 100)
    one = made(engine, known, frames, settings("retake", seed=5))
    again = made(engine, known, frames, settings("retake", seed=5))
    other = made(engine, known, frames, settings("retake", seed=6))
    assert all(np.array_equal(one[frame], again[frame]) for frame in frames)
    assert not any(np.array_equal(one[frame], other[frame]) for frame in frames)


def test_words_decide_the_picture(engine: Ltx) -> None:
    one, other = (
        made(engine, [16], range(17, 20), settings("text", prompt=words))
        for words in ("a red ball", "the car in rain")
    )
    assert not np.array_equal(one[18], other[18])


def test_a_bridge_meets_the_tone_of_both_sides(engine: Ltx) -> None:
    """Random networks draw nonsense; the join alone gives its ends the plate's brightness."""
    found = made(engine, (*BEFORE, *BEHIND), range(88, 100), settings("bridge"))
    ramp = Ramp((*BEFORE, *BEHIND))
    for frame, known in ((88, 16), (99, 100)):
        assert found[frame].mean() == pytest.approx(ramp.picture(known).mean(), abs=0.06)
    assert found[99].mean() - found[88].mean() > 0.2


def test_the_distilled_schedule_and_the_upsampler_make_the_same_size(engine: Ltx) -> None:
    small = Ltx(engine._model.models, "cpu", frames=41, pixels=64 * 64)
    watch = Watch()
    chosen = settings("extend", schedule="distilled", upscale=True)
    found = dict(small.generate(Ramp(BEFORE), range(17, 22), chosen, watch))
    assert found[17].shape == (HEIGHT, WIDTH, 3)
    assert (STAGE, 11, 11) in watch.steps
    assert "steps and negative_prompt are for the schedule full, and are not used" in watch.warnings


def test_hdr_returns_linear_light_for_every_frame_of_the_plate(engine: Ltx) -> None:
    frames = range(1, 60)
    found = made(engine, frames, frames, settings("hdr", steps=1))
    again = made(engine, frames, frames, settings("hdr", steps=1))
    assert all(np.array_equal(found[frame], again[frame]) for frame in frames)
    assert max(float(picture.max()) for picture in found.values()) > 1


def test_hdr_depends_on_the_plate(engine: Ltx) -> None:
    one = made(engine, range(1, 4), range(1, 4), settings("hdr"))
    other = made(engine, range(51, 54), range(51, 54), settings("hdr"))
    assert not np.allclose(one[1], other[51])


def test_a_cancel_inside_a_step_ends_the_job_and_the_engine_stays_usable(engine: Ltx) -> None:
    watch = Watch(cancel_at=1)
    with pytest.raises(JobCancelled):
        list(engine.generate(Ramp(BEFORE), range(17, 26), settings("extend", steps=3), watch))
    assert watch.steps[-1] == (STAGE, 1, 3)
    first = Watch(cancel_at=0)
    with pytest.raises(JobCancelled):
        list(engine.generate(Ramp(BEFORE), range(17, 26), settings("extend"), first))
    made(engine, BEFORE, range(17, 26), settings("extend"))


def test_progress_rises_to_its_total(engine: Ltx) -> None:
    watch = Watch()
    list(engine.generate(Ramp(BEFORE), range(17, 97), settings("extend"), watch))
    done = [done for stage, done, _ in watch.steps if stage == STAGE]
    assert done == sorted(done)
    assert (STAGE, 6, 6) in watch.steps


def test_locked_frames_reach_the_model_as_eight_bits_of_their_own_codes() -> None:
    frames = [np.full((64, 64, 3), value, np.float32) for value in (0.0, 0.5, 1.2)]
    condition = model.Lock(frames, 3).condition()
    assert condition.index == 3
    assert condition.crf == 0
    assert condition.frames.dtype == np.uint8
    assert sorted(np.unique(condition.frames)) == [0, 128, 255]


def test_a_lock_at_the_begin_keeps_its_latents_whatever_the_seed(engine: Ltx) -> None:
    fit = Fit.of(HEIGHT, WIDTH, 1.0, 768 * 512)
    ramp = Ramp(BEFORE)
    lock = model.Lock([fit.to_model(ramp.picture(frame)) for frame in range(8, 17)], 0)
    chosen, latents = settings("extend"), []
    for seed in (1, 2):
        run = model.VideoRun(33, *fit.model, 24.0, seed, [lock])
        engine._model.load("condition", run, chosen, Watch())
        words = engine._model._words(run, chosen, model.StepCount(Watch(), 2))
        latents.append(engine._model._pipeline(**words, output_type="latent").frames[0].numpy())
    one, other = latents
    assert one.shape[1] == 5
    assert np.abs(one[:, :2] - other[:, :2]).max() < 1e-4
    assert np.abs(one[:, 2:] - other[:, 2:]).mean() > 0.1


def test_a_retake_keeps_the_latents_behind_it_whatever_the_seed(engine: Ltx) -> None:
    fit = Fit.of(HEIGHT, WIDTH, 1.0, 768 * 512)
    known = [frame for frame in range(40) if frame not in range(9, 14)]
    chosen, latents, videos = settings("retake"), [], []
    gap = _Gap.of(Ramp(known), range(9, 14), chosen, fit)
    (window,) = windows(5, len(gap.before), len(gap.behind), 41)
    # Nine frames are locked, five made anew with three known ones in the same latent, and eight kept behind them.
    assert (window.head, window.skipped, window.tail_at, window.latent) == (9, 3, 17, 3)
    for seed in (1, 2):
        run = gap.run(window, seed)
        assert [lock.latent for lock in run.locks] == [0]
        engine._model.load("condition", run, chosen, Watch())
        videos.append(engine._model.video(run, chosen, model.StepCount(Watch(), 2))[0])
        words = engine._model._words(run, chosen, model.StepCount(Watch(), 2))
        latents.append(engine._model._pipeline(**words, output_type="latent").frames[0].numpy())
    one, other = latents
    assert one.shape[1] == 5
    kept = [0, 1, 3]
    assert np.abs(one[:, kept] - other[:, kept]).max() < 1e-4
    assert np.abs(one[:, [2, 4]] - other[:, [2, 4]]).mean() > 0.1
    pipeline = engine._model._pipeline
    whole = torch.from_numpy(eight_bits(gap._whole(window))).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.inference_mode():
        truth = pipeline.vae.encode(whole.float()).latent_dist.mode()[0].numpy()
    assert np.allclose(one[:, kept], truth[:, kept], atol=1e-3)


def test_what_is_kept_in_one_run_is_not_kept_in_the_next(engine: Ltx) -> None:
    known = [frame for frame in range(40) if frame not in range(9, 14)]
    made(engine, known, range(9, 14), settings("retake"))
    again = made(engine, BEFORE, range(17, 19), settings("extend"))
    fresh = made(
        Ltx(engine._model.models, "cpu", frames=41), BEFORE, range(17, 19), settings("extend")
    )
    assert all(np.array_equal(again[frame], fresh[frame]) for frame in again)


def test_frames_beyond_a_gap_in_the_plate_are_not_taken_for_neighbors() -> None:
    assert unbroken([16, 15, 14, 9, 8]) == [16, 15, 14]
    assert unbroken([]) == []


def test_text_needs_a_prompt_and_hdr_takes_no_upscale(engine: Ltx) -> None:
    with pytest.raises(BadSetting, match="text needs a prompt"):
        made(engine, [1], [2], settings("text", prompt=""))
    with pytest.raises(BadSetting, match="not take upscale"):
        made(engine, [1], [1], settings("hdr", upscale=True))


def test_without_weights_the_error_names_morph(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"model_index\.json is not there") as told:
        registry.make("generate", "ltx", models=tmp_path)
    assert "--engine morph" in told.value.hint


def test_a_part_that_lacks_or_is_a_pickle_is_named(tmp_path: Path) -> None:
    make_tiny(tmp_path)
    part = tmp_path / weights.BASE / "vae"
    (found,) = part.glob("*.safetensors")
    found.unlink()
    with pytest.raises(ModelMissing, match="lacks vae"):
        weights.require(tmp_path)
    (part / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelMissing, match="pickles are not opened"):
        weights.require(tmp_path)


def test_terms_are_accepted_once_for_a_models_folder(tiny_ltx: Path, tmp_path: Path) -> None:
    (tmp_path / weights.BASE).symlink_to(tiny_ltx / weights.BASE)
    with pytest.raises(TermsNotAccepted, match="nobody has accepted the terms of LTX-2"):
        registry.make("generate", "ltx", models=tmp_path)
    TERMS.accept(tmp_path, date(2026, 11, 29))
    assert registry.make("generate", "ltx", models=tmp_path).name == "ltx"


def test_hdr_without_its_lora_is_refused(tiny_ltx: Path, tmp_path: Path) -> None:
    (tmp_path / weights.BASE).symlink_to(tiny_ltx / weights.BASE)
    with pytest.raises(ModelMissing, match="hdr needs its LoRA"):
        made(Ltx(tmp_path, "cpu"), [1], [1], settings("hdr"))


def test_the_record_names_the_weights(engine: Ltx) -> None:
    found = engine.describe()
    assert found["network"] == "LTX-2"
    assert {Path(name).parts[0] for name in found["models"]} == {*weights.NETWORKS}


def test_eight_bits_change_the_picture_and_a_note_says_so(engine: Ltx) -> None:
    watch = Watch()
    chosen = settings("extend", precision="fp8")
    found = dict(engine.generate(Ramp(BEFORE), range(17, 20), chosen, watch))
    full = made(engine, BEFORE, range(17, 20), settings("extend"))
    assert not np.array_equal(found[18], full[18])
    assert any("8 bits, which is not lossless" in text for text in watch.warnings)
