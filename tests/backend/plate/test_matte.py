"""A quadmask is told from a plain matte by what the clip really holds, and never guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.imaging.mattes.matte import Evidence, Verdict, hole_of, kind_of
from voidbridge_protocol.errors import BadMatte

MakeExr = Callable[..., bytes]
Values = NDArray[Any]


def quadmask(white: float = 1.0, dtype: Any = np.float32) -> Values:
    codes = np.full((40, 60), 255.0)
    codes[5:20, 5:20], codes[15:30, 15:40], codes[15:20, 15:20] = 0, 127, 63
    return (codes * (white / 255)).astype(dtype)


def soft_matte() -> Values:
    """A blurred disc in all the levels of an 8-bit file, 63 and 127 among them."""
    rows, columns = np.mgrid[:120, :160]
    ramp = np.clip((50 - np.hypot(rows - 60, columns - 80)) / 40, 0, 1)
    return (np.round(ramp * 255) / 255).astype(np.float16)


def verdict(*frames: Values, asked: str = "auto", channel: str = "A") -> Verdict:
    evidence = Evidence(channel)
    for frame in frames:
        evidence.add(frame)
    return kind_of(evidence, asked)


@pytest.mark.parametrize(
    ("frame", "unit"),
    [
        (quadmask(), 1),
        (quadmask(dtype=np.float16), 1),
        (quadmask(255), 255),
        (quadmask(255, np.float16), 255),
        (quadmask(255, np.uint32), 255),
        (quadmask(255, np.uint8), 255),
    ],
    ids=["float", "half", "codes as float", "codes as half", "codes as uint", "codes as bytes"],
)
def test_a_clip_with_63_or_127_is_a_quadmask(frame: Values, unit: float) -> None:
    found = verdict(np.full_like(frame, unit), frame)
    assert (found.kind, found.unit, found.outside) == ("quadmask", unit, unit)
    assert "channel A is a quadmask" in found.text
    assert not found.warnings


@pytest.mark.parametrize(
    "frame",
    [
        soft_matte(),
        (np.arange(12).reshape(3, 4) > 5).astype(np.float16),
        np.full((4, 4), 0.5, np.float32),
        np.full((4, 4), 0.25, np.float16),
        np.full((4, 4), 0.05, np.float32),
        np.zeros((4, 4), np.float16),
        np.clip(soft_matte().astype(np.float32) * 1.3 - 0.1, -0.1, 1.2),
    ],
    ids=["soft", "binary", "half set", "a quarter set", "a twentieth set", "empty", "overshooting"],
)
def test_anything_else_is_a_plain_matte(frame: Values) -> None:
    found = verdict(frame)
    assert (found.kind, found.unit, found.outside) == ("matte", 1, 0)
    assert "plain matte" in found.text


def test_one_frame_decides_for_the_whole_clip_in_any_order() -> None:
    empty = np.ones((40, 60), np.float32)
    evidence, other = Evidence("A"), Evidence("A")
    for _ in range(30):
        evidence.add(empty)
    other.add(quadmask())
    evidence.merge(other)
    assert kind_of(evidence).kind == "quadmask"
    assert verdict(quadmask(), empty).kind == verdict(empty, quadmask()).kind == "quadmask"


def test_an_inverted_binary_matte_is_never_guessed_but_warned_of() -> None:
    found = verdict(np.where(quadmask() > 0, 1, 0).astype(np.float32))
    assert found.kind == "matte"
    assert "covers 92% of the picture" in found.warnings[0]
    assert "--matte-kind quadmask" in found.warnings[0]


def test_what_is_asked_for_is_what_it_is() -> None:
    binary = np.where(quadmask() > 0, 1, 0).astype(np.float32)
    assert verdict(binary, asked="quadmask").kind == "quadmask"
    assert verdict(quadmask(), asked="matte").kind == "matte"


def test_a_filtered_quadmask_is_one_with_a_warning() -> None:
    filtered = cv2.resize(quadmask(), (90, 60), interpolation=cv2.INTER_LINEAR)
    found = verdict(filtered)
    assert found.kind == "quadmask"
    assert "filtered" in found.warnings[0]


def srgb_read(code: float) -> float:
    return float(((code / 255 + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (srgb_read(63), srgb_read(127), "read as sRGB"),
        (13 / 255, 54 / 255, "8 bits"),
        ((63 / 255) ** 2.2, (127 / 255) ** 2.2, "gamma of 2.2"),
        ((63 / 255) ** 2.4, (127 / 255) ** 2.4, "gamma of 2.4"),
        (
            1.055 * (63 / 255) ** (1 / 2.4) - 0.055,
            1.055 * (127 / 255) ** (1 / 2.4) - 0.055,
            "written as",
        ),
    ],
)
def test_a_quadmask_that_was_color_managed_is_refused(
    low: float, high: float, said: str, dtype: Any
) -> None:
    """Its 63 would be taken for 0 and its 127 for 63: the wrong things would be removed."""
    frame = quadmask()
    managed = np.select([frame == 0, frame < 0.3, frame < 0.6], [0, low, high], 1).astype(dtype)
    for asked in "auto", "quadmask":
        with pytest.raises(BadMatte, match=said) as failure:
            verdict(managed, asked=asked)
        assert "raw" in failure.value.hint
    assert verdict(managed, asked="matte").kind == "matte"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_matte_that_is_not_finite_is_an_error_that_names_the_frame(wrong: float) -> None:
    frame = soft_matte()
    frame[3, 4] = wrong
    with pytest.raises(BadMatte, match=r"matte\.1004\.exr has 1 pixels"):
        Evidence().add(frame, "matte.1004.exr")


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (70, 33), (0, 5), (5, 0)])
def test_values_are_counted_as_numpy_counts_them_whatever_the_picture(
    shape: tuple[int, int],
) -> None:
    values = np.random.default_rng(3).random(shape).astype(np.float16)
    for frame in values, values[:, ::-1], values.T:
        evidence = Evidence()
        evidence.add(frame)
        expected = np.bincount(np.ravel(frame).view(np.uint16), minlength=evidence.counts.size)
        np.testing.assert_array_equal(evidence.counts, expected)


def test_more_pixels_than_a_float_can_count_are_counted_to_the_last() -> None:
    frame = np.ones((4097, 4099), np.float16)  # beyond 2^24
    frame[-1, -1] = 0
    evidence = Evidence()
    evidence.add(frame)
    assert evidence.count_from(1.0) == frame.size - 1
    assert evidence.pixels == frame.size


def test_a_clip_without_a_frame_is_an_error() -> None:
    with pytest.raises(BadMatte, match="no pixels"):
        kind_of(Evidence())


@pytest.mark.parametrize("white", [1, 255])
def test_a_frame_is_read_as_what_its_clip_is(white: float) -> None:
    plain = np.array([[0, 0.05, 0.5, 1]], np.float32) * white
    affected = np.array([[1, 0, 0, 1]], np.float32)
    found = hole_of(
        plain, verdict(plain), (affected, verdict(affected)), threshold=0.1, grow=0, soften=0
    )
    assert found.codes.tolist() == [[127, 255, 0, 63]]
    frame = quadmask(white)
    codes = hole_of(frame, verdict(frame), threshold=0.1, grow=0, soften=0).codes
    assert np.array_equal(codes, quadmask(255))


def test_a_quadmask_beside_a_second_matte_is_refused() -> None:
    frame = quadmask()
    with pytest.raises(BadMatte, match="already says"):
        hole_of(frame, verdict(frame), (frame, verdict(frame)), threshold=0.1, grow=0, soften=0)


@pytest.mark.parametrize("clip", ["lime", "moving_ball", "pillow"])
def test_the_quadmasks_of_the_model_are_recognized(samples: Path, clip: str) -> None:
    """Their first frames hold black and white only: it takes the clip to tell."""
    evidence = Evidence()
    with av.open(str(samples / clip / "quadmask_0.mp4")) as file:
        for number, frame in enumerate(file.decode(video=0)):
            evidence.add(frame.to_ndarray(format="gray")[::8, ::8])
            if number == 0:
                assert kind_of(evidence).warnings
            if number == 12:
                break
    found = kind_of(evidence)
    assert (found.kind, found.unit, found.warnings) == ("quadmask", 255, ())
