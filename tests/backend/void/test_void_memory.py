"""Which plan fits how much memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from voidbridge_backend.engines.void.memory import (
    GIB,
    MARGIN,
    PLANS,
    Demand,
    Plan,
    chosen,
    needed,
    table,
)
from voidbridge_protocol.errors import OutOfMemory

PUBLISHED = Demand(
    transformer=int(10.4 * GIB),
    vae=int(0.4 * GIB),
    passes=1,
    blocks=42,
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


def test_after_a_plan_that_failed_only_smaller_ones_are_chosen() -> None:
    free = 140 * GIB
    for failed, following in pairwise(PLANS):
        assert chosen(free, PUBLISHED, failed) == following
    assert chosen(int(15.5 * GIB), PUBLISHED, Plan("resident")).name == "swapped-tiled"
    with pytest.raises(OutOfMemory, match=r"140\.0 GB are free; the plan streamed-tiled was tried"):
        chosen(free, PUBLISHED, PLANS[-1])
