"""Which plan fits how much memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from voidbridge_backend.engines.void.model.memory import (
    GIB,
    MARGIN,
    PLANS,
    Demand,
    Plan,
    chosen,
    needed,
    table,
)
from voidbridge_backend.engines.void.model.vae import VaeTiles, _spans
from voidbridge_protocol.errors import OutOfMemory

PUBLISHED = Demand(
    transformer=int(10.4 * GIB),
    vae=int(0.4 * GIB),
    passes=1,
    streamed=831_511_808,
    pixels=384 * 672,
    latents=22,
    batch=1,
)
"""The published networks in bfloat16, one pass of one window."""


@pytest.mark.parametrize(
    ("free_gb", "passes", "plan"),
    [
        (140, 2, "resident"),
        (79, 2, "resident"),
        (39, 1, "resident"),
        (39, 2, "swapped"),
        (23.5, 2, "swapped"),
        (15.5, 1, "swapped-tiled"),
        (11.5, 2, "streamed-tiled"),
    ],
)
def test_a_card_gets_the_best_plan_that_fits(free_gb: float, passes: int, plan: str) -> None:
    demand = replace(PUBLISHED, passes=passes, batch=passes)
    assert chosen(int(free_gb * GIB), demand).name == plan


def test_too_little_memory_is_an_error_with_both_numbers() -> None:
    with pytest.raises(OutOfMemory, match=r"needs \d+\.\d GB .* 4\.0 GB are free"):
        chosen(4 * GIB, PUBLISHED)


def test_plans_that_compute_the_same_come_before_those_that_do_not() -> None:
    tiled = [plan.tiles is not None for plan in PLANS]
    assert tiled == sorted(tiled)


def test_a_plan_is_never_taken_that_needs_more_than_is_free() -> None:
    for free in range(9 * GIB, 60 * GIB, GIB):
        assert needed(chosen(free, PUBLISHED), PUBLISHED) + MARGIN <= free


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_more_pixels_latents_or_guidance_never_need_less(plan: object) -> None:
    larger = [
        replace(PUBLISHED, pixels=2 * PUBLISHED.pixels),
        replace(PUBLISHED, latents=44),
        replace(PUBLISHED, batch=2),
        replace(PUBLISHED, number=4),
    ]
    for demand in larger:
        assert needed(plan, demand) >= needed(plan, PUBLISHED)  # type: ignore[arg-type]


def test_the_table_says_of_every_plan_what_it_needs() -> None:
    said = table(20 * GIB, PUBLISHED)
    assert list(said) == [plan.name for plan in PLANS]
    assert "20.0 GB free" in said["resident"]
    assert "free" not in said["streamed-tiled"]


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("failed", PLANS, ids=lambda plan: plan.name)
def test_after_a_plan_that_failed_the_next_has_a_clearly_smaller_peak(
    failed: Plan, passes: int
) -> None:
    demand = replace(PUBLISHED, passes=passes, batch=passes)
    left = [plan for plan in PLANS if needed(plan, demand) <= 0.95 * needed(failed, demand)]
    if left:
        assert chosen(140 * GIB, demand, failed) == left[0]
    else:
        with pytest.raises(OutOfMemory, match=f"the plan {failed.name} was tried"):
            chosen(140 * GIB, demand, failed)


def test_a_decoding_that_fails_on_24_gb_is_tried_in_tiles() -> None:
    demand = replace(PUBLISHED, passes=2, batch=2)
    free = int(23.4 * GIB)
    first = chosen(free, demand)
    assert first.name == "swapped"
    assert needed(Plan("streamed"), demand) == needed(first, demand)
    assert chosen(free, demand, first).name == "swapped-tiled"


def test_the_published_picture_takes_four_tiles_lying_and_upright() -> None:
    for height, width in ((48, 84), (84, 48)):
        tiles = VaeTiles().turned(height, width)
        rows = _spans(height, tiles.height, tiles.overlap)
        columns = _spans(width, tiles.width, tiles.overlap)
        assert (len(rows), len(columns)) == (2, 2)
