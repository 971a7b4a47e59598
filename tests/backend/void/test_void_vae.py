"""The decode schedule, and tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model.vae import Vae, VaeTiles, decode_chunks, encode_chunks
from voidbridge_backend.engines.void.passes.timeline import latents_of


@pytest.fixture(scope="module")
def vae(tiny: Path) -> Vae:
    return networks.vae(tiny, torch.float32)


def pixels(frames: int, height: int = 32, width: int = 32) -> Tensor:
    return (
        torch.rand((1, 3, frames, height, width), generator=torch.Generator().manual_seed(0)) * 2
        - 1
    )


def encoded(vae: Vae, video: Tensor, tiles: VaeTiles | None = None) -> Tensor:
    return torch.cat(list(vae.encode(lambda span: video[:, :, span], video.shape[2], tiles)), dim=2)


@pytest.mark.parametrize("frames", [1, 5, 9, 13, 21, 29])
def test_what_is_encoded_decodes_to_as_many_frames(vae: Vae, frames: int) -> None:
    latents = encoded(vae, pixels(frames))
    assert latents.shape == (1, 16, latents_of(frames), 4, 4)
    assert torch.cat(list(vae.decode(latents)), dim=2).shape == (1, 3, frames, 32, 32)


@pytest.mark.parametrize("frames", range(1, 60))
def test_chunks_cover_every_frame_once(frames: int) -> None:
    for chunks, count in ((encode_chunks(frames), frames), (decode_chunks(frames), frames)):
        assert [index for span in chunks for index in range(span.start, span.stop)] == list(
            range(count)
        )


def test_frames_come_out_chunk_by_chunk_before_the_rest_is_decoded(vae: Vae) -> None:
    latents = encoded(vae, pixels(21))
    changed = latents.clone()
    changed[:, :, 3:] += 1
    for index, (one, two) in enumerate(zip(vae.decode(latents), vae.decode(changed), strict=True)):
        assert torch.equal(one, two) == (index < 2)


def test_decoding_again_is_the_same(vae: Vae) -> None:
    latents = encoded(vae, pixels(13))
    once, again = (torch.cat(list(vae.decode(latents)), dim=2) for _ in range(2))
    assert torch.equal(once, again)


def test_one_tile_over_everything_changes_nothing(vae: Vae) -> None:
    video = pixels(13)
    whole = encoded(vae, video)
    assert torch.allclose(encoded(vae, video, VaeTiles(8, 8, 2)), whole, atol=1e-6)
    decoded, tiled = (
        torch.cat(list(vae.decode(whole, t)), dim=2) for t in (None, VaeTiles(8, 8, 2))
    )
    assert torch.allclose(decoded, tiled, atol=1e-6)


def test_small_tiles_overlap_by_half_and_large_ones_as_they_say() -> None:
    assert len(VaeTiles(4, 6).places(8, 12)) == 9
    assert len(VaeTiles().places(48, 84)) == 4


def test_tiles_come_close_to_the_whole(vae: Vae) -> None:
    video = pixels(5, 64, 96)
    whole = encoded(vae, video)
    tiles = VaeTiles(6, 8, 3)
    tiled = encoded(vae, video, tiles)
    assert tiled.shape == whole.shape
    assert (tiled - whole).square().mean().sqrt() < 0.5 * whole.std()
    decoded, patched = (torch.cat(list(vae.decode(whole, t)), dim=2) for t in (None, tiles))
    assert patched.shape == decoded.shape
    assert (patched - decoded).square().mean().sqrt() < 0.5 * decoded.std()
