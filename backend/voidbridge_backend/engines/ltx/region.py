"""LTX-2 with whole latents of a video kept anywhere, and the others made: a part of a clip is taken again.

The pipeline of diffusers keeps latents at the begin of a video only. It takes any other known frames as tokens
beside the video, which guide and are not kept. Here kept latents are clean in every step, with a time of 0 for each
of their tokens, as those at the begin are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import LTX2ConditionPipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from numpy.typing import NDArray

Eight = NDArray[np.uint8]
Base: Any = LTX2ConditionPipeline
"""Without types: diffusers gives its pipelines none."""


@dataclass(frozen=True)
class KeptRegion:
    """Known latents of a run."""

    clip: Eight
    """[frames, height, width, 3]: the whole run, 0 to 255. A latent depends on the frames before it too."""
    first: int
    """The first latent that is kept."""
    count: int


class RegionPipeline(Base):  # type: ignore[misc]
    """Set `kept` before a call; None keeps nothing but what the conditions say."""

    kept: KeptRegion | None = None

    def prepare_latents(
        self,
        conditions: Any = None,
        batch_size: int = 1,
        num_channels_latents: int = 128,
        height: int = 512,
        width: int = 768,
        num_frames: int = 121,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Any]:
        """As the pipeline's own, with the region's tokens clean and masked."""
        latents, mask, clean, coords = super().prepare_latents(
            conditions, batch_size, num_channels_latents, height, width, num_frames, **more
        )
        if self.kept is not None:
            whole = self._encoded(self.kept.clip, height, width, num_frames, latents)
            tokens = whole.shape[1] // ((num_frames - 1) // self.vae_temporal_compression_ratio + 1)
            place = slice(self.kept.first * tokens, (self.kept.first + self.kept.count) * tokens)
            latents[:, place] = clean[:, place] = whole[:, place]
            mask[:, place] = 1
        return latents, mask, clean, coords

    def _encoded(
        self, clip: Eight, height: int, width: int, num_frames: int, like: torch.Tensor
    ) -> torch.Tensor:
        """[1, tokens, channels] of the whole run, latent after latent."""
        condition = LTX2VideoCondition(clip, 0, 1.0, crf=0)
        (frames,), *_ = self.preprocess_conditions(
            condition, height, width, num_frames, device=like.device
        )
        found = self._normalize_latents(
            self.vae.encode(frames).latent_dist.mode(), self.vae.latents_mean, self.vae.latents_std
        )
        packed: torch.Tensor = self._pack_latents(
            found.to(like),
            self.transformer_spatial_patch_size,
            self.transformer_temporal_patch_size,
        )
        return packed
