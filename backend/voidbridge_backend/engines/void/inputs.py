"""A clip as tensors: the range of frames for the model, padded to a valid length.

Frames are read on demand and not kept. Plates are [1, 3, t, h, w], float32; -1 to 1 is 0 to 1 of the clip's
model space, not clamped. Quadmasks are [1, 1, t, h, w], uint8 codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from voidbridge_backend.engines.base import Clip, Pixels
from voidbridge_protocol.errors import EngineFailed

from .model.denoiser import PIXELS_PER_PATCH
from .noise.seeds import seeded
from .passes.timeline import latents_of, mirrored, padded

Read = Callable[[slice], Tensor]
"""Returns the pixels of the padded frames in a span."""


class Footage:
    """`frames` of a clip, in order, forwards and backwards until there are `length` of them."""

    def __init__(self, clip: Clip, frames: Iterable[int], window: int) -> None:
        self.clip = clip
        self.frames = list(frames)
        self.length = padded(len(self.frames), window)
        self.height, self.width = clip.height, clip.width
        self._sources = mirrored(len(self.frames), self.length)
        if self.height % PIXELS_PER_PATCH or self.width % PIXELS_PER_PATCH:
            raise EngineFailed(
                f"the model needs whole multiples of {PIXELS_PER_PATCH} pixels, "
                f"not {self.width} x {self.height}"
            )

    @property
    def latents(self) -> int:
        return latents_of(self.length)

    def plate(self, span: slice) -> Tensor:
        """Returns the plate of the padded frames in `span`."""
        pictures = [self.clip.plate(self.frames[index]) for index in self._sources[span]]
        return torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2)[None] * 2 - 1

    def quadmask(self, span: slice) -> Tensor:
        """Returns the quadmask of the padded frames in `span`."""
        masks = [self.clip.quadmask(self.frames[index]) for index in self._sources[span]]
        return torch.from_numpy(np.stack(masks))[None, None]


def grain(seed: int, span: slice, height: int, width: int) -> Tensor:
    """Returns standard normal noise [1, 3, t, height, width] for the frames in `span`; each frame always gets
    the same.
    """
    drawn = [
        torch.randn((3, height, width), generator=seeded(seed, "grain", index))
        for index in range(span.start, span.stop)
    ]
    return torch.stack(drawn, dim=1)[None]


def pictures(pixels: Tensor) -> list[Pixels]:
    """Returns decoded pixels [1, 3, t, h, w] as frames [h, w, 3] in the clip's model space, not clamped."""
    shown = (pixels[0] / 2 + 0.5).permute(1, 2, 3, 0)
    return [np.ascontiguousarray(frame.numpy()) for frame in shown]


@contextmanager
def ahead(read: Read, spans: Sequence[slice]) -> Iterator[Read]:
    """Yields a `Read` for these spans, in order, that gives each while the next one is read in a thread.

    So decoding files and coding on a device go on at the same time. Errors of `read` come with their span.
    """
    with ThreadPoolExecutor(1, "reads ahead") as thread:
        waiting = {0: thread.submit(read, spans[0])}

        def given(span: slice) -> Tensor:
            index = spans.index(span)
            if index + 1 < len(spans):
                waiting[index + 1] = thread.submit(read, spans[index + 1])
            return waiting.pop(index).result()

        yield given
