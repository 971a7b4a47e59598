"""Plans the knobs to add to a node of another release. Decides only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Sequence

from .knobs import NODE_VERSION, Knob
from .operations import REMOVE


@dataclass(frozen=True)
class MigrationPlan:
    """Changes that bring a node up to date."""

    add: tuple[Knob, ...]
    """Knobs to add, each with its default, which matches the node's earlier behavior."""
    is_newer: bool
    """True if a later release made the node, which then stays unchanged."""


def plan(
    made_with: int,
    have: Collection[str],
    table: Sequence[Knob] = REMOVE.knobs,
    version: int = NODE_VERSION,
) -> MigrationPlan:
    """Plans for a node of version `made_with` that has the knobs `have`."""
    if made_with > version:
        return MigrationPlan((), True)
    return MigrationPlan(
        tuple(knob for knob in table if knob.since > made_with and knob.name not in have), False
    )
