"""A simulated card: whole jobs at the true sizes of the published networks, without computing anything.

Tensors on the card (torch's device `meta`) have shapes and no values, and a meter counts their bytes. Tensors on
the host are real; those that come from the card are ones. An operation that mixes both devices is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from live_memory import CARD, Meter, autoencoder, transformer
from torch import Tensor
from torch.utils._pytree import tree_leaves

from voidbridge_backend.engines.void.files import weights
from voidbridge_backend.engines.void.inputs import Footage
from voidbridge_backend.engines.void.model import streaming
from voidbridge_backend.engines.void.model.denoiser import Denoiser
from voidbridge_backend.engines.void.model.device_placement import DevicePlacement
from voidbridge_backend.engines.void.model.memory import NOISE_PIXEL, NOISE_STEP, Demand, Plan
from voidbridge_backend.engines.void.model.vae import Vae
from voidbridge_backend.engines.void.noise import picture_noise
from voidbridge_backend.engines.void.noise.flow import Dis
from voidbridge_backend.engines.void.noise.warped_noise import Field
from voidbridge_backend.engines.void.options import Options
from voidbridge_backend.engines.void.passes.detail import Smaller

ATEN = torch.ops.aten
COPIES = {ATEN._to_copy.default, ATEN.copy_.default}
PLACED = {ATEN.index_put_.default, ATEN.index.Tensor, ATEN._index_put_impl_.default}
"""Operations that may take indices from the host."""
LARGE = 1 << 26
"""Copies of so many bytes within the host are not made: nothing looks at weights."""


class Simulation(Meter):
    """Within it, the card computes shapes. It counts live bytes and names the waits for the card."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket is ATEN.to:  # Inference mode leaves it whole.
            with self:
                return func.decompose(*args, **kwargs)
        if func is ATEN._local_scalar_dense.default and args[0].device == CARD:
            self.waits.append("item")
            return True
        if func in COPIES:
            answer = self._copied(func, args, kwargs)
        else:
            self._check(func, args, kwargs)
            answer = func(*args, **kwargs)
        for tensor in tree_leaves(answer):
            if isinstance(tensor, Tensor) and tensor.device == CARD:
                self.count(tensor)
        return answer

    def _copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is ATEN._to_copy.default:
            source, target = args[0], torch.device(kwargs.get("device") or args[0].device)
            if source.device == target:
                return func(*args, **kwargs)
            dtype = kwargs.get("dtype") or source.dtype
            return torch.ones(source.shape, dtype=dtype, device=target)
        target, source = args[:2]
        if target.device != source.device or target.nbytes >= LARGE:
            assert target.numel() == source.numel() or source.numel() == 1
            return target
        return func(*args, **kwargs)

    def _check(self, func: Any, args: Any, kwargs: Any) -> None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        places = {tensor.device for tensor in tensors if tensor.ndim}
        if len(places) > 1 and func not in PLACED:
            raise AssertionError(f"{func} mixes {places}")


class Placement(DevicePlacement):
    """A simulated card of `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__("meta")
        self.size = size

    def free(self) -> int:
        return self.size

    total = free


class Prompts:
    """Embeddings of the true size."""

    def embeddings(self, texts: list[str], device: str) -> list[Tensor]:
        return [torch.zeros(1, 226, 4096) for _ in texts]

    def lacking(self, texts: list[str], device: str) -> list[str]:
        return []


class Grey:
    """A grey clip at `times` the model's size, with a hole in every frame."""

    def __init__(self, count: int, times: int) -> None:
        self.frames = range(1001, 1001 + count)
        self.height, self.width = 384 * times, 672 * times

    def plate(self, frame: int) -> Any:
        return np.full((self.height, self.width, 3), 0.5, np.float32)

    def quadmask(self, frame: int) -> Any:
        return np.zeros((self.height, self.width), np.uint8)

    def has_hole(self, frame: int) -> bool:
        return True


class Model:
    """The published networks, with `layers` blocks of the 42, as a job uses them."""

    attention = "torch"
    flow = Dis()

    def __init__(self, models: Path, plan: Plan, options: Options) -> None:
        """`models` is a tiny folder, for the scheduler's configuration."""
        self.models, self.options, self.chosen = models, options, plan
        self.placement = Placement(1 << 40)
        self.prompts = Prompts()
        self._vae = Vae(at_home(weights.on_meta(autoencoder)))
        self._denoisers = {}
        for number in (1, 2):
            self._denoisers[number] = Denoiser(at_home(weights.on_meta(transformer)))

    def load(self, passes: int, watch: Any) -> None: ...

    def seen(self, footage: Footage, settings: Any) -> Footage:
        times = footage.height // 384
        if not settings.detail:
            return footage
        return Footage(Smaller(footage.clip, times), footage.frames, self.options.window)

    def plan(self, footage: Any, settings: Any, watch: Any, failed: Any = None) -> Plan:
        return self.chosen

    def weights(self, passes: int) -> int:
        return 0

    def vae(self) -> Vae:
        return self._vae

    def denoiser(self, number: int) -> Denoiser:
        return self._denoisers[number]

    def demand(self, passes: int, guided: bool, latents: int, frames: int, detail: int) -> Demand:
        network = self._denoisers[1].network
        return Demand(
            transformer=sum(tensor.nbytes for tensor in network.parameters()),
            vae=sum(tensor.nbytes for tensor in self._vae.network.parameters()),
            passes=passes,
            streamed=streaming.device_bytes(network),
            pinned=streaming.host_bytes(network),
            pixels=384 * 672,
            latents=latents,
            batch=2 if guided else 1,
            frames=frames,
            detail=detail,
            noise=picture_noise.pixels(384, 672, self.options.fineness) * (passes == 2),
        )


def moved(field: Field, flow: Tensor, draw: Any, *, pool_fresh: bool = False) -> Field:
    """In place of `warped_noise.step`, whose work depends on values: takes its memory (`NOISE_STEP`)."""
    assert flow.device == field.noise.device == CARD
    assert 4 * field.noise.shape[1] + 4 == NOISE_PIXEL
    torch.empty(len(field.weight) * (NOISE_STEP - NOISE_PIXEL), dtype=torch.uint8, device=CARD)
    return Field(torch.empty_like(field.noise), torch.empty_like(field.weight), field.height)


def at_home(network: Any) -> Any:
    """Gives a network weights on the host in bfloat16. Their pages are never touched."""
    home = {
        name: torch.empty(tensor.shape, dtype=torch.bfloat16)
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(home, strict=True, assign=True)
    return network.eval().requires_grad_(False)
