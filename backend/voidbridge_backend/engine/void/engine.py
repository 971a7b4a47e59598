"""The engine `void`: one job from a clip to frames, with networks that stay loaded between jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from voidbridge_backend.engine.base import Clip, Pixels, Sight, Watch
from voidbridge_protocol.errors import EngineFailed, OutOfMemory
from voidbridge_protocol.messages import Settings

from . import flow, memory, networks, picture_noise, pipeline, sampling, weights
from .denoiser import Conditions, Denoiser, Text
from .footage import Footage, grain, pictures
from .memory import Demand, Plan
from .options import Options
from .pipeline import Method
from .prompts import Prompts
from .pulse import pulsing
from .residence import Residence
from .timeline import latents_of, stretch
from .vae import Vae

VERSION = 1
CACHE = "prompts"
"""Folder in the models folder that embeddings of prompts are kept in."""

AGAIN_S = 0.1
"""While a step takes long, the watcher is told where it is no more often than this."""


class Void:
    """Netflix's VOID. Loads a network when a job first needs it, and keeps it."""

    name = "void"

    def __init__(self, models: Path, device: str = "cpu", options: Options | None = None) -> None:
        """Raises `ModelMissing` when `models` lacks anything that one pass needs."""
        self.models = weights.require(models, 1)
        self.options = options or Options()
        self.residence = Residence(device)
        self.dtype = _type(self.options.precision, self.residence.is_cpu)
        self.prompts = Prompts(models, self.dtype, models / CACHE)
        self.flow = flow.best(models, device)
        self._vae: Vae | None = None
        self._denoisers: dict[int, Denoiser] = {}
        self._prints: dict[str, str] = {}
        self._plan: Plan | None = None

    def sight(self, height: int, width: int, settings: Settings) -> Sight:
        """The model's own size, upright for an upright region."""
        size = (self.options.height, self.options.width)
        return Sight("model", size if (height > width) == (size[0] > size[1]) else size[::-1])

    def describe(self) -> dict[str, Any]:
        """Fingerprints of the weights, options, device and versions. Reads samples of every file once."""
        self._prints = self._prints or networks.fingerprints(self.models)
        return {
            "engine": self.name,
            "version": VERSION,
            "models": dict(self._prints),
            "options": {
                name: getattr(self.options, name) for name in self.options.__dataclass_fields__
            },
            "device": str(self.residence.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "plan": self._plan.name if self._plan else None,
            "flow": self.flow.name,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        }

    def remove(self, clip: Clip, settings: Settings, watch: Watch) -> Iterator[tuple[int, Pixels]]:
        """See `Engine.remove`. The model is shown the hole's frames and as many around them as it takes."""
        holes = [index for index, frame in enumerate(clip.frames) if clip.has_hole(frame)]
        if not holes:
            return
        weights.require(self.models, settings.passes)
        begin, stop = stretch((holes[0], holes[-1] + 1), len(clip.frames), self.options.window)
        footage = Footage(clip, clip.frames[begin:stop], self.options.window)
        wanted = {clip.frames[index] for index in holes}
        last = holes[-1] + 1 - begin
        with self._translated():
            job = _Job(self, footage, settings, watch)
            for pixels, frame in zip(job.frames(last), footage.frames, strict=False):
                if frame in wanted:
                    yield frame, pixels

    def vae(self) -> Vae:
        if self._vae is None:
            self._vae = networks.vae(self.models, self.dtype)
        return self._vae

    def denoiser(self, number: int) -> Denoiser:
        if number not in self._denoisers:
            self._denoisers[number] = networks.denoiser(self.models, number, self.dtype)
        return self._denoisers[number]

    def plan(self, footage: Footage, settings: Settings) -> Plan:
        """How this job uses the device's memory. Raises `OutOfMemory` with the numbers."""
        if self.residence.is_cpu:
            found = Plan("resident")
        elif self.options.plan is not None:
            found = Plan(self.options.plan)
        else:
            found = memory.chosen(self.residence.free(), self._demand(footage, settings))
        if self._plan not in (None, found):
            # What was made ready for another plan is dropped; reading it again only maps files.
            self.residence.clear()
            self._denoisers.clear()
            self._vae = None
        self._plan = found
        return found

    def _demand(self, footage: Footage, settings: Settings) -> Demand:
        vae, denoiser = self.vae(), self.denoiser(1)
        guided = self.options.guidance != 1 or (
            settings.passes == 2 and self.options.second_guidance != 1
        )
        config = denoiser.network.config
        return Demand(
            transformer=_bytes(denoiser.network),
            vae=_bytes(vae.network),
            passes=settings.passes,
            blocks=denoiser.blocks,
            pixels=footage.height * footage.width,
            latents=min(latents_of(self.options.window), footage.latents),
            batch=2 if guided else 1,
            width=vae.network.config.block_out_channels[0],
            tokens_width=config.num_attention_heads * config.attention_head_dim,
            number=self.dtype.itemsize,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            self.residence.clear()
            plan = self._plan.name if self._plan else "none yet"
            raise OutOfMemory(f"the device's memory ran out, plan {plan}: {error}") from error
        except MemoryError as error:
            raise OutOfMemory("the machine's memory ran out") from error


class _Job:
    """One clip through one pass or two. What both passes are told is encoded once."""

    def __init__(self, engine: Void, footage: Footage, settings: Settings, watch: Watch) -> None:
        self.engine, self.footage, self.settings = engine, footage, settings
        self.options = engine.options
        self.watch = watch
        watch.step("loading the model", 0, 1)
        self.plan = engine.plan(footage, settings)
        if self.plan.tiles:
            watch.warn(
                "device memory is short: pictures are coded in tiles, which can show slightly"
            )

    def frames(self, count: int) -> Iterator[Pixels]:
        """The first `count` frames of the footage without the object, as they are finished."""
        text = self._text()
        known = self._conditions()
        latents = self._first_pass(known, text)
        if self.settings.passes == 2:
            noise = self._moving_noise(latents)
            latents = self._second_pass(known, noise, text)
        yield from self._decoded(latents, count, "finishing")

    def _text(self) -> Text:
        self.watch.step("reading the prompt", 0, 1)
        engine = self.engine
        needed = [self.settings.prompt, self.options.negative_prompt]
        # The encoder is asked once and is larger than all else; where it does not fit it works on the CPU.
        device = str(engine.residence.device)
        if not engine.residence.is_cpu and not self._encoder_fits():
            device = "cpu"
        prompt, negative = engine.prompts.embeddings(needed, device)
        return Text(prompt, negative)

    def _encoder_fits(self) -> bool:
        size = sum(path.stat().st_size for path in networks.text_weights(self.engine.models).files)
        return size + 2 * memory.MARGIN < torch.cuda.mem_get_info(self.engine.residence.device)[0]

    def _conditions(self) -> Conditions:
        mask = self._mask("tri")
        footage, seed = self.footage, self.settings.seed

        def noise(span: slice) -> Tensor:
            return grain(seed, span, footage.height, footage.width)

        with self._coding("encoding the plate") as (vae, report):
            plate = pipeline.encoded_plate(
                vae, footage.plate, noise, footage.length, self.plan.tiles, report.on_step
            )
        return Conditions(mask, plate)

    def _mask(self, levels: Any) -> Tensor:
        with self._coding("encoding the mask") as (vae, report):
            return pipeline.encoded_mask(
                vae,
                self.footage.quadmask,
                self.footage.length,
                levels,
                self.plan.tiles,
                report.on_step,
            )

    def _first_pass(self, known: Conditions, text: Text) -> Tensor:
        footage = self.footage
        noise = sampling.noise(
            self.settings.seed, footage.latents, footage.height // 8, footage.width // 8
        )
        method = replace(
            pipeline.FIRST, guidance=self.options.guidance, strength=self.options.strength
        )
        return self._denoised(1, "removing", known, noise, text, method)

    def _moving_noise(self, latents: Tensor) -> Tensor:
        """Noise that moves with what the first pass made; its frames are looked at as they are decoded."""
        footage, options = self.footage, self.options
        make = picture_noise.reference if options.noise == "reference" else picture_noise.aligned
        return make(
            self._decoded(latents, footage.length, "following the motion"),
            (footage.height, footage.width),
            footage.length,
            self.settings.seed,
            self.engine.flow,
            degradation=options.degradation,
            fineness=options.fineness,
            device=str(self.engine.residence.device),
        )

    def _second_pass(self, known: Conditions, noise: Tensor, text: Text) -> Tensor:
        if self.options.pass2_mask == "reference":
            known = replace(known, mask=self._mask("reference"))
        method = replace(pipeline.SECOND, guidance=self.options.second_guidance)
        return self._denoised(2, "refining", known, noise, text, method)

    def _denoised(
        self, number: int, stage: str, known: Conditions, noise: Tensor, text: Text, method: Method
    ) -> Tensor:
        method = replace(
            method,
            steps=self.settings.steps or self.options.steps,
            window=self.options.window,
            overlap=self.options.overlap,
        )
        denoiser, report = self.engine.denoiser(number), _Report(self.watch, stage)
        at_work = self.engine.residence.working(denoiser.network, self.plan, in_blocks=True)
        with at_work, pulsing(denoiser.parts(), report.again):
            config = networks.scheduler_config(self.engine.models)
            return pipeline.denoised(denoiser, config, known, noise, text, method, report.on_step)

    def _decoded(self, latents: Tensor, count: int, stage: str) -> Iterator[Pixels]:
        with self._coding(stage) as (vae, report):
            for frame in pipeline.decoded(vae, latents, count, self.plan.tiles, report.on_step):
                if not torch.isfinite(frame).all():
                    raise EngineFailed(f"a frame came out not finite while {stage}")
                report.again()
                yield pictures(frame)[0]

    @contextmanager
    def _coding(self, stage: str) -> Iterator[tuple[Vae, _Report]]:
        vae, report = self.engine.vae(), _Report(self.watch, stage)
        with (
            self.engine.residence.working(vae.network, self.plan),
            pulsing(vae.parts(), report.again),
        ):
            yield vae, report


class _Report:
    """Tells the watcher how far one stage is, and tells it again while a step takes long."""

    def __init__(self, watch: Watch, stage: str) -> None:
        self._watch, self._stage, self._where = watch, stage, (0, 1)
        self._told = 0.0

    def on_step(self, done: int, of: int) -> None:
        self._where = (done, of)
        self._watch.step(self._stage, done, of)
        self._told = time.monotonic()

    def again(self) -> None:
        if time.monotonic() - self._told > AGAIN_S:
            self.on_step(*self._where)


def _type(precision: str, is_cpu: bool) -> torch.dtype:
    if precision == "auto":
        return torch.float32 if is_cpu else torch.bfloat16
    return torch.float32 if precision == "float32" else torch.bfloat16


def _bytes(network: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
