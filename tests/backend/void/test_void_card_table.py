"""The table of cards in docs/model.md is made by the memory plans, which the count of live tensors holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from voidbridge_backend.engines.void.model import streaming
from voidbridge_backend.engines.void.model.memory import (
    BOTH_PASSES,
    GIB,
    MARGIN,
    ONE_PASS,
    PLANS,
    Demand,
    chosen,
    host_needed,
    needed,
)
from voidbridge_protocol.errors import OutOfMemory

DOCS = Path(__file__).resolve().parents[3] / "docs" / "model.md"
CARDS = (80, 48, 40, 24, 16, 12, 10, 8)
CONTEXT = int(0.6 * GIB)
"""Memory of a card that a process takes before its first tensor. An estimate."""
KINDS = {
    "pass 1": ONE_PASS,
    "both passes": BOTH_PASSES,
    "detail x2": replace(ONE_PASS, detail=2),
    "detail x4": replace(ONE_PASS, detail=4),
    # Of each block, four products of 3072 x 3072 and two of 3072 x 12288 take a byte a number instead of two.
    "pass 1, fp8": replace(
        ONE_PASS,
        transformer=ONE_PASS.transformer - 42 * 12 * 3072**2,
        streamed=ONE_PASS.streamed - streaming.SLOTS * 12 * 3072**2,
        pinned=ONE_PASS.pinned - 42 * 12 * 3072**2,
    ),
}


def cell(card: int, demand: Demand) -> str:
    try:
        plan = chosen(card * GIB - CONTEXT, demand)
    except OutOfMemory:
        return "refused"
    device = (needed(plan, demand) + MARGIN) / GIB
    return f"`{plan.name}` {device:.1f}, {host_needed(plan, demand) / GIB:.0f}"


def rows() -> list[str]:
    return [
        f"| {card} GB | " + " | ".join(cell(card, demand) for demand in KINDS.values()) + " |"
        for card in CARDS
    ]


def test_the_table_of_cards_is_the_one_that_the_plans_give() -> None:
    assert "\n".join(rows()) in DOCS.read_text(encoding="utf-8")


def test_detail_at_four_times_the_size_fits_24_gb_without_loss() -> None:
    plan = chosen(24 * GIB - CONTEXT, KINDS["detail x4"], host=32 * GIB)
    assert plan.tiles is None


@pytest.mark.parametrize("demand", [ONE_PASS, BOTH_PASSES], ids=["pass 1", "both passes"])
def test_12_gb_with_32_gb_of_host_memory_work_in_tiles_as_nothing_lossless_fits(
    demand: Demand,
) -> None:
    free = 12 * GIB - CONTEXT
    assert chosen(free, demand, host=32 * GIB).name == "streamed-tiled"
    assert all(needed(plan, demand) + MARGIN > free for plan in PLANS if plan.tiles is None)
    with pytest.raises(OutOfMemory, match="the machine's memory"):
        chosen(free, demand, host=12 * GIB)
