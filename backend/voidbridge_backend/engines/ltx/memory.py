"""Decides where LTX-2's networks are while a job runs. Pure decisions, no side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from voidbridge_protocol.errors import OutOfMemory

GIB = 1 << 30
MARGIN = 2 * GIB
"""Kept free: memory of the driver and the libraries, and fragmentation."""
DECODED_PIXEL = 450
"""Bytes of the decoder for each pixel of a run, an estimate: nobody has counted it."""
TOKEN_VALUES = 40
"""Live values of the transformer for each channel of a token, an estimate: nobody has counted it."""

Name = Literal["resident", "swapped", "streamed"]


@dataclass(frozen=True)
class NetworkDemand:
    """The bytes of each network by name, and the size of a run."""

    networks: Mapping[str, int]
    frames: int
    height: int
    width: int
    channels: int = 4096
    """Of a token of the transformer."""
    guided: bool = False

    @property
    def work(self) -> int:
        """Bytes of the largest step beside the weights."""
        pixels = self.frames * self.height * self.width
        tokens = ((self.frames - 1) // 8 + 1) * (self.height // 32) * (self.width // 32)
        answer = tokens * self.channels * TOKEN_VALUES * 2 * (2 if self.guided else 1)
        return max(pixels * DECODED_PIXEL, answer)


def needed(plan: Name, demand: NetworkDemand) -> int:
    """Device memory in bytes under a plan.

    - `resident`: every network stays on the device.
    - `swapped`: one network at a time is there.
    - `streamed`: one layer at a time is there.
    """
    if plan == "resident":
        return sum(demand.networks.values()) + demand.work
    if plan == "swapped":
        return max(demand.networks.values()) + demand.work
    return max(demand.networks.values()) // 32 + demand.work


PLANS: tuple[Name, ...] = ("resident", "swapped", "streamed")
"""Fastest first. All give the same result."""


def chosen(free: int, demand: NetworkDemand) -> Name:
    """The fastest plan that fits `free` bytes. Raises `OutOfMemory` with the numbers if none does."""
    for plan in PLANS:
        if needed(plan, demand) + MARGIN <= free:
            return plan
    least = needed("streamed", demand) + MARGIN
    raise OutOfMemory(
        f"ltx needs {least / GIB:.1f} GB of the device's memory, {free / GIB:.1f} GB are free"
    )


def table(demand: NetworkDemand) -> str:
    """Every plan with its need, for a note."""
    needs = (f"{plan} {(needed(plan, demand) + MARGIN) / GIB:.1f} GB" for plan in PLANS)
    return ", ".join(needs)
