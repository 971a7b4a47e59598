"""The script around a node, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Sequence, Tuple

Range = Tuple[int, int]
"""First and last frame."""


@dataclass(frozen=True)
class Scene:
    """The script's data around the node."""

    plate: Range
    """First and last frame of the plate."""
    sources: Mapping[str, str]
    """By role, of the inputs that are connected: the file name at the plate's first frame, without its folder.

    The name is empty if there is none.
    """
    views: tuple[str, ...]
    working_space: str
    """Name as in the script; empty if the script sets none."""
    trees: Mapping[str, str] = field(default_factory=dict)
    """Upstream hashes of the inputs, from `upstream_hash.marked`."""
    channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Full names of the channels of each input, by role, as rgba.red; empty if they are not known."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """First and last frame of each connected input, by role."""
