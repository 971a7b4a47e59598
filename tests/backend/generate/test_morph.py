"""The engine `morph` on drawn shots: frames left out and made again, ends carried on, the same bits twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import FrameBox, apply, shift
from voidbridge_backend.engines.morph.engine import Morph
from voidbridge_backend.engines.morph.path import Path
from voidbridge_protocol.errors import EngineFailed, JobCancelled
from voidbridge_protocol.operations.generate import GenerateSettings

HEIGHT, WIDTH = 120, 212
Picture = NDArray[np.float32]


class Drawn:
    """A drawn shot: `engines.generate_base.GapClip` of some of its frames."""

    def __init__(self, draw: Callable[[int], Picture], frames: Sequence[int]) -> None:
        self.frames = frames
        self.picture = draw


class Watch:
    def __init__(self, cancel_at: int | None = None) -> None:
        self.warnings: list[str] = []
        self._cancel_at = cancel_at

    def step(self, stage: str, done: int, of: int) -> None:
        if done == self._cancel_at:
            raise JobCancelled("enough")

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def made(footage: Drawn, frames: Sequence[int], motion: str = "continue") -> dict[int, Picture]:
    return dict(Morph().generate(footage, frames, GenerateSettings(motion=motion), Watch()))


def texture(seed: int, height: int, width: int, blur: float = 1.5) -> Picture:
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.asarray((soft - soft.min()) / np.ptp(soft), np.float32)


WORLD = texture(1, 300, 500)
BALL = texture(2, 24, 24, 1.0) * np.float32(0.5) + np.float32([1.2, 0.5, 0.4])


def pan(frame: int) -> Picture:
    """A camera that speeds up, before a wall."""
    x, y = 40 + 3.0 * frame + 0.25 * frame**2, 60 + 1.5 * frame
    view = np.array([[1, 0, x], [0, 1, y]], np.float64)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(WORLD, view, (WIDTH, HEIGHT), flags=flags), np.float32)


def throw(frame: int) -> Picture:
    """A ball that flies farther than its own width in every frame, before a soft still wall."""
    picture = np.full((HEIGHT, WIDTH, 3), 0.2, np.float32)
    left = 4 + 30 * frame
    picture[50:74, left : left + 24] = BALL
    return picture


def roll(frame: int) -> Picture:
    """The ball with a long shadow on both sides, so that its two places and the shadows touch each other."""
    picture = np.full((HEIGHT, WIDTH, 3), 0.2, np.float32)
    left = 6 + 34 * frame
    picture[60:74, max(left - 22, 0) : left + 46] = 0.15
    picture[50:74, left : left + 24] = BALL
    return picture


def mean_psnr(pictures: dict[int, Picture], truth: Callable[[int], Picture]) -> float:
    errors = [np.square(picture - truth(frame)).mean() for frame, picture in pictures.items()]
    return float(np.mean([-10 * np.log10(error) for error in errors]))


def dissolve(frame: int, before: int, behind: int, draw: Callable[[int], Picture]) -> Picture:
    share = (frame - before) / (behind - before)
    return np.asarray(draw(before) * (1 - share) + draw(behind) * share, np.float32)


def farneback(frame: int, before: int, behind: int, draw: Callable[[int], Picture]) -> Picture:
    """The rival: both frames warped by OpenCV's dense flow, and mixed."""
    share = np.float32((frame - before) / (behind - before))
    one, other = draw(before), draw(behind)
    grey = [np.uint8(np.clip(p.mean(-1) * 255, 0, 255)) for p in (one, other)]
    flow = cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 5, 25, 3, 7, 1.5, 0)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    fetched = [
        cv2.remap(p, x + s * flow[..., 0], y + s * flow[..., 1], cv2.INTER_CUBIC)
        for p, s in ((one, -share), (other, 1 - share))
    ]
    return np.asarray(fetched[0] * (1 - share) + fetched[1] * share, np.float32)


@pytest.mark.parametrize("every", [2, 4, 8])
def test_frames_left_out_of_a_pan_come_back_closer_than_by_other_means(every: int) -> None:
    lacking = [frame for frame in range(1, 9) if frame % every == 0][:2]
    footage = Drawn(pan, [frame for frame in range(10) if frame not in lacking])
    ours = mean_psnr(made(footage, lacking), pan)
    for rival in (dissolve, farneback):
        theirs = {frame: rival(frame, frame - 1, frame + 1, pan) for frame in lacking}
        assert ours > mean_psnr(theirs, pan) + 2
    assert ours > 32


def test_the_camera_keeps_its_speed_at_both_joins() -> None:
    known = [0, 1, 6, 7]
    footage = Drawn(pan, known)
    gap = made(footage, range(2, 6))
    straight = {frame: picture for frame, picture in made(Drawn(pan, [1, 6]), range(2, 6)).items()}
    # The camera speeds up: with a straight path at a steady speed the gap's frames lag behind.
    assert mean_psnr(gap, pan) > mean_psnr(straight, pan) + 1


def test_joins_flicker_no_more_than_the_shot_itself() -> None:
    known = [0, 1, 2, 6, 7, 8]
    result = {frame: pan(frame) for frame in known} | made(Drawn(pan, known), range(3, 6))
    for at in (2, 3, 5, 6):
        ours, own = (
            float(np.square(draw(at - 1) - 2 * draw(at) + draw(at + 1)).mean() ** 0.5)
            for draw in (result.__getitem__, pan)
        )
        assert ours <= 1.2 * own, at


def test_an_object_that_flies_farther_than_its_size_is_one_object_in_between() -> None:
    footage = Drawn(throw, [0, 1, 3, 4])
    picture = made(footage, [2])[2]
    ours = mean_psnr({2: picture}, throw)
    assert ours > mean_psnr({2: dissolve(2, 1, 3, throw)}, throw) + 10
    red = picture[..., 0] > 0.5
    columns = np.flatnonzero(red[50:74].mean(0) > 0.5)
    assert abs(columns.min() - 64) <= 2
    assert abs(columns.max() - 87) <= 2


@pytest.mark.parametrize("known", [[0, 1, 3, 4, 5], [1, 3]])
def test_an_object_whose_shadow_reaches_its_next_place_is_one_object(known: list[int]) -> None:
    ours = mean_psnr(made(Drawn(roll, known), [2]), roll)
    assert ours > 80
    assert ours > mean_psnr({2: dissolve(2, 1, 3, roll)}, roll) + 10


def test_a_path_meets_both_ends_and_its_tangents() -> None:
    box = FrameBox(0, 0, 100, 50)
    corners = box.corners()
    start, end = np.full((4, 2), 4.0), np.full((4, 2), 12.0)
    path = Path(box, shift(8, 8), start, end)
    assert np.allclose(apply(path.at(0), corners), corners, atol=1e-3)
    assert np.allclose(apply(path.at(1), corners), corners + 8, atol=1e-3)
    step = 1e-3
    first = (apply(path.at(step), corners) - corners) / step
    last = (corners + 8 - apply(path.at(1 - step), corners)) / step
    assert np.allclose(first, 4, atol=0.1)
    assert np.allclose(last, 12, atol=0.1)


def test_a_held_frame_is_the_last_one_to_the_bit() -> None:
    result = made(Drawn(pan, [3, 4, 5]), [6, 7], "hold")
    assert all(np.array_equal(picture, pan(5)) for picture in result.values())


@pytest.mark.parametrize(("frames", "wanted"), [((3, 4, 5), 6), ((5, 6, 7), 4)])
def test_a_pan_goes_on_beyond_either_end(frames: tuple[int, ...], wanted: int) -> None:
    picture = made(Drawn(pan, frames), [wanted])[wanted]
    inside = slice(20, -20), slice(20, -20)
    end = frames[-1] if wanted > frames[-1] else frames[0]
    carried = np.square(picture - pan(wanted))[inside].mean()
    assert carried < np.square(pan(end) - pan(wanted))[inside].mean() / 8


def test_what_no_frame_shows_is_told_with_the_worst_frame() -> None:
    watch = Watch()
    dict(Morph().generate(Drawn(pan, [4, 5]), range(6, 12), GenerateSettings(), watch))
    assert len(watch.warnings) == 1
    assert "frame 11" in watch.warnings[0]
    assert "mirrored" in watch.warnings[0]


def test_the_same_footage_gives_the_same_bits() -> None:
    footage = Drawn(pan, [0, 1, 4, 5])
    one, other = made(footage, [2, 3]), made(footage, [2, 3])
    assert all(np.array_equal(one[frame], other[frame]) for frame in (2, 3))


def test_light_above_one_is_neither_clamped_nor_lost() -> None:
    bright = made(Drawn(lambda frame: pan(frame) * 40, [0, 1, 3, 4]), [2])[2]
    assert bright.max() > 30
    assert mean_psnr({2: bright / 40}, pan) > 32


def test_settings_of_a_model_are_told_and_change_nothing() -> None:
    footage, watch = Drawn(pan, [0, 2]), Watch()
    settings = GenerateSettings(prompt="rain", seed=3, lora="hero:0.8")
    found = dict(Morph().generate(footage, [1], settings, watch))
    (note,) = watch.warnings
    assert note.endswith("so these settings change nothing: prompt, seed, lora")
    np.testing.assert_array_equal(found[1], made(footage, [1])[1])


def test_a_cancel_is_followed_before_the_next_frame() -> None:
    watch = Watch(cancel_at=1)
    frames = Morph().generate(Drawn(pan, [0, 1, 4, 5]), [2, 3], GenerateSettings(), watch)
    assert next(frames)[0] == 2
    with pytest.raises(JobCancelled):
        next(frames)


def test_without_any_footage_nothing_is_made() -> None:
    with pytest.raises(EngineFailed, match="no photographed frame"):
        made(Drawn(pan, []), [1])


@pytest.mark.parametrize("size", [(1, 1), (9, 31), (37, 53)])
def test_odd_and_tiny_sizes_are_made_too(size: tuple[int, int]) -> None:
    def small(frame: int) -> Picture:
        return np.ascontiguousarray(pan(frame)[: size[0], : size[1]])

    picture = made(Drawn(small, [0, 1, 3]), [2])[2]
    assert picture.shape == (*size, 3)
    assert np.isfinite(picture).all()


PEAKS = """
import json
import numpy as np
from voidbridge_backend.engines.morph.engine import Morph
from voidbridge_protocol.operations.generate import GenerateSettings

world = np.kron(np.random.default_rng(1).random((45, 80, 3), np.float32), np.ones((8, 8, 1), np.float32))

class Pan:
    frames = range(6)
    def picture(self, frame):
        return np.ascontiguousarray(world[:270, 4 * frame : 480 + 4 * frame])

class Watch:
    step = warn = lambda *words: None

def peak():
    # Not ru_maxrss: Linux counts the process that started this one in it.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

peaks = []
for count in (25, 25, 60):
    last = world[:1]
    for frame, picture in Morph().generate(Pan(), range(6, 6 + count), GenerateSettings(), Watch()):
        assert picture is not last
        last = picture
    peaks.append(peak() * 1024 / picture.nbytes)
print(json.dumps(peaks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own peak")
def test_more_frames_take_no_more_memory() -> None:
    """Peaks of a process of its own, in frames. The first job also loads what the others find loaded."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, check=True)
    _, shorter, longer = json.loads(done.stdout)
    assert longer - shorter < 8
