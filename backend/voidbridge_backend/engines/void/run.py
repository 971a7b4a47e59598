"""Runs one clip through one pass or two, with each network where the memory plan puts it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from voidbridge_backend.engines.base import JobContext, LendsDevices, LoraChoice, Pixels
from voidbridge_protocol.errors import EngineFailed
from voidbridge_protocol.operations.remove import RemoveSettings

from .assistant import words_of
from .files import networks
from .files.prompts import PromptEmbeddings
from .inputs import Footage, ahead, grain, pictures
from .model import kernels, memory
from .model.denoiser import Conditions, Denoiser, Text
from .model.device_placement import DevicePlacement
from .model.heartbeat import with_heartbeat
from .model.memory import Plan
from .model.vae import Vae, VaeTiles, encode_chunks
from .noise import picture_noise
from .noise.flow import Dis, Raft
from .options import Options
from .passes import pipeline, sampling
from .passes.conditioning import Levels
from .passes.detail import Tiling, enlarged
from .passes.pipeline import Method
from .passes.sharing import Sharing

AGAIN_S = 0.1
"""Minimum seconds between progress reports during a long step."""


class LoadedModel(Protocol):
    """The model as a run uses it: networks, options, and their device."""

    models: Path
    options: Options
    placement: DevicePlacement
    attention: kernels.Attention
    prompts: PromptEmbeddings
    flow: Dis | Raft

    def load(self, passes: int, watch: JobContext) -> None:
        """Loads the networks of `passes` passes."""

    def seen(self, footage: Footage, settings: RemoveSettings) -> Footage:
        """Returns the clip at the size at which the passes work."""

    def plan(
        self,
        footage: Footage,
        settings: RemoveSettings,
        watch: JobContext,
        failed: Plan | None = None,
    ) -> Plan:
        """Returns the memory plan of a run, smaller than `failed`."""

    @property
    def lora_choices(self) -> tuple[LoraChoice, ...]:
        """The LoRAs of the job."""

    def identity(self) -> dict[str, Any]:
        """Returns everything on which the bits of an answer depend, as values for JSON."""

    def weights(self, passes: int) -> int:
        """Returns the bytes of the networks of `passes` passes."""

    def vae(self) -> Vae: ...

    def denoiser(self, number: int) -> Denoiser:
        """Returns the transformer of pass `number`, 1 or 2."""


class Job:
    """One clip through one pass or two. The conditions of both passes are encoded once."""

    def __init__(
        self,
        engine: LoadedModel,
        footage: Footage,
        settings: RemoveSettings,
        watch: JobContext,
        failed: Plan | None = None,
    ) -> None:
        """`failed` is the memory plan with which this job ran out of memory before."""
        self.engine, self.settings = engine, settings
        self.large = footage
        """At the size of the result; `footage` is at the size of the passes."""
        self.footage = engine.seen(footage, settings)
        self.options = engine.options
        self.watch = watch
        self.is_short = failed is not None
        engine.load(settings.passes, watch)
        self.plan = engine.plan(self.footage, settings, watch, failed)
        engine.load(settings.passes, watch)  # If the plan differs from the last job's.
        if self.options.attention not in ("auto", engine.attention) and not self.is_short:
            watch.warn(
                f"{self.options.attention} attention is unavailable here; using {engine.attention}"
            )
        if self.options.linears == "fp8" and not self.is_short:
            watch.warn("the model computes in 8 bits, which is not lossless (option linears)")
        if not self.is_short and (stored := networks.compressed(engine.models, settings.passes)):
            watch.warn(
                f"weights are stored in 8 bits or fewer, which is not lossless: {', '.join(stored)}"
            )
        self.steps = self.options.steps_of(settings)
        self.reuse = self.options.preview_reuse * settings.is_preview
        if settings.is_preview and not self.is_short:
            watch.warn(
                f"preview quality: {self.steps} steps instead of {self.options.steps}"
                + (", and reused blocks" if self.reuse else "")
                + "; use the quality full for the final result"
            )
        if self.plan.tiles:
            watch.warn("device memory is low: pictures are coded in tiles, which can show slightly")

    def frames(self, count: int) -> Iterator[Pixels]:
        """Yields the first `count` frames without the object, as soon as each is finished."""
        text = self._text()
        known = self._conditions()
        latents = self._first_pass(known, text)
        if self.settings.passes == 2:
            noise = self._moving_noise(latents)
            latents = self._second_pass(known, noise, text)
        if self.settings.detail:
            yield from self._detailed(latents, count, text)
        else:
            yield from self._decoded(latents, count, "finishing")

    def _text(self) -> Text:
        self.watch.step("reading the prompt", 0, 1)
        engine = self.engine
        needed = [self.settings.prompt, self.options.negative_prompt]
        device = str(engine.placement.device)
        if not self._encoder_fits() or (self.is_short and engine.prompts.lacking(needed, device)):
            device = "cpu"
        prompt, negative = engine.prompts.embeddings(needed, device)
        return Text(prompt, negative)

    def _encoder_fits(self) -> bool:
        """Returns if the encoder, the largest network, fits the device beside the ones that stay there.

        The answer depends on the card's size and not on its free memory, because devices round differently.
        """
        engine = self.engine
        if engine.placement.is_cpu:
            return True
        size = sum(path.stat().st_size for path in networks.text_weights(engine.models).files)
        if self.plan.stays:
            size += engine.weights(self.settings.passes)
        return size + 2 * memory.MARGIN < engine.placement.total()

    def _conditions(self) -> Conditions:
        mask = self._mask("tri")
        return Conditions(mask, self._plate(self.footage, self.plan.tiles))

    def _plate(self, footage: Footage, tiles: VaeTiles | None) -> Tensor:
        def noise(span: slice) -> Tensor:
            return grain(self.settings.seed, span, footage.height, footage.width)

        spans = encode_chunks(footage.length)
        with (
            self._coding("encoding the plate") as (vae, report),
            ahead(footage.plate, spans) as plate,
            ahead(noise, spans) as noise_ahead,
        ):
            return pipeline.encoded_plate(
                vae, plate, noise_ahead, footage.length, tiles, report.on_step
            )

    def _mask(self, levels: Levels) -> Tensor:
        length = self.footage.length
        with (
            self._coding("encoding the mask") as (vae, report),
            ahead(self.footage.quadmask, encode_chunks(length)) as quadmask,
        ):
            return pipeline.encoded_mask(
                vae, quadmask, length, levels, self.plan.tiles, report.on_step
            )

    def _detailed(self, latents: Tensor, count: int, text: Text) -> Iterator[Pixels]:
        """Enlarges the result so far and runs the last steps again in tiles of the model's own size."""
        large, small = self.large, self.footage
        size = (large.height, large.width)
        tiles = self.plan.tiles or VaeTiles(small.height // 8, small.width // 8)
        tiling = Tiling((size[0] // 8, size[1] // 8), (small.height // 8, small.width // 8))
        with self._coding("enlarging") as (vae, report):
            mask = pipeline.encoded_mask(
                vae, large.quadmask, large.length, "tri", tiles, report.again_at
            )
            frames = pipeline.decoded(vae, latents, large.length, self.plan.tiles, report.again_at)
            start = pipeline.encoded_frames(
                vae, enlarged(frames, size), large.length, tiles, report.on_step
            )
        known = Conditions(mask, self._plate(large, tiles))
        noise = sampling.noise(self.settings.seed, large.latents, *tiling.size)
        method = replace(
            pipeline.FIRST, guidance=self.options.guidance, strength=self.settings.detail
        )
        latents = self._denoised(
            1, "adding detail", known, noise, text, method, start=start, tiling=tiling
        )
        yield from self._decoded(latents, count, "finishing", tiles)

    def _first_pass(self, known: Conditions, text: Text) -> Tensor:
        footage = self.footage
        noise = sampling.noise(
            self.settings.seed, footage.latents, footage.height // 8, footage.width // 8
        )
        method = replace(
            pipeline.FIRST,
            guidance=self.options.guidance,
            strength=self.options.strength,
            reuse=self.reuse,
        )
        return self._denoised(1, "removing", known, noise, text, method)

    def _moving_noise(self, latents: Tensor) -> Tensor:
        """Returns noise that moves with the first pass's picture, from its frames as they are decoded."""
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
            device=str(self.engine.placement.device),
        )

    def _second_pass(self, known: Conditions, noise: Tensor, text: Text) -> Tensor:
        if self.options.pass2_mask == "reference":
            known = replace(known, mask=self._mask("reference"))
        method = replace(pipeline.SECOND, guidance=self.options.second_guidance, reuse=self.reuse)
        return self._denoised(2, "refining", known, noise, text, method)

    def _denoised(
        self,
        number: int,
        stage: str,
        known: Conditions,
        noise: Tensor,
        text: Text,
        method: Method,
        *,
        start: Tensor | None = None,
        tiling: Tiling | None = None,
    ) -> Tensor:
        method = replace(
            method,
            steps=self.steps,
            window=self.options.window,
            overlap=self.options.overlap,
        )
        denoiser, report = self.engine.denoiser(number), Report(self.watch, stage)
        report.again()
        if kernels.compiles(self.options.compile, self.engine.placement.device):
            denoiser.compiled.begin(self.watch)
        sharing = self._sharing(number, denoiser, report, method)
        at_work = self.engine.placement.working(denoiser.network, self.plan, in_blocks=True)
        with at_work, with_heartbeat(denoiser.parts(), report.again), ending(sharing):
            config = networks.scheduler_config(self.engine.models)
            return pipeline.denoised(
                denoiser,
                config,
                known,
                noise,
                text,
                method,
                report.on_step,
                start=start,
                tiling=tiling,
                sharing=sharing,
            )

    def _sharing(
        self, number: int, denoiser: Denoiser, report: Report, method: Method
    ) -> Sharing | None:
        """Returns the way to lent devices. A preview has none: its kept outputs belong to one device."""
        lent = self.watch.lent if isinstance(self.watch, LendsDevices) else None
        if lent is None or method.reuse:
            return None
        circumstances = {
            "pass": number,
            "passes": self.settings.passes,
            "loras": words_of(self.engine.lora_choices),
            "identity": self.engine.identity(),
        }
        return Sharing(lent, denoiser, circumstances, report.again, self.watch.warn)

    def _decoded(
        self, latents: Tensor, count: int, stage: str, tiles: VaeTiles | None = None
    ) -> Iterator[Pixels]:
        tiles = tiles or self.plan.tiles
        with self._coding(stage) as (vae, report):
            for frame in pipeline.decoded(vae, latents, count, tiles, report.on_step):
                if not torch.isfinite(frame).all():
                    raise EngineFailed(f"a frame has non-finite pixels after {stage}")
                report.again()
                yield pictures(frame)[0]

    @contextmanager
    def _coding(self, stage: str) -> Iterator[tuple[Vae, Report]]:
        vae, report = self.engine.vae(), Report(self.watch, stage)
        report.again()
        if self.options.vae_compile == "on":
            vae.compiled.begin(self.watch)
        with (
            self.engine.placement.working(vae.network, self.plan),
            with_heartbeat(vae.parts(), report.again),
        ):
            yield vae, report


@contextmanager
def ending(sharing: Sharing | None) -> Iterator[None]:
    """Gives lent devices back at its end."""
    try:
        yield
    finally:
        if sharing:
            sharing.end()


class Report:
    """Reports the progress of one stage, and repeats the report during a long step."""

    def __init__(self, watch: JobContext, stage: str) -> None:
        self._watch, self._stage, self._where = watch, stage, (0, 0)
        self._told = 0.0

    def on_step(self, done: int, total: int) -> None:
        self._where = (done, total)
        self._watch.step(self._stage, done, total)
        self._told = time.monotonic()

    def again_at(self, done: int, total: int) -> None:
        """Reports part of a stage that another count measures."""
        self.again()

    def again(self) -> None:
        if time.monotonic() - self._told > AGAIN_S:
            self.on_step(*self._where)
