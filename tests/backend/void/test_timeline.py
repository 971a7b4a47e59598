"""Padding, windows and blending: laws over all lengths."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voidbridge_backend.engines.void.passes.timeline import (
    latents_for,
    latents_of,
    mirrored,
    padded,
    padded_range,
    windows,
)
from voidbridge_protocol.errors import EngineFailed

lengths = st.integers(1, 2000)
model_windows = st.sampled_from([21, 29, 37, 85])
overlaps = st.sampled_from([0, 8, 16])


@settings(deadline=None)
@given(lengths, model_windows)
def test_padding_reaches_a_window_and_an_even_number_of_latents(frames: int, window: int) -> None:
    length = padded(frames, window)
    assert max(frames, window) <= length < max(frames, window) + 8
    assert latents_of(length) % 2 == 0
    assert padded(length, window) == length


@settings(deadline=None)
@given(lengths, model_windows)
def test_cutting_a_padded_clip_gives_the_clip_back(frames: int, window: int) -> None:
    assert mirrored(frames, padded(frames, window))[:frames] == list(range(frames))


@settings(deadline=None)
@given(lengths, model_windows)
def test_padding_never_jumps(frames: int, window: int) -> None:
    source = mirrored(frames, padded(frames, window))
    assert all(abs(one - two) <= 1 for one, two in pairwise(source))


@settings(deadline=None)
@given(st.integers(1, 500), model_windows, overlaps)
def test_windows_cover_every_latent_and_none_is_odd(pairs: int, window: int, overlap: int) -> None:
    latents = 2 * pairs
    cut = windows(latents, window, overlap)
    assert cut.runs[0].start == 0
    assert cut.runs[-1].stop == latents
    for run, after in pairwise(cut.runs):
        assert run.stop - after.start == overlap // 4
    assert all((run.stop - run.start) % 2 == 0 for run in cut.runs)


@settings(deadline=None)
@given(st.integers(1, 500), model_windows, overlaps)
def test_every_latent_has_a_weight_from_some_window(pairs: int, window: int, overlap: int) -> None:
    cut = windows(2 * pairs, window, overlap)
    total = torch.zeros(2 * pairs)
    for run in cut.runs:
        total[run] += cut.weights(run)
    assert (total >= 0.99).all()


def test_where_two_windows_meet_their_weights_sum_to_one() -> None:
    cut = windows(50)
    total = torch.zeros(50)
    for run in cut.runs:
        total[run] += cut.weights(run)
    assert torch.allclose(total, torch.ones(50))


@pytest.mark.parametrize("window", [5, 13, 17])
def test_a_window_that_cannot_move_on_is_an_error_for_a_longer_clip(window: int) -> None:
    assert len(windows(2, window).runs) == 1
    with pytest.raises(EngineFailed, match=f"window of {window} frames"):
        windows(20, window)


@settings(deadline=None)
@given(lengths)
def test_the_fewest_latents_that_hold_a_frame_are_decoded(frames: int) -> None:
    held = {latents: 4 * latents - 3 for latents in (latents_for(frames) - 1, latents_for(frames))}
    short, enough = sorted(held.values())
    assert short < frames <= enough


@settings(deadline=None)
@given(st.data(), st.integers(1, 400), model_windows)
def test_a_stretch_holds_the_hole_and_is_padded_as_little_as_the_clip_allows(
    data: st.DataObject, frames: int, window: int
) -> None:
    first = data.draw(st.integers(0, frames - 1))
    stop = data.draw(st.integers(first + 1, frames))
    begin, end = padded_range((first, stop), frames, window)
    assert 0 <= begin <= first < stop <= end <= frames
    assert end - begin == min(padded(stop - first, window), frames)
