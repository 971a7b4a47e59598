"""Computes how much device memory a job needs, and which plan fits. Pure decisions, no side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from voidbridge_protocol.errors import OutOfMemory

if TYPE_CHECKING:
    from .vae import VaeTiles

GIB = 1 << 30
MARGIN = GIB
"""Kept free: memory of the driver and the libraries, and fragmentation."""

SMALLER = 0.95
"""A plan whose peak is at most this part of another's is clearly smaller."""

COUNTED = {"answer": 0.05, "prompt": 0.836, "decoding": 10.83, "decoding in tiles": 3.71}
"""GiB of live tensors beside the weights, for the published networks in bfloat16 at 384 x 672.

`test_void_live_memory.py` counts each on tensors without values. "answer" and "prompt" add up to one answer of
the transformer to 22 latents, with "prompt" once, or twice with guidance. Encoding takes
less than half of decoding, 4.88, or 1.67 in tiles. A tile is 240 x 368.
"""
NOISE_PIXEL = 68
"""Bytes of the moving noise for a pixel of its grid: 16 numbers and a weight in float32."""
NOISE_STEP = 480
"""Bytes for a pixel while the noise moves, the field included. Counted with values, for random motion: the most.

It is 437 until a block was compiled. From then on torch's compiler runs each frame of Python, and a caller
keeps its arguments until the call ends.
"""
CODING_OVERHEAD = 1.6
"""By this factor the published peak of decoding (38 GiB with all weights on a card of 40 GB) exceeds the count."""
PROCESS = 4 * GIB
"""Host memory of a worker with torch and CUDA. An estimate."""
PIXEL_COPIES = 2
"""Clips of pixels on the host while pictures are coded in tiles: the input or output, and what is at work."""

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
        from .vae import VaeTiles  # only here: an estimate has no need of torch

        return VaeTiles() if self.is_tiled else None

    @property
    def is_tiled(self) -> bool:
        return self.name.endswith("tiled")

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
    streamed: int
    """Weights of one transformer on the device while its blocks are streamed."""
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
    detail: int = 1
    """Enlargement of the picture by the detail pass; 1 without it."""
    frames: int = 85
    """Frames of the clip."""
    copied: int = 0
    """Host memory of weights that are not mapped from their files, because these have another type."""
    noise: int = 0
    """Pixels of the moving noise's fine grid; 0 without it."""
    pinned: int = 0
    """Host memory that streaming pins, for one transformer at a time."""


ONE_PASS = Demand(
    transformer=2 * 5_571_462_784,
    vae=2 * 215_583_907,
    passes=1,
    streamed=831_511_808,
    pixels=384 * 672,
    latents=22,
    batch=1,
    pinned=11_105_468_416,
)
"""One pass over 85 frames by the published networks in bfloat16."""
BOTH_PASSES = replace(ONE_PASS, passes=2, batch=2, noise=1536 * 2688)


def counted(plan: Plan, demand: Demand) -> int:
    """Returns the peak of live bytes on the device under this plan.

    It scales the counts of `COUNTED`. Tiles do not grow with the picture, and one tile's state is there at a time.
    The detail pass codes in tiles of the model's own size at most, so it needs no more than the passes.
    """
    return _peak(plan, demand, 1.0)


def needed(plan: Plan, demand: Demand) -> int:
    """Returns the device memory in bytes to plan for, without the margin: `counted`, with `CODING_OVERHEAD`."""
    return _peak(plan, demand, CODING_OVERHEAD)


def host_needed(plan: Plan, demand: Demand) -> int:
    """Returns the host memory in bytes to plan for, beside the pages of mapped files, which can be dropped.

    It holds the process, pinned weights if they are streamed, and the clip's pixels while they are coded in tiles.
    """
    pinned = demand.pinned if plan.streams else 0
    in_tiles = plan.is_tiled or demand.detail > 1
    pixels = demand.pixels * demand.detail**2 * demand.frames * 3 * demand.number
    return PROCESS + demand.copied + pinned + (PIXEL_COPIES * pixels if in_tiles else 0)


def denoising(plan: Plan, demand: Demand) -> int:
    """Returns the peak of live bytes while the transformer works, with its weights."""
    answer = COUNTED["answer"] + COUNTED["prompt"] * demand.batch
    answer *= _picture(demand) * demand.latents / 22 * demand.tokens_width / 3072 * GIB
    tokens = demand.pixels / 256 * demand.latents / 2
    kept = ANSWERS_KEPT * demand.batch * tokens * demand.tokens_width * demand.number
    weights = demand.streamed if plan.streams else demand.transformer
    return int(weights + answer + kept * demand.reused)


def _peak(plan: Plan, demand: Demand, overhead: float) -> int:
    breadth = demand.width / 128
    coding = COUNTED["decoding"] * _picture(demand) * breadth
    if plan.is_tiled:
        coding = min(coding, COUNTED["decoding in tiles"] * demand.number / 2 * breadth)
    # The noise rests while pictures are decoded, and moves between two chunks, when the decoder has only its state.
    # Tiles are decoded before it is made.
    resting = 0 if plan.is_tiled else NOISE_PIXEL * demand.noise
    coding = max(overhead * coding * GIB + resting, NOISE_STEP * demand.noise)
    if plan.stays:
        answer = denoising(plan, demand) - demand.transformer
        return int(demand.transformer * demand.passes + demand.vae + max(answer, coding))
    return int(max(denoising(plan, demand), demand.vae + coding))


def _picture(demand: Demand) -> float:
    """Returns the size of a picture in memory, 1 for the published one in bfloat16."""
    return demand.pixels / (384 * 672) * demand.number / 2


def chosen(free: int, demand: Demand, failed: Plan | None = None, host: int | None = None) -> Plan:
    """Returns the best plan that fits `free` bytes, of those clearly smaller than `failed`.

    `host` is the available memory of the machine, None if unknown. Raises `OutOfMemory` with the numbers if none
    fits.
    """
    left = smaller(failed, demand) if failed else PLANS
    fitting = [plan for plan in left if needed(plan, demand) + MARGIN <= free]
    for plan in fitting:
        if host is None or host_needed(plan, demand) <= host:
            return plan
    tried = f"; the plan {failed.name} was tried" if failed else ""
    if fitting and host is not None:
        least = min(host_needed(plan, demand) for plan in fitting)
        raise OutOfMemory(
            f"the model needs {least / GIB:.1f} GB of the machine's memory with a plan that fits the device, "
            f"{host / GIB:.1f} GB are available{tried}"
        )
    least = min(needed(plan, demand) for plan in left or PLANS) + MARGIN
    raise OutOfMemory(
        f"the model needs {least / GIB:.1f} GB of the device's memory, {free / GIB:.1f} GB are free"
        + tried
    )


def assisting(free: int, demand: Demand, host: int | None = None) -> Plan:
    """Returns the plan of a device that only answers for the transformer of another device's job.

    It is `swapped`, or `streamed` if that does not fit. Raises `OutOfMemory` with the numbers if neither fits.
    """
    told = []
    for plan in (Plan("swapped"), Plan("streamed")):
        pinned = demand.copied + (demand.pinned if plan.streams else 0)
        if denoising(plan, demand) + MARGIN <= free and (host is None or pinned <= host):
            return plan
        told.append(f"{plan.name} needs {(denoising(plan, demand) + MARGIN) / GIB:.1f} GB")
    raise OutOfMemory(
        f"the transformer does not fit this device: {', '.join(told)}; {free / GIB:.1f} GB are free"
    )


def smaller(failed: Plan, demand: Demand) -> tuple[Plan, ...]:
    """The plans whose peak is clearly below that of `failed`, best first: others would fail at the same place."""
    most = SMALLER * needed(failed, demand)
    return tuple(plan for plan in PLANS if needed(plan, demand) <= most)


def on_cpu(failed: Plan | None = None) -> Plan:
    """Returns the plan without a device: only tiles save memory there. Raises `OutOfMemory` after that."""
    if failed is not None and failed.is_tiled:
        raise OutOfMemory("the machine's memory is too small for this job, also in tiles")
    return Plan("swapped-tiled") if failed else Plan("resident")


def table(free: int, demand: Demand) -> Mapping[str, str]:
    """Returns each plan's demand in GB and if it fits, to explain a choice."""
    return {
        plan.name: f"{(needed(plan, demand) + MARGIN) / GIB:.1f} GB"
        + ("" if needed(plan, demand) + MARGIN <= free else f", {free / GIB:.1f} GB free")
        for plan in PLANS
    }
