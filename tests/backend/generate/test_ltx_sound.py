"""The sound of `ltx`: as long as the new frames to the sample, joined between runs, and the vocoder's own."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")

from voidbridge_backend.engines.generate_base import MakesSound, Sound
from voidbridge_backend.engines.ltx.engine import PIXELS, Ltx
from voidbridge_backend.engines.ltx.model import StepCount, VideoRun
from voidbridge_backend.engines.ltx.pictures import Fit
from voidbridge_backend.engines.ltx.sound import FADE_S, SoundTrack
from voidbridge_backend.engines.ltx.windows import windows
from voidbridge_backend.formats.wav import is_own_wav, wav
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.generate import GenerateSettings

RATE = 16_000


class Blank:
    """One gray frame, which only gives the format."""

    frames = (0,)
    to_rec709 = np.eye(3)
    pixel_aspect = 1.0
    frames_per_second = 24.0

    def picture(self, frame: int) -> np.ndarray:
        return np.full((45, 70, 3), 0.2, np.float32)


class Quiet:
    def step(self, stage: str, done: int, of: int) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


def of_run(length: int, frame_rate: float, first: float) -> Sound:
    """Sound whose samples are the seconds since the begin of the job, a hundredth each."""
    seconds = first + np.arange(round(length / frame_rate * RATE)) / RATE
    return Sound(np.stack([seconds, -seconds]).astype(np.float32) / 100, RATE)


@pytest.mark.parametrize(
    ("before", "behind", "count"), [(9, 0, 100), (0, 9, 100), (9, 9, 70), (1, 1, 3), (0, 0, 1)]
)
@pytest.mark.parametrize("rate", [24.0, 23.976, 25.0])
def test_the_sound_of_all_runs_is_one_line_without_a_jump(
    before: int, behind: int, count: int, rate: float
) -> None:
    track = SoundTrack(count, rate)
    for window in windows(count, before, behind, 41):
        own = rate * window.speed
        first = window.first / rate - window.picks[0] / own
        track.add(window, of_run(window.length, own, first))
    heard = track.whole().samples
    assert heard.shape == (2, round(count / rate * RATE))
    truth = np.arange(heard.shape[1]) / RATE / 100
    assert np.abs(heard[0] - truth).max() < 1.01 / RATE / 100
    assert np.array_equal(heard[1], -heard[0])


def test_two_runs_go_over_into_each_other() -> None:
    first, second = windows(40, 9, 0, 41)[:2]
    track = SoundTrack(40, 24.0)
    for window, level in ((first, 0.5), (second, -0.5)):
        track.add(window, Sound(np.full((1, RATE * 2), level, np.float32), RATE))
    heard = track.whole().samples[0]
    join, fade = round(second.first / 24 * RATE), round(FADE_S * RATE)
    assert (heard[: join - fade] == 0.5).all()
    assert (heard[join : round(second.stop / 24 * RATE)] == -0.5).all()
    steps = np.diff(heard[join - fade - 1 : join + 1])
    assert np.abs(steps).max() < 2 / fade


def test_sound_that_ends_early_is_filled_with_silence() -> None:
    (window,) = windows(5, 0, 0, 41)
    track = SoundTrack(5, 25.0)
    track.add(window, Sound(np.ones((2, 1000), np.float32), RATE))
    heard = track.whole().samples
    assert heard.shape == (2, 3200)
    assert (heard[:, :1000] == 1).all()
    assert (heard[:, 1000:] == 0).all()


def test_the_sound_is_what_the_vocoder_makes_of_the_same_run(tiny_ltx: Path) -> None:
    engine = Ltx(tiny_ltx, "cpu", frames=41)
    assert isinstance(engine, MakesSound)
    chosen = GenerateSettings(
        engine="ltx", mode="text", schedule="full", steps=1, prompt="rain", seed=4, sound=True
    )
    frames = dict(engine.generate(Blank(), [1, 2, 3], chosen, Quiet()))
    assert list(frames) == [1, 2, 3]
    run = VideoRun(9, *Fit.of(45, 70, 1.0, PIXELS).model, 24.0, 4)
    _, own = engine._model.video(run, chosen, StepCount(Quiet(), 1))
    heard = engine.sound()
    assert heard.rate == own.rate == RATE
    length = round(3 / 24 * RATE)
    assert heard.samples.shape == (own.samples.shape[0], length)
    assert own.samples.any()
    there = own.samples[:, :length]
    assert np.array_equal(heard.samples[:, : there.shape[1]], there)


def test_a_file_has_the_samples_and_the_mark(tmp_path: Path) -> None:
    samples = bytes(range(18))
    data = wav(samples, 2, 24_000)
    with wave.open(io.BytesIO(data)) as found:
        assert found.getparams()[:4] == (2, 3, 24_000, 3)
        assert found.readframes(3) == samples
    path = tmp_path / "a.wav"
    assert not is_own_wav(path)
    path.write_bytes(data)
    assert is_own_wav(path)
    with wave.open(str(path), "wb") as other:
        other.setparams((2, 3, 24_000, 0, "NONE", ""))
        other.writeframes(samples)
    assert not is_own_wav(path)


@pytest.mark.parametrize("words", [{"engine": "morph"}, {"engine": "ltx", "mode": "hdr"}])
def test_sound_that_nothing_makes_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(BadSetting, match="makes no sound"):
        GenerateSettings(sound=True, **words)
