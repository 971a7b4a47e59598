"""Moves networks to the device and away from it, according to a memory plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from voidbridge_backend.engines.void.model.streaming import (
    CudaLanes,
    HostLanes,
    Lanes,
    StreamedBlocks,
)

from .memory import Plan


def host_available(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Returns the bytes of this machine that programs can still take, as Linux estimates it; None elsewhere."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


class DevicePlacement:
    """One device and the networks on it. A network that was never moved here costs nothing."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(f"{device}:0" if device == "cuda" else device)
        self._at_home: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._streamed: StreamedBlocks | None = None

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def lanes(self) -> Lanes:
        """Returns the device's queues of computation and copies."""
        return CudaLanes(self.device) if self.device.type == "cuda" else HostLanes()

    def free(self) -> int:
        """Returns the bytes available to a job if all of this engine's networks left the device."""
        return int(
            torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device)
        )

    def total(self) -> int:
        """Returns the bytes of the device."""
        return int(torch.cuda.mem_get_info(self.device)[1])

    def host(self) -> int | None:
        """Returns the host memory available to a job: all that is free, and the page-locked memory that is kept."""
        free = host_available()
        return None if free is None else free + (self._streamed.pool.size if self._streamed else 0)

    @contextmanager
    def working(self, network: Any, plan: Plan, *, in_blocks: bool = False) -> Iterator[None]:
        """Within it, `network` computes on the device. With `in_blocks` it may be streamed there.

        Weights are copied to the device and dropped afterwards. The originals stay mapped from their files, so
        moving away copies nothing.
        """
        if self.is_cpu:
            yield
            return
        if in_blocks and plan.streams:
            with self._blocks(network).streaming(self.device, self.lanes()):
                yield
            torch.cuda.empty_cache()
            return
        self._bring(network)
        try:
            yield
        finally:
            if not plan.stays:
                self._take_away(network)

    def clear(self) -> None:
        """Removes everything from the device, and frees the page-locked memory of streamed blocks."""
        for network, _ in list(self._at_home.values()):
            self._take_away(network)
        if self._streamed is not None:
            self._streamed = None
            if self.device.type == "cuda" and hasattr(torch.accelerator, "empty_host_cache"):
                torch.accelerator.empty_host_cache()  # Older versions of torch keep it for the next pool.

    def _bring(self, network: Any) -> None:
        if id(network) in self._at_home:
            return
        home = dict(network.state_dict())
        self._at_home[id(network)] = (network, home)
        here = {name: tensor.to(self.device) for name, tensor in home.items()}
        network.load_state_dict(here, strict=True, assign=True)

    def _take_away(self, network: Any) -> None:
        _, home = self._at_home.pop(id(network))
        network.load_state_dict(home, strict=True, assign=True)
        torch.cuda.empty_cache()

    def _blocks(self, network: Any) -> StreamedBlocks:
        """Returns the copy of a network's blocks on the host. There is one at a time, for either pass."""
        if self._streamed is None or self._streamed.network is not network:
            pool = self._streamed.pool if self._streamed else None
            pinned = self.device.type == "cuda"
            self._streamed = StreamedBlocks(network, pinned=pinned, pool=pool)
        return self._streamed
