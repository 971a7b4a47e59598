"""Estimates time and memory of a job from those of former jobs. Pure; it invents no figure.

Time is seconds for each frame that was read or made, times the frames of the new job. If no former job had this
size, time is also scaled by the number of pixels, and the basis says so. Without a former job of the same settings
there is no estimate of time. For engines with memory plans, arithmetic then tells what a card has to hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voidbridge_backend.log_format import one_line
from voidbridge_backend.measured import is_listed

NEWEST = 10
"""Former jobs that count, so that another machine or release soon prevails."""
SAME_SIZE = 0.02
"""Share by which the number of pixels may differ between jobs of the same size."""
GIB = 1 << 30
HALF_CHANNELS = 8
"""Bytes of a pixel as it is sent: red, green and blue of the plate and one matte, half each, before compression."""


@dataclass(frozen=True)
class PlannedJob:
    """The job in question."""

    operation: str
    engine: str
    effort: Mapping[str, Any]
    """The settings that decide the time, by name."""
    frames: int
    """Results."""
    seen: int
    """Frames of the plate, with handles."""
    width: int
    height: int


@dataclass(frozen=True)
class Estimate:
    """Expected time and memory of a job."""

    basis: str
    """Where the figures come from."""
    seconds: tuple[float, float] | None = None
    """From the fastest and the slowest former job; None if there is none."""
    memory: int = 0
    """Bytes of the machine, at most; 0 if it is not known at this size."""
    card_memory: int = 0
    """The same of a card."""
    data: int = 0
    """Bytes of the frames that are sent, before compression."""
    card_plans: Mapping[str, int] = field(default_factory=dict)
    """Bytes that a card needs for each memory plan, the fastest first. Arithmetic, not measured."""

    def sentences(self) -> str:
        """Returns the estimate for people."""
        found = []
        if self.seconds is not None:
            low, high = (_spelled(seconds) for seconds in self.seconds)
            found.append(f"About {low}." if low == high else f"About {low} to {high}.")
        if self.memory:
            card = f", and {_size(self.card_memory)} of the card" if self.card_memory else ""
            found.append(f"At most {_size(self.memory)} of memory{card}.")
        found.append(f"Up to {_size(self.data)} to send, before compression.")
        found.append(self.basis)
        if self.card_plans:
            plans = [f"{name} {size / GIB:.1f}" for name, size in self.card_plans.items()]
            found.append(
                f"Memory of a card in GiB, by memory plan: {', '.join(plans)}. "
                "This is arithmetic for the published networks, not measured."
            )
        return " ".join(found)


def estimate(planned: PlannedJob, former: Sequence[Mapping[str, Any]]) -> Estimate:
    """`former` are jobs as `measurements` of the protocol lists them, oldest first."""
    pixels = planned.width * planned.height
    data = planned.seen * pixels * HALF_CHANNELS
    alike = [job for job in former if job["effort"] == dict(planned.effort)]
    what = f"{planned.operation} by {planned.engine} with these settings"
    if not alike:
        plans = card_plans(planned)
        known = "Time is" if plans else "Time and memory are"
        return Estimate(
            f"{known} not known: no job of {what} was measured.", data=data, card_plans=plans
        )
    same = [job for job in alike if abs(_pixels(job) / pixels - 1) <= SAME_SIZE]
    nearest = min(alike, key=lambda job: abs(_pixels(job) - pixels))
    used = same or [job for job in alike if _pixels(job) == _pixels(nearest)]
    used = used[-NEWEST:]
    scale = pixels / _pixels(used[-1])
    rates = [job["seconds"] / (job["frames"] + job["seen"]) * scale for job in used]
    count = planned.frames + planned.seen
    size = f"{used[-1]['width']} x {used[-1]['height']}"
    jobs = f"{len(used)} {'job' if len(used) == 1 else 'jobs'} of {what}"
    devices = ", ".join(sorted({one_line(job["device"]) for job in used}))
    lengths = sorted({job["frames"] for job in used})
    long = f"{lengths[0]} to {lengths[-1]}" if lengths[1:] else f"{lengths[0]}"
    said = f"Measured: {jobs}, {long} frames of {size}, on {devices}."
    if not same:
        said += f" Time is scaled by {scale:.2g} for the number of pixels, which is arithmetic."
    return Estimate(
        said,
        (min(rates) * count, max(rates) * count),
        max(int(job["memory"]) for job in same) if same else 0,
        max(int(job["card_memory"]) for job in same) if same else 0,
        data,
    )


def card_plans(planned: PlannedJob) -> dict[str, int]:
    """Returns the memory plans of an engine and their bytes, for the longest run of its published networks.

    Empty for an engine without plans, and for a preview of `void`, whose need grows with the clip.
    """
    effort = planned.effort
    if planned.engine == "void" and effort.get("quality") != "preview":
        return _void_plans(int(effort["passes"]), bool(effort["detail"]))
    if planned.engine == "ltx":
        return _ltx_plans(planned, bool(effort["upscale"]), effort["precision"] == "fp8")
    return {}


def _void_plans(passes: int, with_detail: bool) -> dict[str, int]:
    from voidbridge_backend.engines.void.model import memory  # only here: most jobs need no model

    demand = memory.BOTH_PASSES if passes == 2 else memory.ONE_PASS
    demand = replace(demand, detail=4 if with_detail else 1)
    return {plan.name: memory.needed(plan, demand) + memory.MARGIN for plan in memory.PLANS}


def _ltx_plans(planned: PlannedJob, upscale: bool, fp8: bool) -> dict[str, int]:
    from voidbridge_backend.engines.ltx import memory
    from voidbridge_backend.engines.ltx.pictures import GRID, PIXELS, Fit
    from voidbridge_backend.engines.ltx.windows import FRAMES

    times = 2 if upscale else 1
    fit = Fit.of(planned.height, planned.width, 1.0, PIXELS * times**2, GRID * times)
    networks = dict(memory.PUBLISHED)
    networks["transformer"] //= 2 if fp8 else 1
    guided = planned.effort["schedule"] == "full"
    demand = memory.NetworkDemand(networks, FRAMES, *fit.model, guided=guided)
    return {plan: memory.needed(plan, demand) + memory.MARGIN for plan in memory.PLANS}


def parsed(text: bytes) -> list[dict[str, Any]]:
    """Returns the jobs of a daemon's answer. Entries that are no jobs are ignored."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [job for job in found if is_listed(job)] if isinstance(found, list) else []


def _pixels(job: Mapping[str, Any]) -> int:
    return int(job["width"]) * int(job["height"])


def _spelled(seconds: float) -> str:
    """As 40 s, 12 min or 3.5 h."""
    if seconds < 100:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(round(count / 1e6), 1)} MB"
