"""Streams a transformer's blocks to a device: a copy of each arrives there shortly before the block runs.

The host holds all blocks in page-locked memory, packed into pieces. The device holds a ring of `SLOTS` slots. Block
i always uses slot i modulo `SLOTS`, so its weights are the same views of one buffer in every evaluation. Copies run
in a lane of their own beside the computation. Everything happens outside of a block's `forward`, which may be
compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

SLOTS = 3
"""Blocks on the device: one computes, one is ready, one arrives."""

PIECE = 256 << 20
"""Largest page-locked allocation in bytes. torch rounds each to a power of two; `pieces` are such already."""
SMALLEST = 1 << 20

ALIGNMENT = 256
"""Weights start at multiples of this many bytes. Kernels for matrices need 16."""

Moment = Any
"""A point in the work of a lane."""


class Lanes(Protocol):
    """Two queues of work on a device: one computes, one copies. The host only fills them."""

    def computed(self) -> Moment:
        """Returns the end of the computation so far."""

    def copy(self, parts: Sequence[tuple[Tensor, Tensor]], after: Moment) -> Moment:
        """Copies (target, source) pairs once `after` has passed. Returns the end of the copies."""

    def wait(self, moment: Moment) -> None:
        """Lets further computation wait for a moment of the copies."""

    def finish(self) -> None:
        """Lets host and computation wait for all copies."""


class CudaLanes:
    """The current stream of a CUDA device, and one for copies."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        stream: Any = torch.cuda.Stream
        self._copies = stream(device)

    def computed(self) -> Moment:
        return torch.cuda.current_stream(self._device).record_event()

    def copy(self, parts: Sequence[tuple[Tensor, Tensor]], after: Moment) -> Moment:
        self._copies.wait_event(after)
        with torch.cuda.stream(self._copies):
            for target, source in parts:
                target.copy_(source, non_blocking=True)
        return self._copies.record_event()

    def wait(self, moment: Moment) -> None:
        torch.cuda.current_stream(self._device).wait_event(moment)

    def finish(self) -> None:
        self._copies.synchronize()


class HostLanes:
    """Lanes of a device without streams: each copy is finished when it returns."""

    def computed(self) -> Moment:
        return None

    def copy(self, parts: Sequence[tuple[Tensor, Tensor]], after: Moment) -> Moment:
        for target, source in parts:
            target.copy_(source)
        return None

    def wait(self, moment: Moment) -> None: ...

    def finish(self) -> None: ...


class HostPool:
    """`size` bytes of host memory in pieces of at most `PIECE`, page-locked if `pinned`."""

    def __init__(self, size: int, *, pinned: bool) -> None:
        self.size = size
        self._pieces = [
            torch.empty(piece, dtype=torch.uint8, pin_memory=pinned) for piece in pieces(size)
        ]

    def spans(self, start: int, stop: int) -> Iterator[Tensor]:
        """Yields views that together are the bytes from `start` to `stop`."""
        for piece in self._pieces:
            if start < min(len(piece), stop):
                yield piece[max(start, 0) : min(stop, len(piece))]
            start, stop = max(start - len(piece), 0), stop - len(piece)
            if stop <= 0:
                return


class StreamedBlocks:
    """A copy of a network's blocks in a `HostPool`, and their way to a device."""

    def __init__(self, network: Any, *, pinned: bool, pool: HostPool | None = None) -> None:
        """`pool` is used again if it is large enough, so that two passes need the memory of one."""
        self.network = network
        self._layouts = [_layout(block) for block in network.transformer_blocks]
        self._starts = _running(size for _, size in self._layouts)
        size = self._starts[-1]
        self.pool = pool if pool and pool.size >= size else HostPool(size, pinned=pinned)
        for block, (offsets, _), start in zip(
            network.transformer_blocks, self._layouts, self._starts, strict=False
        ):
            for name, tensor in block.state_dict().items():
                self._keep(tensor, start + offsets[name])

    @contextmanager
    def streaming(self, device: torch.device, lanes: Lanes) -> Iterator[None]:
        """Within it, the network computes on `device`, with its blocks in a ring of slots there."""
        network, blocks = self.network, list(self.network.transformer_blocks)
        home = dict(network.state_dict())
        size = max(size for _, size in self._layouts)
        slots = [
            torch.empty(size, dtype=torch.uint8, device=device)
            for _ in range(min(SLOTS, len(blocks)))
        ]
        here = {}
        for name, tensor in home.items():
            root, _, rest = name.partition(".")
            if root != "transformer_blocks":
                here[name] = tensor.to(device)
                continue
            number, _, inner = rest.partition(".")
            offset = self._layouts[int(number)][0][inner]
            stored = slots[int(number) % len(slots)][offset : offset + tensor.nbytes]
            here[name] = stored.view(tensor.dtype).view(tensor.shape)
        ring = _Ring(len(blocks), slots, self._sources, lanes)
        network.load_state_dict(here, strict=True, assign=True)
        try:
            with _around(blocks, ring):
                ring.begin()
                yield
        finally:
            lanes.finish()
            network.load_state_dict(home, strict=True, assign=True)

    def _sources(self, block: int) -> Iterator[Tensor]:
        start = self._starts[block]
        return self.pool.spans(start, start + self._layouts[block][1])

    def _keep(self, tensor: Tensor, start: int) -> None:
        flat, done = tensor.detach().contiguous().view(torch.uint8).flatten(), 0
        for span in self.pool.spans(start, start + tensor.nbytes):
            span.copy_(flat[done : done + len(span)])
            done += len(span)


class _Ring:
    """The slots on the device, and the block that each holds or is about to hold."""

    def __init__(
        self,
        blocks: int,
        slots: list[Tensor],
        sources: Callable[[int], Iterator[Tensor]],
        lanes: Lanes,
    ) -> None:
        self._blocks, self._slots, self._sources, self._lanes = blocks, slots, sources, lanes
        self._held = [-1] * len(slots)
        self._ready: list[Moment] = [None] * len(slots)

    def begin(self) -> None:
        """Fetches the first blocks."""
        for block in range(len(self._slots)):
            self._fetch(block)

    def before(self, block: int) -> None:
        """Waits for the block. It is already on its way unless blocks were skipped."""
        slot = block % len(self._slots)
        if self._held[slot] != block:
            self._fetch(block)
        self._lanes.wait(self._ready[slot])

    def after(self, block: int) -> None:
        """Fetches the next block of this slot, or the first one for the next evaluation."""
        following = block + len(self._slots)
        if following >= self._blocks:
            following = block % len(self._slots)
        if following != block:
            self._fetch(following)

    def _fetch(self, block: int) -> None:
        slot, done = block % len(self._slots), 0
        parts = []
        for source in self._sources(block):
            parts.append((self._slots[slot][done : done + len(source)], source))
            done += len(source)
        self._held[slot] = block
        self._ready[slot] = self._lanes.copy(parts, self._lanes.computed())


def device_bytes(network: Any) -> int:
    """Returns the weights of a transformer that are on the device at a time, in bytes."""
    sizes = [_layout(block)[1] for block in network.transformer_blocks]
    whole, inside = (
        sum(int(tensor.nbytes) for tensor in part.state_dict().values())
        for part in (network, network.transformer_blocks)
    )
    return whole - inside + max(sizes) * min(SLOTS, len(sizes))


def host_bytes(network: Any) -> int:
    """Returns the page-locked host memory that streaming a transformer takes, in bytes."""
    return sum(pieces(sum(_layout(block)[1] for block in network.transformer_blocks)))


def pieces(size: int) -> list[int]:
    """Returns powers of two that together hold `size` bytes, with less than `SMALLEST` to spare."""
    found = []
    while size > 0:
        found.append(min(PIECE, max(SMALLEST, 1 << (size.bit_length() - 1))))
        size -= found[-1]
    return found


@contextmanager
def _around(blocks: Sequence[nn.Module], ring: _Ring) -> Iterator[None]:
    """Within it, each block's `forward`, compiled or not, tells the ring when it begins and ends."""

    def watched(index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            ring.before(index)
            try:
                return forward(*args, **kwargs)
            finally:
                ring.after(index)

        return run

    before = [vars(block).get("forward") for block in blocks]
    for index, block in enumerate(blocks):
        block.forward = watched(index, block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward


def _layout(block: nn.Module) -> tuple[dict[str, int], int]:
    """Returns each weight's offset within its block and the block's size, in bytes."""
    names = block.state_dict()
    starts = _running(-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in names.values())
    return dict(zip(names, starts, strict=False)), starts[-1]


def _running(sizes: Any) -> list[int]:
    """Returns 0 and the sums so far."""
    found = [0]
    for size in sizes:
        found.append(found[-1] + size)
    return found
