"""What a node that another release saved lacks. Decides only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Sequence

from .knobs import KNOBS, NODE_VERSION, Knob


@dataclass(frozen=True)
class Plan:
    """How to bring a node up to date."""

    add: tuple[Knob, ...]
    """Knobs to add, each with its default, which is how the node behaved before it had them."""
    is_newer: bool
    """Made by a later release than this one: to be left as it is."""


def plan(
    made_with: int,
    have: Collection[str],
    table: Sequence[Knob] = KNOBS,
    version: int = NODE_VERSION,
) -> Plan:
    """For a node of version `made_with` that has the knobs `have`."""
    if made_with > version:
        return Plan((), True)
    return Plan(
        tuple(knob for knob in table if knob.since > made_with and knob.name not in have), False
    )
