"""Masks and plates as the model is told them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.inputs import Footage, ahead, grain, pictures
from voidbridge_backend.engines.void.passes import pipeline
from voidbridge_backend.engines.void.passes.conditioning import (
    AUGMENTATION,
    augmented,
    mask_levels,
    without_removed,
)
from voidbridge_protocol.errors import EngineFailed

CODES = torch.tensor([0, 63, 127, 255])


@pytest.mark.parametrize(
    ("levels", "expected"),
    [("tri", [0.0, 0.0, 128 / 255, 1.0]), ("reference", [0.0, 0.0, 0.0, 1.0])],
)
def test_a_quadmask_has_these_levels(levels: str, expected: list[float]) -> None:
    assert mask_levels(CODES, levels).tolist() == pytest.approx(expected)  # type: ignore[arg-type]


def test_noise_is_added_everywhere_but_on_exact_black() -> None:
    plate = torch.tensor([-1.0, -0.999, 0.0, 1.0, 1.7])
    noisy = augmented(plate, torch.ones(5))
    assert noisy[0] == -1
    assert torch.allclose(noisy[1:] - plate[1:], torch.full((4,), AUGMENTATION))


def test_what_is_removed_can_be_made_black_and_what_is_affected_stays() -> None:
    plate = torch.full((1, 3, 1, 1, 4), 0.5)
    blanked = without_removed(plate, mask_levels(CODES).reshape(1, 1, 1, 1, 4))
    assert blanked[0, 0, 0, 0].tolist() == [-1, -1, 0.5, 0.5]


def test_the_noise_of_a_frame_does_not_depend_on_the_frames_read_with_it() -> None:
    whole = grain(5, slice(0, 13), 4, 6)
    parts = [grain(5, slice(start, start + 1), 4, 6) for start in range(13)]
    assert torch.equal(whole, torch.cat(parts, dim=2))
    assert not torch.equal(whole, grain(6, slice(0, 13), 4, 6))


def test_a_clip_is_read_forwards_and_backwards_and_comes_back_as_it_was(small_clip: type) -> None:
    clip = small_clip(4)
    footage = Footage(clip, clip.frames, 21)
    plate = footage.plate(slice(0, 21))
    assert plate.shape == (1, 3, 21, 32, 48)
    assert torch.equal(plate[:, :, 4:8], plate[:, :, :4].flip(2))
    for frame, picture in zip(clip.frames, pictures(plate), strict=False):
        assert abs(picture - clip.plate(frame)).max() < 1e-6
    assert set(footage.quadmask(slice(0, 4)).flatten().tolist()) == {0, 127, 255}


def test_a_size_that_the_model_cannot_take_is_named(small_clip: type) -> None:
    clip = small_clip(2, height=40)
    with pytest.raises(EngineFailed, match="48 x 40"):
        Footage(clip, clip.frames, 21)


def test_highlights_are_not_clamped_on_their_way_to_and_from_the_model() -> None:
    bright = torch.full((1, 3, 1, 2, 2), 3.0)
    assert pictures(bright * 2 - 1)[0].max() == 3.0


def test_the_mask_is_encoded_apart_from_the_plate_and_each_frame_is_read_once(
    tiny: Path, small_clip: type
) -> None:
    clip = small_clip(21)
    footage = Footage(clip, clip.frames, 21)
    vae = networks.vae(tiny, torch.float32)
    seen: list[tuple[int, int]] = []
    plate = pipeline.encoded_plate(
        vae,
        footage.plate,
        lambda span: grain(0, span, 32, 48),
        21,
        None,
        lambda done, of: seen.append((done, of)),
    )
    assert plate.shape == (1, 6, 16, 4, 6)
    assert clip.asked == list(clip.frames)
    assert seen == [(0, 6), (4, 6), (6, 6)]


SPANS = [slice(0, 5), slice(5, 8), slice(8, 11)]


def test_while_a_span_is_used_the_next_one_is_read() -> None:
    begun = [threading.Event() for _ in SPANS]

    def read(span: slice) -> torch.Tensor:
        begun[SPANS.index(span)].set()
        return torch.arange(span.start, span.stop)

    with ahead(read, SPANS) as given:
        for index, span in enumerate(SPANS):
            assert given(span).tolist() == list(range(span.start, span.stop))
            # Nothing has asked for the next one.
            assert all(event.wait(120) for event in begun[: index + 2])
            assert not any(event.is_set() for event in begun[index + 2 :])


def test_a_span_that_cannot_be_read_fails_when_its_turn_comes() -> None:
    def read(span: slice) -> torch.Tensor:
        if span.start == 5:
            raise EngineFailed("frame 1006 is damaged")
        return torch.zeros(1)

    with ahead(read, SPANS) as given:
        given(SPANS[0])
        with pytest.raises(EngineFailed, match="frame 1006"):
            given(SPANS[1])
