"""The engine `void`: runs one job from a clip to frames, and keeps its networks loaded between jobs."""

from __future__ import annotations

import gc
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch

from voidbridge_backend.engines.base import Clip, InputSpec, JobContext, LoraChoice, Pixels
from voidbridge_backend.engines.device import out_of_memory
from voidbridge_protocol.errors import OutOfMemory
from voidbridge_protocol.operations.remove import RemoveSettings

from . import half_rate
from .assistant import Assistant
from .files import loras, networks, weights
from .files.prompts import PromptEmbeddings
from .inputs import Footage
from .model import adapters, fp8, kernels, memory, streaming
from .model.denoiser import Denoiser
from .model.device_placement import DevicePlacement
from .model.lora_file import LoraRecord
from .model.memory import Demand, Plan
from .model.vae import Vae
from .noise import flow, picture_noise
from .options import Options
from .passes.detail import FINEST, Smaller, enlargement
from .passes.timeline import latents_of, padded_range, windows
from .run import Job

VERSION = 1
CACHE = "prompts"
"""Folder in the models folder for prompt embeddings."""


class Void:
    """Netflix's VOID. Loads a network when a job first needs it, and keeps it."""

    name = "void"

    def __init__(self, models: Path, device: str = "cpu", options: Options | None = None) -> None:
        """Raises `ModelMissing` if `models` lacks a file that one pass needs."""
        self.models = weights.require(models, 1)
        self.options = options or Options()
        self.placement = DevicePlacement(device)
        self.dtype = _type(self.options.precision, self.placement.is_cpu)
        self.attention = kernels.attention(self.options.attention, self.placement.device)
        self.layout = kernels.layout(self.options.vae_layout, self.placement.device, self.dtype)
        if self.options.linears == "fp8":
            fp8.require(self.placement.device)
        self.prompts = PromptEmbeddings(models, self.dtype, models / CACHE)
        self.flow = flow.best(models, device)
        self._vae: Vae | None = None
        self._denoisers: dict[int, Denoiser] = {}
        self._prints: dict[str, str] = {}
        self._loras = loras.UsedLoras()
        self._layers: dict[str, tuple[int, int]] = {}
        self._plan: Plan | None = None
        self._assistant = Assistant(self)
        self.lora_choices: tuple[LoraChoice, ...] = ()

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        """Returns the model's own size, upright for an upright region, or a whole multiple of it for the detail
        pass.
        """
        high, wide = self._size(height, width)
        times = enlargement((height, width), (high, wide)) if settings.detail else 1
        return InputSpec("model", (high * times, wide * times))

    def seen(self, footage: Footage, settings: RemoveSettings) -> Footage:
        """Returns the model's view of `footage`; without the detail pass, `footage` itself."""
        times = footage.height // self._size(footage.height, footage.width)[0]
        if not settings.detail or times <= 1:
            return footage
        return Footage(Smaller(footage.clip, times), footage.frames, self.options.window)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the model's size for a picture of these proportions."""
        size = (self.options.height, self.options.width)
        return size if (height > width) == (size[0] > size[1]) else size[::-1]

    def describe(self) -> dict[str, Any]:
        """Returns fingerprints of the weights, options, device and versions. Reads samples of every file once.

        The value is the same before and after a job. The memory plan depends on the moment, so it goes to the
        job context.
        """
        more = {"loras": self._loras.describe()} if self._loras.used else {}
        return {
            "engine": self.name,
            "version": VERSION,
            "models": dict(self.prints()),
            "options": {
                name: getattr(self.options, name) for name in self.options.__dataclass_fields__
            },
            "device": str(self.placement.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "attention": self.attention,
            "vae_layout": self.layout,
            "flow": self.flow.name,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            **more,
        }

    def identity(self) -> dict[str, Any]:
        """Returns everything on which the bits of an answer depend, as values for JSON."""
        device = self.placement.device
        card = "" if self.placement.is_cpu else torch.cuda.get_device_name(device)
        found: dict[str, Any] = json.loads(json.dumps({**self.describe(), "card": card}))
        return found

    def assist(self, task: bytes, watch: JobContext) -> bytes:
        """See `Assists`."""
        return self._assistant.answer(task, watch)

    def rest(self) -> None:
        """See `Assists`."""
        self._assistant.close()

    def prints(self) -> dict[str, str]:
        """Returns the fingerprints of the weights; the files are read once."""
        self._prints = self._prints or networks.fingerprints(self.models)
        return self._prints

    def use_loras(
        self, choices: Sequence[LoraChoice], settings: RemoveSettings, watch: JobContext
    ) -> None:
        """See `TakesLoras`. Only another set of files loads the networks again; another strength does not."""
        self._assistant.close()
        self.lora_choices = tuple(choices)
        if not choices and not self._loras.used:
            return
        watch.step("reading the LoRAs", 0, 1)
        self._layers = self._layers or networks.transformer_layers(self.models)
        used = loras.checked(
            choices, self.models, settings.passes, self._layers, self.prints(), watch.warn
        )
        if used.files != self._loras.files:
            self._let_go()
            self._plan = None
        self._loras = used
        for number, denoiser in self._denoisers.items():
            self._set_strengths(denoiser, number)

    def lora_records(self) -> list[LoraRecord]:
        """Returns the origins of the LoRAs in use."""
        return [one.lora.record for one in self._loras.used]

    def _set_strengths(self, denoiser: Denoiser, number: int) -> None:
        if strengths := self._loras.strengths(number):
            adapters.set_strengths(denoiser.network, strengths)

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        """See `Engine.remove`. The model sees the hole's frames and as many around them as fit."""
        if settings.half_rate and len(clip.frames) > 2 and any(map(clip.has_hole, clip.frames)):
            watch.warn(half_rate.NOTE)
            yield from half_rate.removed(
                clip, wanted, lambda half, due: self._removed(half, settings, watch, due)
            )
            return
        yield from self._removed(clip, settings, watch, wanted)

    def _removed(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None,
    ) -> Iterator[tuple[int, Pixels]]:
        holes = [index for index, frame in enumerate(clip.frames) if clip.has_hole(frame)]
        asked = [at for at in holes if wanted is None or clip.frames[at] in wanted]
        if not asked:
            return
        self._assistant.close()
        weights.require(self.models, settings.passes)
        begin, stop = padded_range((holes[0], holes[-1] + 1), len(clip.frames), self.options.window)
        footage = Footage(clip, clip.frames[begin:stop], self.options.window)
        due = {clip.frames[index] for index in asked}
        last = asked[-1] + 1 - begin
        given = 0
        tried: list[Plan] = []
        reason = ""
        frames: Iterator[Pixels] = iter(())
        while True:
            try:
                job = Job(self, footage, settings, watch, tried[-1] if tried else None)
                if given and self._differs(tried[-1], job.plan, footage):
                    raise OutOfMemory(f"{job.plan.name} would not give the same picture")
                frames = job.frames(last)
                for index, pixels in enumerate(frames):
                    if index < given:
                        continue  # A plan that failed got as far as this.
                    given = index + 1
                    if footage.frames[index] in due:
                        yield footage.frames[index], pixels
                return
            except OutOfMemory as error:
                if not tried:
                    raise
                why = f"{reason}; {error.text}"
                raise self._out_of_plans(footage, settings, tried, why, given) from error
            except (MemoryError, RuntimeError) as error:
                found = out_of_memory(error)
                if found is None or self._plan is None:
                    raise
                reason = found
                tried.append(self._plan)
            # Outside the clause, because the error there still references the tensors that filled the memory.
            frames = iter(())
            self._let_go()
            self._plan = None
            watch.warn(
                f"memory ran out with the plan {tried[-1].name} ({reason}); trying a smaller one"
            )

    def load(self, passes: int, watch: JobContext) -> None:
        """Loads the networks that a job needs and that are not loaded yet. Reports a step only if there are any."""
        lacking = [number for number in range(1, passes + 1) if number not in self._denoisers]
        of = len(lacking) + (self._vae is None)
        for done, number in enumerate(lacking):
            watch.step("loading the model", done, of)
            self.denoiser(number)
        if self._vae is None:
            watch.step("loading the model", of - 1, of)
            self.vae()

    def vae(self) -> Vae:
        if self._vae is None:
            self._vae = networks.vae(self.models, self.dtype)
            kernels.lay_out(self._vae.network, self.layout)
        return self._vae

    def denoiser(self, number: int) -> Denoiser:
        if number not in self._denoisers:
            made = networks.denoiser(self.models, number, self.dtype)
            made.attention = self.attention
            adapters.attach(made.network, self._loras.of_pass(number), self.dtype)
            self._set_strengths(made, number)
            if self.options.linears == "fp8":
                fp8.replace_linears(made.network.transformer_blocks, self.placement.device)
            self._denoisers[number] = made
        return self._denoisers[number]

    def plan(
        self,
        footage: Footage,
        settings: RemoveSettings,
        watch: JobContext,
        failed: Plan | None = None,
    ) -> Plan:
        """Returns this job's memory plan, smaller than `failed`. Raises `OutOfMemory` with the numbers."""
        if self.placement.is_cpu:
            found = memory.on_cpu(failed)
        elif self.options.plan is not None and failed is None:
            found = Plan(self.options.plan)
        else:
            free, demand = self.placement.free(), self.demand(footage, settings)
            found = memory.chosen(free, demand, failed, self.placement.host())
            watch.warn(f"memory plan {found.name}: {memory.table(free, demand)[found.name]}")
        if self._plan not in (None, found):
            self._let_go()
        self._plan = found
        return found

    def _let_go(self) -> None:
        """Drops everything prepared for a plan; reading it again only maps files."""
        self.placement.clear()
        self._denoisers.clear()
        self._vae = None
        gc.collect()
        if not self.placement.is_cpu:
            torch.cuda.empty_cache()

    def weights(self, passes: int) -> int:
        """Returns the bytes of the autoencoder and of the transformers of `passes` passes."""
        return self.bytes_of(self.vae().network) + passes * self.bytes_of(self.denoiser(1).network)

    @staticmethod
    def bytes_of(network: Any) -> int:
        """Returns the bytes of a network's weights."""
        return sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())

    def _windows(self, footage: Footage) -> int:
        return len(windows(footage.latents, self.options.window, self.options.overlap).runs)

    def _differs(self, one: Plan, other: Plan, footage: Footage) -> bool:
        """Whether the frames of two plans may differ: one is coded in tiles, and the picture has several."""
        if (one.tiles is None) == (other.tiles is None):
            return False
        tiles = one.tiles or other.tiles
        assert tiles is not None
        tiles = tiles.turned(footage.height, footage.width)
        return footage.height > tiles.height * 8 or footage.width > tiles.width * 8

    def _out_of_plans(
        self,
        footage: Footage,
        settings: RemoveSettings,
        tried: list[Plan],
        reason: str,
        given: int,
    ) -> OutOfMemory:
        names = ", then ".join(plan.name for plan in tried)
        size = f"{footage.width} x {footage.height} pixels, {footage.length} frames"
        numbers = f"; {given} frames were finished" if given else ""
        if not self.placement.is_cpu:
            free, demand = self.placement.free(), self.demand(footage, settings)
            plans = memory.table(free, demand).items()
            numbers += "; " + ", ".join(f"{name} needs {needs}" for name, needs in plans)
        return OutOfMemory(f"memory ran out at {size}, with {names}: {reason}{numbers}")

    def demand(self, footage: Footage, settings: RemoveSettings) -> Demand:
        """Returns the memory demand of a job on `footage`, as the passes see it."""
        vae, denoiser = self.vae(), self.denoiser(1)
        guided = self.options.guidance != 1 or (
            settings.passes == 2 and self.options.second_guidance != 1
        )
        config = denoiser.network.config
        return Demand(
            transformer=self.bytes_of(denoiser.network),
            vae=self.bytes_of(vae.network),
            passes=settings.passes,
            streamed=streaming.device_bytes(denoiser.network),
            pixels=footage.height * footage.width,
            latents=min(latents_of(self.options.window), footage.latents),
            batch=2 if guided else 1,
            width=vae.network.config.block_out_channels[0],
            tokens_width=config.num_attention_heads * config.attention_head_dim,
            number=self.dtype.itemsize,
            reused=self._windows(footage)
            if settings.is_preview and self.options.preview_reuse
            else 0,
            detail=FINEST if settings.detail else 1,
            frames=footage.length,
            copied=networks.copied(self.models, settings.passes, self.dtype),
            noise=picture_noise.pixels(footage.height, footage.width, self.options.fineness)
            * (settings.passes == 2),
            pinned=streaming.host_bytes(denoiser.network),
        )


def _type(precision: str, is_cpu: bool) -> torch.dtype:
    if precision == "auto":
        return torch.float32 if is_cpu else torch.bfloat16
    return torch.float32 if precision == "float32" else torch.bfloat16
