"""Moves networks to the device and away from it, according to a memory plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

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
        self._streamed: set[int] = set()

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def free(self) -> int:
        """Returns the bytes available to a job if all of this engine's networks left the device."""
        return int(
            torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device)
        )

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
            self._stream(network)
            yield
            return
        self._bring(network)
        try:
            yield
        finally:
            if not plan.stays:
                self._take_away(network)

    def clear(self) -> None:
        """Removes everything from the device and forgets streamed networks, which must not be used again."""
        for network, _ in list(self._at_home.values()):
            self._take_away(network)
        self._streamed.clear()

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

    def _stream(self, network: Any) -> None:
        if id(network) in self._streamed:
            return
        network.enable_group_offload(
            onload_device=self.device,
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=True,
            record_stream=True,
            non_blocking=True,
        )
        self._streamed.add(id(network))
