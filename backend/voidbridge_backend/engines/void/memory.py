"""Computes how much device memory a job needs, and which plan fits. Pure decisions, no side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from voidbridge_protocol.errors import OutOfMemory

from .vae import VaeTiles

GIB = 1 << 30
MARGIN = GIB
"""Kept free: memory of the driver and the libraries, and fragmentation."""

SMALLER = 0.95
"""A plan whose peak is at most this part of another's is clearly smaller."""

ANSWERS_KEPT = 3
"""Outputs kept per window of a preview: the first block's, its contribution, and that of all others."""

Name = Literal["resident", "swapped", "streamed", "swapped-tiled", "streamed-tiled"]


@dataclass(frozen=True)
class Plan:
    """Where weights stay, and the size of the pieces for coding. The first three give the same result.

    - `resident`: All networks stay on the device between steps, passes and jobs.
    - `swapped`: Each network is there only for its part of the work.
    - `streamed`: The transformer's blocks come to the device one by one as needed.
    - `...-tiled`: Pictures are coded in overlapping rectangles, which shows slightly in the result.
    """

    name: Name

    @property
    def tiles(self) -> VaeTiles | None:
        return VaeTiles() if self.name.endswith("tiled") else None

    @property
    def stays(self) -> bool:
        return self.name == "resident"

    @property
    def streams(self) -> bool:
        return self.name.startswith("streamed")


PLANS = tuple(
    Plan(name) for name in ("resident", "swapped", "streamed", "swapped-tiled", "streamed-tiled")
)
"""Best first."""


@dataclass(frozen=True)
class Demand:
    """The requirements of a job, in bytes unless stated otherwise.

    The defaults are those of the published networks.
    """

    transformer: int
    """Weights of one transformer."""
    vae: int
    """Weights of the autoencoder."""
    passes: int
    """Transformers that the job uses."""
    blocks: int
    """Parts in which the transformer can be streamed."""
    pixels: int
    """Pixels of one frame, as the model sees it."""
    latents: int
    """Latents of one window."""
    batch: int
    """2 with guidance, else 1."""
    width: int = 128
    """Channels of the autoencoder's outermost layer."""
    tokens_width: int = 3072
    """Channels of the transformer."""
    number: int = 2
    """Size of one number."""
    reused: int = 0
    """Windows whose block outputs are kept from step to step, for a preview."""


def needed(plan: Plan, demand: Demand) -> int:
    """Returns the maximum device memory in bytes under this plan, without the margin.

    The constants are counts of the memory of the published networks at 384 x 672 and 22 latents in bfloat16. The
    transformer takes 1.7 GiB, or 2.5 with guidance. Encoding takes 5.0 GiB and decoding 10.9; in tiles of
    240 x 368 it is 1.9 and 3.8.
    Decoding is multiplied by 1.6, by which published peaks exceed the count. All grow with the picture; tiles
    do not.
    """
    picture = demand.pixels / (384 * 672) * demand.number / 2
    breadth = demand.width / 128
    denoising = (
        (0.9 + 0.8 * demand.batch)
        * picture
        * demand.latents
        / 22
        * demand.tokens_width
        / 3072
        * GIB
    )
    if not plan.streams:
        tokens = demand.pixels / 256 * demand.latents / 2
        kept = ANSWERS_KEPT * demand.batch * tokens * demand.tokens_width * demand.number
        denoising += kept * demand.reused
    if plan.tiles:
        tiled = demand.number / 2 * breadth
        # Each tile keeps the state that its convolutions carry from chunk to chunk.
        coding = (3.8 * 1.6 * tiled + 1.2 * picture * breadth) * GIB
    else:
        coding = 10.9 * 1.6 * picture * breadth * GIB
    if plan.stays:
        return int(demand.transformer * demand.passes + demand.vae + max(denoising, coding))
    weights = demand.transformer
    if plan.streams:
        # The running block, the next one, and the weights outside of blocks.
        weights = weights * 4 // demand.blocks
    return int(max(weights + denoising, demand.vae + coding))


def chosen(free: int, demand: Demand, failed: Plan | None = None) -> Plan:
    """Returns the best plan that fits `free` bytes, of those clearly smaller than `failed`.

    Raises `OutOfMemory` with the numbers if none fits.
    """
    left = smaller(failed, demand) if failed else PLANS
    for plan in left:
        if needed(plan, demand) + MARGIN <= free:
            return plan
    least = min(needed(plan, demand) for plan in left or PLANS) + MARGIN
    raise OutOfMemory(
        f"the model needs {least / GIB:.1f} GB of the device's memory, {free / GIB:.1f} GB are free"
        + (f"; the plan {failed.name} was tried" if failed else "")
    )


def smaller(failed: Plan, demand: Demand) -> tuple[Plan, ...]:
    """The plans whose peak is clearly below that of `failed`, best first: others would fail at the same place."""
    most = SMALLER * needed(failed, demand)
    return tuple(plan for plan in PLANS if needed(plan, demand) <= most)


def on_cpu(failed: Plan | None = None) -> Plan:
    """Returns the plan without a device: only tiles save memory there. Raises `OutOfMemory` after that."""
    if failed is not None and failed.tiles:
        raise OutOfMemory("the machine's memory is too small for this job, also in tiles")
    return Plan("swapped-tiled") if failed else Plan("resident")


def table(free: int, demand: Demand) -> Mapping[str, str]:
    """Returns each plan's demand in GB and if it fits, to explain a choice."""
    return {
        plan.name: f"{(needed(plan, demand) + MARGIN) / GIB:.1f} GB"
        + ("" if needed(plan, demand) + MARGIN <= free else f", {free / GIB:.1f} GB free")
        for plan in PLANS
    }
