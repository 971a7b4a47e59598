"""Shared parts of the benchmark of `void`: networks, a shot, a stopwatch, a device."""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from voidbridge_backend.engines.void import options as engine_options
from voidbridge_backend.engines.void import tiny
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.files.weights import BASE, PASSES, on_meta
from voidbridge_backend.engines.void.model import kernels
from voidbridge_backend.engines.void.model.denoiser import Denoiser, Text
from voidbridge_backend.engines.void.model.memory import GIB, Plan
from voidbridge_backend.engines.void.model.vae import Vae

TRANSFORMER = tiny.TRANSFORMER | {
    "num_attention_heads": 48,
    "attention_head_dim": 64,
    "num_layers": 42,
    "text_embed_dim": 4096,
    "time_embed_dim": 512,
}
VAE = tiny.VAE | {
    "block_out_channels": [128, 256, 256, 512],
    "layers_per_block": 3,
    "norm_num_groups": 32,
}
"""The published architecture. The text encoder stays tiny: it is asked once for a prompt, and never timed."""
TEXT_ENCODER = tiny.TEXT_ENCODER | {"d_model": 4096}

RESIDENT = Plan("resident")


class Quiet:
    def step(self, stage: str, done: int, of: int) -> None:
        return None

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr)


class Stopwatch(Quiet):
    """Seconds between the steps of the first pass."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def step(self, stage: str, done: int, of: int) -> None:
        if stage == "removing":
            self.times.setdefault(done, time.perf_counter())

    def seconds_a_step(self) -> float:
        """Without the first, which compiles. The engine waits for the device before it tells of a step."""
        return (self.times[max(self.times)] - self.times[1]) / (max(self.times) - 1)


class Shot:
    """A textured plate that pans, with a hole in every frame; [height, width, 3] in [0, 1]."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.frames, self.height, self.width = range(1001, 1001 + count), height, width
        self._scene = np.random.default_rng(3).random((height, width + count, 3), np.float32)

    def plate(self, frame: int) -> Any:
        return self._scene[:, frame - self.frames[0] :][:, : self.width].copy()

    def quadmask(self, frame: int) -> Any:
        mask = np.full((self.height, self.width), 255, np.uint8)
        mask[self.height // 4 : self.height // 2, self.width // 4 : self.width // 2] = 0
        return mask

    def has_hole(self, frame: int) -> bool:
        return True


class Bench:
    """A models folder on a device, and what all parts do with it."""

    def __init__(self, models: Path, device: str, steps: int, seconds: float) -> None:
        self.models, self.device, self.steps, self.seconds = models, device, steps, seconds
        self.options = engine_options.from_folder(models)
        self.is_cuda = torch.device(device).type == "cuda"

    def engine(self, **more: Any) -> Void:
        return Void(self.models, self.device, replace(self.options, **more))

    def compiled(self, engine: Void, number: int) -> Denoiser:
        """The transformer of a pass, compiled where the engine would."""
        denoiser = engine.denoiser(number)
        if kernels.compiles(engine.options.compile, engine.placement.device):
            denoiser.compiled.begin(Quiet())
        return denoiser

    def shot(self, count: int) -> Shot:
        return Shot(count, self.options.height, self.options.width)

    @property
    def size(self) -> tuple[int, int]:
        return self.options.height // 8, self.options.width // 8

    def wait(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def timed(self, work: Callable[[], object]) -> float:
        """Seconds of the second of two runs."""
        work()
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    @contextmanager
    def peak(self) -> Iterator[dict[str, float]]:
        """Within it the device's peak is counted; filled in at the end. On a CPU it is the process's, ever."""
        found: dict[str, float] = {}
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        yield found
        if self.is_cuda:
            found["peak_gb"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
            found["reserved_gb"] = round(torch.cuda.max_memory_reserved() / GIB, 2)
        else:
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            found["process_gb"] = round(kilobytes * 1024 / GIB, 2)

    def let_go(self) -> None:
        # Memory of the host is not what runs out, and a collection takes a second.
        if self.is_cuda:
            gc.collect()
            torch.cuda.empty_cache()


def make_true(folder: Path, device: str) -> Path:
    """A models folder with networks of the published architecture and random weights, bfloat16."""
    if (folder / "complete").is_file():
        return folder
    tiny.make_tiny(folder)
    base = folder / BASE
    configs = {"transformer": TRANSFORMER, "vae": VAE, "text_encoder": TEXT_ENCODER}
    for part, config in configs.items():
        (base / part / "config.json").write_text(json.dumps(config))
    (folder / engine_options.FILE).unlink()
    (base / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    shapes = networks.shapes(base)
    files = {
        folder / PASSES[1]: shapes["transformer"],
        folder / PASSES[2]: shapes["transformer"],
        base / "vae" / "diffusion_pytorch_model.safetensors": shapes["vae"],
        base / "text_encoder" / "model.safetensors": shapes["text_encoder"],
    }
    for seed, (path, tensors) in enumerate(files.items()):
        generator = torch.Generator(device).manual_seed(seed)
        save_file({name: drawn(name, shape, generator) for name, shape in tensors.items()}, path)
    (folder / "complete").touch()
    return folder


def drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Weights that keep numbers about as large as they come in. Zeros would be multiplied faster."""
    found = torch.randn(shape, generator=generator, device=generator.device)
    if len(shape) > 1:
        found /= found[0].numel() ** 0.5
    else:
        found = found / 10 + (1.0 if name.endswith("weight") else 0.0)
    return found.to("cpu", torch.bfloat16)


def encoded(vae: Vae, pixels: Tensor) -> Tensor:
    return torch.cat(list(vae.encode(lambda span: pixels[:, :, span], pixels.shape[2])), dim=2)


def decoded(vae: Vae, latents: Tensor) -> Tensor:
    return torch.cat(list(vae.decode(latents)), dim=2)


def words(denoiser: Denoiser) -> Text:
    """Embeddings of nothing in particular."""
    width = denoiser.network.config.text_embed_dim
    generator = torch.Generator().manual_seed(0)
    return Text(*(torch.randn(1, 226, width, generator=generator) for _ in range(2)))


def forward_flops(denoiser: Denoiser, latents: int, size: tuple[int, int]) -> int:
    """Operations of matrices in one answer to one prompt, counted on a copy that computes nothing."""
    kind: Any = type(denoiser.network)
    hollow = Denoiser(on_meta(lambda: kind.from_config(denoiser.network.config)))
    seen = torch.empty(1, latents, 16, *size, device="meta")
    known = torch.empty(1, latents, 32, *size, device="meta")
    text = Text(torch.empty(1, 226, hollow.network.config.text_embed_dim, device="meta"))
    with FlopCounterMode(display=False) as counter:
        hollow.velocity(seen, known, text, 1, 1.0)
    return int(counter.get_total_flops())
