"""Decides where LTX-2's networks are while a job runs. Pure decisions, no side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from voidbridge_protocol.errors import OutOfMemory

GIB = 1 << 30
MARGIN = 2 * GIB
"""Kept free: memory of the driver and the libraries, and fragmentation."""
DECODED_PIXEL = 86
"""Live bytes of the decoder for each pixel of a run, in bfloat16 and beside the weights."""
TOKEN_VALUES = 38
"""Live values of the transformer for each channel of a token, beside the weights.

Both are counted on tensors without values, of the published sizes: 85.1 to 86.9 and 37.2 to 37.7.
"""
OVERHEAD = 1.6
"""By this factor a card needs more than the live tensors of decoding, as it is for the autoencoder of `void`."""
LARGEST_LAYER = 262_208 * 3_840 * 2
"""Bytes of the largest layer: the embedding of Gemma 3 12B in bfloat16."""

PUBLISHED = {
    "transformer": 2 * 18_988_838_144,
    "connectors": 2 * 3_172_227_584,
    "vae": 2 * 1_222_479_601,
    "audio_vae": 2 * 53_248_146,
    "vocoder": 2 * 55_592_802,
    "text_encoder": 2 * 11_861_868_288,
}
"""Bytes of each network of LTX-2.3 in bfloat16, counted by `benchmarks/ltx_memory.py`."""

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
        return int(max(pixels * DECODED_PIXEL * OVERHEAD, answer))


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
    return LARGEST_LAYER + demand.work


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
