"""Noise that is carried along stays white, stays where nothing moves, and follows what does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from voidbridge_backend.engines.void.noise.flow import Dis, Raft, Steady, best
from voidbridge_backend.engines.void.noise.picture_noise import aligned, reference
from voidbridge_backend.engines.void.noise.warped_noise import Field, Warper, blend, step, summed

GRID = (48, 72)
"""Of the flow; latents are 12 x 18, with 48 channels 10368 values a frame."""

Stills = NDArray[np.uint8]


def still() -> Tensor:
    return torch.zeros(2, *GRID)


def pan(right: float, down: float = 0.0) -> Tensor:
    return torch.tensor([right, down])[:, None, None].expand(2, *GRID).clone()


def zoom(factor: float, turn: float = 0.0) -> Tensor:
    """A flow that scales about the middle by `factor` and turns by `turn` radians."""
    rows = torch.arange(GRID[0])[:, None] - (GRID[0] - 1) / 2
    columns = torch.arange(GRID[1])[None, :] - (GRID[1] - 1) / 2
    cosine, sine = factor * np.cos(turn) - 1, factor * np.sin(turn)
    return torch.stack([columns * cosine - rows * sine, columns * sine + rows * cosine])


def warped(flow: Tensor, frames: int, seed: int = 1, box: int = 32) -> list[Tensor]:
    warper = Warper(12, 18, seed, channels=48, box=box)
    out = [warper.latent()]
    for _ in range(frames):
        warper.advance(flow)
        out.append(warper.latent())
    return out


def correlation(one: Tensor, two: Tensor) -> float:
    return float((one * two).mean() / (one.std() * two.std()))


FLOWS = {
    "still": still(),
    "pan": pan(1.0),
    "slow diagonal": pan(0.37, -0.21),
    "zoom in": zoom(1.02),
    "zoom out": zoom(0.98),
    "turn": zoom(1.0, np.radians(1)),
    "torn": torch.cat([pan(3.0)[:, :24], pan(-2.0)[:, 24:]], dim=1),
}


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_carried_noise_is_white(flow: Tensor) -> None:
    noise = warped(flow, 6, box=16)[-1]
    values = noise.numel()
    assert abs(noise.mean()) < 4 / values**0.5
    # 10368 values: the deviation of the deviation is 0.007, of the kurtosis 0.048.
    assert abs(noise.std() - 1) < 0.03
    kurtosis = ((noise - noise.mean()) ** 4).mean() / noise.var() ** 2
    assert abs(kurtosis - 3) < 0.2
    for shifted in (noise.roll(1, 1), noise.roll(1, 2), noise.roll((1, 1), (1, 2))):
        assert abs(correlation(noise, shifted)) < 0.04


def test_what_does_not_move_is_the_same_to_the_bit() -> None:
    first, *rest = warped(still(), 3)
    assert all(torch.equal(first, later) for later in rest)


def test_a_field_that_moves_elsewhere_is_the_same_to_the_bit_where_it_does_not() -> None:
    flow = still()
    flow[0, :, 54:] = 2.0
    first, *rest = warped(flow, 2)
    assert all(torch.equal(first[:, :, :12], later[:, :, :12]) for later in rest)
    assert not torch.equal(first[:, :, 14:], rest[-1][:, :, 14:])


def test_a_pan_takes_the_noise_with_it() -> None:
    noises = warped(pan(1.0), 8)
    # Four pixels of the flow's grid are one latent.
    for time in (4, 8):
        moved = noises[0][:, :, : 18 - time // 4 - 1]
        there = noises[time][:, :, time // 4 : 18 - 1]
        assert correlation(moved, there) > 0.999
    assert abs(correlation(noises[0], noises[1]) - 0.75) < 0.03


@pytest.mark.parametrize(
    ("flow", "after_one", "after_four"),
    [
        (zoom(1.02), 0.843, 0.468),
        (zoom(0.98), 0.851, 0.469),
        (zoom(1.0, np.radians(1)), 0.874, 0.554),
    ],
    ids=["zoom in", "zoom out", "turn"],
)
def test_noise_leaves_its_place_as_fast_as_in_the_published_code(
    flow: Tensor, after_one: float, after_four: float
) -> None:
    noises = warped(flow, 4)
    assert abs(correlation(noises[0], noises[1]) - after_one) < 0.03
    assert abs(correlation(noises[0], noises[4]) - after_four) < 0.04


def test_a_motion_below_half_a_fine_pixel_moves_nothing_and_one_above_does() -> None:
    first, *_, last = warped(pan(0.06), 4)
    assert torch.equal(first, last)
    first, *_, last = warped(pan(0.07), 4)
    assert not torch.equal(first, last)


def test_a_seed_is_the_same_noise_and_another_is_not() -> None:
    assert torch.equal(*(warped(zoom(1.02), 2, seed=5, box=8)[-1] for _ in range(2)))
    assert abs(correlation(*(warped(still(), 1, seed=seed, box=8)[-1] for seed in (5, 6)))) < 0.05


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_any_flow_leaves_a_finite_field_with_positive_weights(
    data: st.DataObject, pooled: bool
) -> None:
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    size = data.draw(st.sampled_from([0.3, 1.0, 5.0, 100.0]))
    flow = torch.randn((2, 6, 8), generator=generator) * size
    field = Field(
        torch.randn((48, 3), generator=generator), torch.rand(48, generator=generator) + 0.1, 6
    )
    out = step(
        field,
        flow,
        lambda copies: torch.randn((len(copies), 3), generator=generator),
        pool_fresh=pooled,
    )
    assert torch.isfinite(out.noise).all()
    assert (out.weight > 0).all()
    assert out.noise.shape == field.noise.shape


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_summing_by_group_is_summing(groups: list[int]) -> None:
    group = torch.tensor(groups)
    values = torch.arange(len(groups) * 2, dtype=torch.float64).reshape(-1, 2)
    expected = torch.zeros(5, 2, dtype=torch.float64).index_add(0, group, values)
    assert torch.equal(summed(group, values, 5), expected)


@pytest.mark.parametrize("amount", [0.0, 0.2, 0.5, 1.0])
def test_blending_keeps_the_variance(amount: float) -> None:
    one, two = torch.randn((2, 200_000), generator=torch.Generator().manual_seed(0))
    assert abs(blend(one, two, amount).std() - 1) < 0.01


def texture(height: int, width: int) -> NDArray[np.float32]:
    coarse = torch.rand((1, 3, height // 6, width // 6), generator=torch.Generator().manual_seed(2))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return np.ascontiguousarray(smooth[0].permute(1, 2, 0).clamp(0, 1).numpy())


def views(speed: int, frames: int, grain: float = 0.0) -> list[NDArray[np.float32]]:
    """A camera that moves `speed` pixels a frame to the left over a texture: what it sees moves to the right."""
    wide, random = texture(96, 144 + 100), np.random.default_rng(0)
    pictures = [wide[:, 100 - speed * index :][:, :144] for index in range(frames)]
    return [(p + random.normal(0, grain, p.shape)).astype(np.float32) for p in pictures]


def eight_bits(picture: NDArray[np.float32]) -> Stills:
    out: Stills = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return out


def no_motion(one: Stills, two: Stills) -> Tensor:
    return torch.zeros(2, *one.shape[:2])


def test_the_search_finds_a_pan() -> None:
    one, two = (eight_bits(picture) for picture in views(3, 2))
    found = Dis()(one, two)
    assert (found[0, 16:-16, 16:-16] - 3).abs().mean() < 0.2
    assert found[1, 16:-16, 16:-16].abs().mean() < 0.2


def test_the_search_gives_the_same_again_whatever_it_was_asked_before() -> None:
    one, two, three = (eight_bits(picture) for picture in views(2, 3))
    search = Dis()
    found = search(one, two)
    search(two, three)
    small, after = (
        picture[:24, :40] for picture in (one, two)
    )  # Too small for its usual settings.
    smaller = search(small, after)
    assert torch.equal(search(small, after), smaller)
    assert torch.equal(search(one, two), found)


def test_grain_on_a_still_picture_is_hardly_followed_and_a_slow_pan_is() -> None:
    steady, moved = Steady(), 0.0
    search = Dis()
    stills = [eight_bits(picture) for picture in views(0, 8, grain=2 / 255)]
    for one, two in pairwise(stills):
        moved += float((steady(search(one, two)).abs().amax(0) > 0).float().mean()) / 7
    assert moved < 0.1

    steady, total = Steady(), torch.zeros(2, 4, 4)
    for _ in range(40):
        total += steady(torch.full((2, 4, 4), 0.03))
    assert (total - 1.2).abs().max() < 0.15


def test_a_network_for_flow_is_given_multiples_of_eight_and_its_answer_is_scaled_back() -> None:
    def network(one: Tensor, two: Tensor) -> list[Tensor]:
        assert one.shape == two.shape == (1, 3, 16, 24)
        assert one.min() >= -1
        assert one.max() <= 1
        return [torch.zeros(1, 2, 16, 24), torch.ones(1, 2, 16, 24)]

    picture = np.full((18, 30, 3), 200, np.uint8)
    found = Raft(network)(picture, picture)
    assert found.shape == (2, 18, 30)
    assert torch.allclose(found[:, 0, 0], torch.tensor([30 / 24, 18 / 16]))


def test_without_weights_for_a_network_the_search_is_taken() -> None:
    assert isinstance(best(None, "cpu"), Dis)


@pytest.mark.parametrize("make", [aligned, reference], ids=["aligned", "reference"])
def test_a_still_picture_s_noise_is_the_same_at_each_latent(make: Callable[..., Tensor]) -> None:
    noise = make(iter(views(0, 5)), (96, 144), 5, 0, no_motion, fineness=2)
    assert noise.shape == (1, 2, 16, 12, 18)
    assert torch.equal(noise[:, 0], noise[:, 1])


def test_aligned_noise_lies_where_the_picture_lies() -> None:
    # Two pixels a frame, 8 a latent: after four frames everything is one latent further.
    noise = aligned(iter(views(2, 5)), (96, 144), 5, 0, Dis())
    there = noise[0, 1, :, 2:-2, 3:-2]
    assert correlation(noise[0, 0, :, 2:-2, 2:-3], there) > 0.85
    assert abs(noise.std() - 1) < 0.04


def test_degraded_noise_keeps_its_variance_and_less_of_its_motion() -> None:
    noises = {
        amount: aligned(
            iter(views(0, 5)),
            (96, 144),
            5,
            0,
            no_motion,
            degradation=amount,
        )
        for amount in (0.2, 1.0)
    }
    assert 0.9 < correlation(noises[0.2][0, 0], noises[0.2][0, 1]) < 0.97
    assert abs(correlation(noises[1.0][0, 0], noises[1.0][0, 1])) < 0.1
    assert all(abs(noise.std() - 1) < 0.04 for noise in noises.values())
