"""Trains a LoRA on pairs: loads the transformer of one pass, runs the loop, and makes the file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import accelerate
import diffusers
import peft
import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import CogVideoXAttnProcessor2_0
from torch import nn

from voidbridge_backend.config import check_one_process, launched
from voidbridge_backend.engines.base import JobContext
from voidbridge_backend.engines.train_base import TrainedLora
from voidbridge_backend.engines.void.files import networks, weights
from voidbridge_backend.engines.void.model import adapters, lora_file
from voidbridge_backend.engines.void.model.denoiser import Denoiser
from voidbridge_backend.engines.void.model.heartbeat import with_heartbeat
from voidbridge_backend.engines.void.model.lora_file import LoraRecord
from voidbridge_backend.engines.void.noise.seeds import seeded
from voidbridge_backend.engines.void.passes import sampling
from voidbridge_protocol.errors import BadPair, BadSetting, OutOfMemory
from voidbridge_protocol.operations.train import TrainSettings

from . import checkpoint as checkpoints
from .loop import NAME, Training
from .memory import TARGETS, Shape, count
from .pairs import TrainingPair, read_pair, records
from .process_group import ProcessGroup
from .stored_bits import store

VERSION = 1
STOCK: Any = CogVideoXAttnProcessor2_0
"""diffusers' own attention, which has a gradient; it gives no types."""
MARGIN = 1 << 30
"""Bytes of the device that stay free."""


class VoidTrainer:
    """Trains LoRAs for VOID. It keeps nothing between jobs.

    With a `group` it is one of several processes; without one it refuses to run in several.
    """

    name = "void"

    def __init__(
        self, models: Path, device: str = "cpu", group: ProcessGroup | None = None
    ) -> None:
        self.models = models
        self.group = group
        if group is None:
            self.device = torch.device(f"{device}:0" if device == "cuda" else device)
        else:
            self.device = group.accelerator.device
        self._prints: dict[str, str] = {}

    def describe(self) -> dict[str, Any]:
        """Returns fingerprints of the weights, and versions."""
        self._prints = self._prints or networks.fingerprints(self.models)
        return {
            "engine": self.name,
            "version": VERSION,
            "models": dict(self._prints),
            "device": str(self.device),
            **({"processes": self.group.count} if self.group else {}),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "peft": peft.__version__,
            "accelerate": accelerate.__version__,
        }

    def train(
        self,
        pairs: Sequence[Path],
        held: Sequence[Path],
        checkpoint: Path,
        settings: TrainSettings,
        context: JobContext,
    ) -> TrainedLora:
        """See `Trainer.train`. Raises `BadPair`, `ModelMissing`, `OutOfMemory`; `BadSetting` under a launcher."""
        group = self.group
        if group is None:
            check_one_process(os.environ, "a training in a daemon")
            group = ProcessGroup(accelerator_on(self.device))
        weights.require(self.models, settings.pass_number)
        context.step("reading the pairs", 0, len(pairs) + len(held))
        found = records([*pairs, *held], networks.vae_weights(self.models).fingerprint())
        for number, clip in enumerate(found):
            clip["held"] = number >= len(pairs)
        base = networks.pass_weights(self.models, settings.pass_number).fingerprint()
        denoiser = self._denoiser(settings, read_pair(pairs[0], settings.pass_number), context)
        training = Training(
            denoiser,
            sampling.scheduler("ddim", networks.scheduler_config(self.models)),
            group,
            pairs,
            held,
            partial(_read_like, denoiser.network.config.text_embed_dim, settings.pass_number),
            checkpoint,
            settings,
            context.step,
        )
        with with_heartbeat(denoiser.parts(), _heartbeat(training)):
            progress, learned = training.run(_key(settings, base, found))
        chosen = progress.best_step if progress.best else progress.step
        record = LoraRecord(
            show=settings.show,
            base=base,
            passes=settings.pass_number,
            rank=settings.rank,
            steps=chosen,
            clips=tuple(found),
            more={"settings": asdict(settings), "held": progress.held},
        )
        history = checkpoints.describe(progress)
        return TrainedLora(lora_file.written(learned, record), history)

    def _denoiser(
        self, settings: TrainSettings, first: TrainingPair, context: JobContext
    ) -> Denoiser:
        context.step("loading the model", 0, 1)
        is_cpu = self.device.type == "cpu"
        dtype = torch.float32 if is_cpu else torch.bfloat16
        denoiser = networks.denoiser(self.models, settings.pass_number, dtype)
        network = denoiser.network
        latents, _, height, width = first.target.shape
        needed = count(
            network,
            settings.rank,
            Shape(height * 8, width * 8, latents),
            settings.base,
            self.group.count if self.group else 1,
        ).total
        if not is_cpu:
            _require(needed, torch.cuda.mem_get_info(self.device)[0], settings.base)
        for block in network.transformer_blocks:
            # The engine's own attention has no gradient.
            block.attn1.set_processor(STOCK())
        _add_lora(network, settings)
        if settings.base == "fp8":
            store(network.transformer_blocks)
        network.to(self.device)
        network.enable_gradient_checkpointing()
        return denoiser


def accelerator_on(device: torch.device) -> Accelerator:
    """Returns accelerate's view of this process: bfloat16 on a card, float32 on the CPU."""
    is_cpu = device.type == "cpu"
    return Accelerator(cpu=is_cpu, mixed_precision="no" if is_cpu else "bf16")


def launched_group(device: str) -> ProcessGroup:
    """Joins the processes of the launcher. Raises `BadSetting` if accelerate does not see all of them."""
    name, count = launched(os.environ)
    group = ProcessGroup(accelerator_on(torch.device(device)))
    if group.count != count:
        raise BadSetting(
            f"a launcher started {count} processes ({name}), and accelerate sees {group.count}",
            "Start the training with: accelerate launch --multi_gpu --num_processes N -m voidbridge_backend train",
        )
    return group


def _add_lora(network: nn.Module, settings: TrainSettings) -> None:
    """Adds an untrained LoRA in float32: `down` is drawn as peft draws it, `up` is 0."""
    ranks = {name: settings.rank for name in adapters.layers(network) if name.endswith(TARGETS)}
    adapters.add(network, NAME, ranks, torch.float32)
    adapters.set_strengths(network, {NAME: 1.0})
    for index, (name, parameter) in enumerate(adapters.trainable(network, NAME).items()):
        if name.endswith(".B"):
            nn.init.zeros_(parameter)
        else:
            random = seeded(settings.seed, "first values", index)
            nn.init.kaiming_uniform_(parameter, a=5**0.5, generator=random)


def _require(needed: int, free: int, base: str) -> None:
    if needed + MARGIN > free:
        hint = "" if base == "fp8" else ', or base = "fp8"'
        raise OutOfMemory(
            f"the training needs about {needed / 2**30:.1f} GB, and {free / 2**30:.1f} GB are free",
            f"Set a lower rank in [training]{hint}, or encode the dataset with shorter clips.",
        )


def _read_like(width: int, number: int, path: Path) -> TrainingPair:
    """Reads a pair and checks its text. Raises `BadPair`."""
    pair = read_pair(path, number)
    if pair.text.shape[-1] != width or pair.no_text.shape != pair.text.shape:
        raise BadPair(
            f"the pair {pair.record.name} has embeddings of width {pair.text.shape[-1]}; "
            f"this model has {width}"
        )
    return pair


def _heartbeat(training: Training) -> Callable[[], None]:
    """Repeats the last report during a long step."""
    told = ("training", 0, training.settings.steps)
    tell = training.on_step

    def remember(stage: str, done: int, of: int) -> None:
        nonlocal told
        told = (stage, done, of)
        tell(*told)

    training.on_step = remember
    return lambda: tell(*told)


def _key(settings: TrainSettings, base: str, clips: Sequence[dict[str, Any]]) -> str:
    """Returns a hash of everything that a training depends on."""
    told = [VERSION, asdict(settings), base, [clip["sha256"] for clip in clips]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
