"""A pretended card: tensors with the published shapes and no values, and a meter of their live bytes."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD = torch.device("meta")
TRANSFORMER = json.loads(
    """{"num_attention_heads": 48, "attention_head_dim": 64, "num_layers": 42, "in_channels": 48,
    "out_channels": 16, "patch_size": 2, "patch_size_t": 2, "patch_bias": false, "text_embed_dim": 4096,
    "time_embed_dim": 512, "max_text_seq_length": 226, "sample_frames": 85, "sample_height": 384,
    "sample_width": 680, "use_rotary_positional_embeddings": true,
    "use_learned_positional_embeddings": false, "timestep_activation_fn": "silu"}"""
)
VAE = json.loads(
    """{"block_out_channels": [128, 256, 256, 512], "layers_per_block": 3, "norm_num_groups": 32,
    "latent_channels": 16, "scaling_factor": 0.7, "sample_height": 480, "sample_width": 720}"""
) | {
    "down_block_types": ["CogVideoXDownBlock3D"] * 4,
    "up_block_types": ["CogVideoXUpBlock3D"] * 4,
}


class Meter(TorchDispatchMode):
    """Counts the bytes of all storages on the card that are alive, and their peak. Names waits for the card."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.waits: list[str] = []
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device == CARD:
            self.waits.append("item")
        answer = func(*args, **kwargs or {})
        for tensor in tree_leaves(answer):
            if isinstance(tensor, torch.Tensor) and tensor.device == CARD:
                self.count(tensor)
        return answer

    def count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        weakref.finalize(storage, self._free, size)
        self.live += size  # No call in this line: it might collect garbage, and `_free` be undone.
        self.peak = max(self.peak, self.live)

    def _free(self, size: int) -> None:
        self.live -= size


@contextmanager
def pretended_card() -> Iterator[Meter]:
    """Within it, all new tensors have no values; the meter counts those on the card."""
    with torch.inference_mode(), FakeTensorMode(), Meter() as meter:
        yield meter


def autoencoder() -> Any:
    return AutoencoderKLCogVideoX.from_config(VAE)


def transformer() -> Any:
    return CogVideoXTransformer3DModel.from_config(TRANSFORMER)


def on_card(network: Any) -> Any:
    """Moves a network without values there, in bfloat16, as a placement does."""
    return in_bfloat16(network, CARD)


def in_bfloat16(network: Any, device: torch.device) -> Any:
    moved = {name: t.to(device, torch.bfloat16) for name, t in network.state_dict().items()}
    network.load_state_dict(moved, strict=True, assign=True)
    return network.eval()
