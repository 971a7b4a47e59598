"""One evaluation of the transformer: the velocity of the latents of one window.

The network is diffusers' `CogVideoXTransformer3DModel` with 48 input channels: 16 noisy latents, 16 latents of
the mask, 16 of the plate. Tensors are [1, frames, channels, height, width] in latents.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor

from voidbridge_protocol.errors import EngineFailed

from .attention import use
from .compiled import Compiled
from .kernels import Attention

PIXELS_PER_PATCH = 16
"""Edge in pixels of a transformer token; frame sizes are whole multiples of it."""


@dataclass(frozen=True)
class Text:
    """The prompt as embeddings [1, 226, width], on any device.

    `negative` is the prompt that guidance leads away from; guidance 1 ignores it.
    """

    prompt: Tensor
    negative: Tensor | None = None

    def prompts(self, guidance: float) -> list[Tensor]:
        """Returns the embeddings that an evaluation needs: [prompt], or [negative, prompt] with guidance."""
        if guidance == 1:
            return [self.prompt]
        if self.negative is None:
            raise EngineFailed(f"guidance {guidance:g} needs the embedding of a negative prompt")
        return [self.negative, self.prompt]

    def on(self, device: torch.device) -> Text:
        return Text(
            self.prompt.to(device), None if self.negative is None else self.negative.to(device)
        )


@dataclass(frozen=True)
class Conditions:
    """The latents of mask and plate of a whole clip, [1, frames, 16, h/8, w/8], float32."""

    mask: Tensor
    plate: Tensor

    @property
    def latents(self) -> int:
        return self.plate.shape[1]

    def on(self, device: torch.device) -> Conditions:
        return Conditions(self.mask.to(device), self.plate.to(device))

    def in_run(self, run: slice) -> Tensor:
        """[1, run, 32, h/8, w/8]: the channels to concatenate to the noisy latents."""
        return torch.cat([self.mask[:, run], self.plate[:, run]], dim=2)


class Denoiser:
    """The transformer, on its current device, with cached positions. (diffusers has no types.)"""

    def __init__(self, network: Any, attention: Attention = "torch") -> None:
        self.network = network
        self._attention = attention
        use(network, attention)
        # Nearly all windows have one length, and code for one length is faster.
        self.compiled = Compiled("the transformer", "compile", network.transformer_blocks, None)
        self._positions: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    @property
    def attention(self) -> Attention:
        """The kernels to try first. A change holds from the next evaluation on, also in compiled blocks."""
        return self._attention

    @attention.setter
    def attention(self, choice: Attention) -> None:
        self._attention = choice
        use(self.network, choice)

    @contextmanager
    def reusing(self, change: float) -> Iterator[None]:
        """Within it, the first block's output decides at each step if the other blocks are evaluated.

        The others' last contribution is added again if that output differs from the last full evaluation by less
        than the fraction `change` (first-block cache, of ParaAttention). This is not lossless, and the
        host waits once more per step. 0 always evaluates all blocks. For each part of a clip, three outputs of
        a block are kept.
        """
        if not change:
            yield
            return
        config: Any = FirstBlockCacheConfig
        self.network.enable_cache(config(threshold=change))
        try:
            yield
        finally:
            self.network.disable_cache()

    def velocity(
        self,
        latents: Tensor,
        known: Tensor,
        text: Text,
        timestep: int,
        guidance: float,
        part: str = "",
    ) -> Tensor:
        """Returns the velocity of `latents` [1, t, 16, h, w] at `timestep`, float32, on the latents' own device.

        `known` is `Conditions.in_run` of the same frames, an even number of them. Guidance 1 evaluates the
        network once; otherwise it evaluates a batch of two: [negative, prompt]. `part` identifies the window or
        tile, so that cached outputs are not used for another (`reusing`).
        """
        answer = self.outputs(latents, known, text.prompts(guidance), timestep, part)
        return guided(answer, guidance).to(latents.device)

    def outputs(
        self, latents: Tensor, known: Tensor, prompts: list[Tensor], timestep: int, part: str = ""
    ) -> Tensor:
        """Returns the network's output for each of `prompts` in one batch, [n, t, 16, h, w], float32, on its
        device.
        """
        network = self.network
        seen = torch.cat([latents.to(network.device), known.to(network.device)], dim=2)
        with torch.inference_mode():
            asked: dict[str, Any] = {
                "hidden_states": seen.to(network.dtype).expand(len(prompts), -1, -1, -1, -1),
                "encoder_hidden_states": torch.cat(prompts).to(network.device, network.dtype),
                "timestep": torch.full((len(prompts),), timestep, device=network.device),
                "image_rotary_emb": self.positions(
                    latents.shape[1], latents.shape[3], latents.shape[4]
                ),
                "return_dict": False,
            }
            return self.compiled.run(lambda: self._answer(asked, part), self._forget).float()

    def _answer(self, inputs: dict[str, Any], part: str) -> Tensor:
        network = self.network
        with network.cache_context(part) if network.is_cache_enabled else nullcontext():
            answer: Tensor = network(**inputs)[0]
            return answer

    def _forget(self) -> None:
        """Clears the cache, which may hold part of an interrupted evaluation."""
        if self.network.is_cache_enabled:
            self.network._reset_stateful_cache()

    @property
    def blocks(self) -> int:
        """The number of transformer blocks."""
        return len(self.network.transformer_blocks)

    def parts(self) -> list[Any]:
        """The modules of a step, in small pieces. A compiled block allows no callbacks inside."""
        blocks = self.network.transformer_blocks
        if self.compiled.is_on:
            return list(blocks)
        return [part for block in blocks for part in (block.attn1, block.ff)]

    def positions(self, frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Returns rotary cosines and sines [tokens, head size] of a window of latents; time starts at 0 in each."""
        key = (frames, height, width)
        if key not in self._positions or self._positions[key][0].device != self.network.device:
            self._positions[key] = self._computed_positions(*key)
        return self._positions[key]

    def _computed_positions(self, frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        config = self.network.config
        grid = (height // config.patch_size, width // config.patch_size)
        most = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
        if grid[0] > most[0] or grid[1] > most[1]:
            raise EngineFailed(
                f"{width * 8} x {height * 8} pixels exceed the model's largest size of "
                f"{most[1] * PIXELS_PER_PATCH} x {most[0] * PIXELS_PER_PATCH}",
                "Choose a smaller size for the region.",
            )
        cosines, sines = get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim,
            crops_coords=None,
            grid_size=grid,
            temporal_size=-(-frames // config.patch_size_t),
            grid_type="slice",
            max_size=most,
            device=self.network.device,
        )
        return cosines, sines


def guided(answer: Tensor, guidance: float) -> Tensor:
    """Applies guidance: away from the negative prompt and past the prompt. A single output is returned unchanged.

    Classifier-free guidance (Ho and Salimans 2022) on a batch of [negative, prompt].
    """
    if answer.shape[0] == 1:
        return answer
    negative, prompt = answer.chunk(2)
    return negative + guidance * (prompt - negative)
