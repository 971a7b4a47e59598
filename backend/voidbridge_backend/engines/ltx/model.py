"""Holds the pipelines of LTX-2 and runs one window of frames, with progress and cancel inside every step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import LTX2HDRPipeline, LTX2LatentUpsamplePipeline
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.pipeline_ltx2_hdr_lora import LTX2HDRReferenceCondition
from diffusers.pipelines.ltx2.utils import DISTILLED_SIGMA_VALUES, STAGE_2_DISTILLED_SIGMA_VALUES
from diffusers.utils import logging as diffusers_logging
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.utils import logging as transformers_logging

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.device import out_of_memory
from voidbridge_backend.engines.generate_base import Sound
from voidbridge_backend.engines.void.files.weights import fingerprint
from voidbridge_backend.engines.void.model.heartbeat import with_heartbeat
from voidbridge_protocol.errors import BadLora, ModelMissing, OutOfMemory
from voidbridge_protocol.operations.generate import GenerateSettings

from . import memory, weights
from .region import Eight, KeptRegion, RegionPipeline

Video = NDArray[np.float32]
"""[frames, height, width, 3]."""
Kind = Literal["condition", "hdr"]
CLASSES: dict[Kind, Any] = {"condition": RegionPipeline, "hdr": LTX2HDRPipeline}
AGAIN_S = 0.1
"""Least seconds between two reports of progress."""
STAGE = "making frames, step"
FULL_STEPS = 30
FULL_GUIDANCE: dict[str, Any] = {
    "guidance_scale": 3.0,
    "stg_scale": 1.0,
    "modality_scale": 3.0,
    "guidance_rescale": 0.7,
    "audio_guidance_scale": 7.0,
    "audio_stg_scale": 1.0,
    "audio_modality_scale": 3.0,
    "audio_guidance_rescale": 0.7,
}
"""The values that diffusers recommends for the full model."""
NO_GUIDANCE: dict[str, Any] = {
    "guidance_scale": 1.0,
    "stg_scale": 0.0,
    "modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_scale": 1.0,
    "audio_stg_scale": 0.0,
    "audio_modality_scale": 1.0,
    "audio_guidance_rescale": 0.0,
}
"""For the distilled model, which needs no guidance. An audio value that is left out becomes the video's."""
PERTURBED_BLOCK = 28
"""The transformer's block that guidance perturbs, as recommended for LTX-2.3."""
TEXT_LENGTH = 1024
"""Tokens of the prompt, unless the tokenizer has a smaller limit."""


@dataclass(frozen=True)
class Lock:
    """Known frames and the latent at which they begin. Only a lock at latent 0 is exact; another guides."""

    frames: Sequence[Pixels]
    """[height, width, 3] codes, 0 to 1."""
    latent: int

    def condition(self) -> LTX2VideoCondition:
        # The pipeline compresses single pictures unless crf is 0.
        return LTX2VideoCondition(eight_bits(self.frames), self.latent, 1.0, crf=0)


def eight_bits(frames: Sequence[Pixels]) -> Eight:
    """Codes, 0 to 1, as the pipeline takes arrays: [frames, height, width, 3], 0 to 255."""
    return np.rint(np.stack([np.clip(frame, 0, 1) * 255 for frame in frames])).astype(np.uint8)


@dataclass(frozen=True)
class VideoRun:
    """One window of frames."""

    length: int
    height: int
    width: int
    frame_rate: float
    seed: int
    locks: Sequence[Lock] = ()
    kept: KeptRegion | None = None
    """Known latents that are kept exactly, beside those of a lock at latent 0."""
    reference: Video | None = None
    """Of the mode `hdr`: the display-referred frames, 0 to 1."""


@dataclass
class StepCount:
    """Counts steps of a job and passes them on, a bounded number of times a second."""

    context: JobContext
    total: int
    done: int = 0
    _said: float = field(default=0.0, repr=False)

    def heartbeat(self) -> None:
        """Raises `JobCancelled` if the job should stop."""
        if time.monotonic() - self._said >= AGAIN_S:
            self._say()

    def step(self) -> None:
        self.done += 1
        self._say()

    def on_step_end(self, _: object, step: int, timestep: object, given: Any) -> dict[str, Any]:
        """As `callback_on_step_end` of a pipeline. An exception ends the run, and the pipeline stays usable."""
        self.step()
        return {}

    def _say(self) -> None:
        self._said = time.monotonic()
        self.context.step(STAGE, min(self.done, self.total), self.total)


class Model:
    """The networks on one device. They are read when a job first needs them, and stay."""

    def __init__(self, models: Path, device: str) -> None:
        self.models = models
        self.folder = weights.require(models)
        self.device = torch.device(device)
        self.dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        self._pipeline: Any = None
        self._loaded: tuple[Kind, str, str, memory.Name] | None = None
        self._upsampler: Any = None

    def steps_of(self, settings: GenerateSettings) -> int:
        """Steps of one run."""
        steps = len(self._schedule(settings).get("sigmas", ())) or settings.steps or FULL_STEPS
        return steps + (len(STAGE_2_DISTILLED_SIGMA_VALUES) if settings.upscale else 0)

    def load(
        self, kind: Kind, run: VideoRun, settings: GenerateSettings, context: JobContext
    ) -> None:
        """Reads the networks and brings them to the device, unless they are there."""
        plan = self._plan(run, settings, context)
        wanted = kind, settings.precision, settings.lora, plan
        if self._loaded == wanted:
            return
        context.step("loading the model", 0, 1)
        self._pipeline = self._loaded = self._upsampler = (
            None  # The old ones go before new ones come.
        )
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        made = CLASSES[kind].from_pretrained(
            self.folder, local_files_only=True, use_safetensors=True, dtype=self.dtype
        )
        made.set_progress_bar_config(disable=True)
        adapters = {"hdr": 1.0} if kind == "hdr" else {}
        if kind == "hdr":
            self._add_hdr(made)
        for name, strength in settings.loras:
            adapters[f"lora_{name.replace('.', '_')}"] = strength
            self._add_lora(made, name, strength, context)
        if adapters:
            made.set_adapters([*adapters], [*adapters.values()])
        if settings.precision == "fp8":
            made.transformer.enable_layerwise_casting(torch.float8_e4m3fn, self.dtype)
        if self.device.type != "cpu":
            place = {
                "resident": made.to,
                "swapped": lambda device: made.enable_model_cpu_offload(device=device),
                "streamed": lambda device: made.enable_sequential_cpu_offload(device=device),
            }
            place[plan](self.device)
        self._pipeline, self._loaded = made, wanted

    def video(
        self, run: VideoRun, settings: GenerateSettings, progress: StepCount
    ) -> tuple[Video, Sound]:
        """[length, height, width, 3] codes, 0 to 1, and their sound. `load` comes first.

        The same run gives the same bits.
        """
        self._pipeline.kept = run.kept
        with self._working(progress):
            if not settings.upscale:
                return self._shown(
                    self._pipeline(**self._words(run, settings, progress), output_type="np")
                )
            small = replace(run, height=run.height // 2, width=run.width // 2)
            words = self._words(small, settings, progress)
            first = self._pipeline(**words, output_type="latent")
            larger = self._enlarged(first.frames, small)
            words = self._words(run, settings, progress)
            words |= {**NO_GUIDANCE, "sigmas": STAGE_2_DISTILLED_SIGMA_VALUES}
            words |= {"latents": larger, "audio_latents": first.audio, "output_type": "np"}
            return self._shown(self._pipeline(**words))

    def _shown(self, found: Any) -> tuple[Video, Sound]:
        samples = found.audio[0].float().cpu().numpy()
        rate = int(self._pipeline.vocoder.config.output_sampling_rate)
        return np.asarray(found.frames[0], np.float32), Sound(np.clip(samples, -1, 1), rate)

    def hdr(self, run: VideoRun, settings: GenerateSettings, progress: StepCount) -> Video:
        """[length, height, width, 3] linear Rec.709 light of the display-referred `run.reference`."""
        assert run.reference is not None
        words = self._words(run, settings, progress)
        words = {name: value for name, value in words.items() if not name.startswith("audio_")}
        del words["conditions"]
        words |= {"reference_conditions": [LTX2HDRReferenceCondition(run.reference, 1.0)]}
        text = self.models / weights.HDR_TEXT
        if text.is_file():
            found = load_file(text, device=str(self.device))
            words |= {
                f"connector_{name}_embeds": found[f"{name}_context"] for name in ("video", "audio")
            }
        with self._working(progress):
            light = self._pipeline(**words, output_type="np").frames[0]
        return np.asarray(light, np.float32)

    def channels(self) -> int:
        """Of the transformer's tokens."""
        config = json_of(self.folder / "transformer" / "config.json")
        return int(config["num_attention_heads"]) * int(config["attention_head_dim"])

    def demand(self, run: VideoRun, settings: GenerateSettings) -> memory.NetworkDemand:
        """The need of a run, from the sizes of files. `fp8` halves the transformer."""
        networks = {name: weights.bytes_of(self.folder / name) for name in weights.NETWORKS}
        if settings.precision == "fp8":
            networks["transformer"] //= 2
        guided = settings.schedule == "full"
        return memory.NetworkDemand(
            networks, run.length, run.height, run.width, self.channels(), guided
        )

    def _plan(self, run: VideoRun, settings: GenerateSettings, context: JobContext) -> memory.Name:
        if self.device.type == "cpu":
            return "resident"
        free = torch.cuda.mem_get_info(self.device)[0]
        free += torch.cuda.memory_reserved(self.device)
        demand = self.demand(run, settings)
        plan = memory.chosen(free, demand)
        context.warn(
            f"memory plan {plan}, of {memory.table(demand)}; {free / memory.GIB:.1f} GB are free"
        )
        return plan

    def _schedule(self, settings: GenerateSettings) -> dict[str, Any]:
        if settings.schedule == "distilled":
            return {**NO_GUIDANCE, "sigmas": DISTILLED_SIGMA_VALUES}
        return {**FULL_GUIDANCE, "num_inference_steps": settings.steps or FULL_STEPS}

    def _words(
        self, run: VideoRun, settings: GenerateSettings, progress: StepCount
    ) -> dict[str, Any]:
        """The pipeline's arguments. Nothing is left to its defaults that changes the picture."""
        schedule = self._schedule(settings)
        config = self._pipeline.transformer.config
        block = min(PERTURBED_BLOCK, config.num_layers - 1)
        return {
            **schedule,
            "conditions": [lock.condition() for lock in run.locks],
            "prompt": settings.prompt,
            "negative_prompt": settings.negative_prompt,
            "height": run.height,
            "width": run.width,
            "num_frames": run.length,
            "frame_rate": run.frame_rate,
            "generator": torch.Generator("cpu").manual_seed(run.seed),
            "spatio_temporal_guidance_blocks": [block] if schedule["stg_scale"] else None,
            # LTX-2.3 and later have modulated cross attention, and were trained with the other modality's time.
            "use_cross_timestep": bool(config.get("cross_attn_mod", False)),
            "callback_on_step_end": progress.on_step_end,
            "max_sequence_length": min(TEXT_LENGTH, self._pipeline.tokenizer.model_max_length),
        }

    def _enlarged(self, latents: torch.Tensor, run: VideoRun) -> torch.Tensor:
        """Twice the size, in the latents of the autoencoder."""
        if self._upsampler is None:
            folder = self.folder / weights.UPSAMPLER
            if not weights.files_of(folder):
                raise ModelMissing(f"upscale needs {folder}, which is not there", weights.HINT)
            network = LTX2LatentUpsamplerModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=self.dtype
            ).to(self.device)
            pipeline: Any = LTX2LatentUpsamplePipeline
            self._upsampler = pipeline(self._pipeline.vae, network)
            self._upsampler.set_progress_bar_config(disable=True)
        found = self._upsampler(
            latents=latents,
            latents_normalized=False,
            height=run.height,
            width=run.width,
            num_frames=run.length,
            output_type="latent",
            return_dict=False,
        )[0]
        assert isinstance(found, torch.Tensor)
        return found

    def _add_hdr(self, pipeline: Any) -> None:
        path = self.models / weights.HDR
        if not path.is_file():
            raise ModelMissing(
                f"hdr needs its LoRA, and {path} is not there",
                "Copy the safetensors file of Lightricks/LTX-2.3-22b-IC-LoRA-HDR there.",
            )
        self._read_lora(pipeline, path, "hdr")

    def _add_lora(self, pipeline: Any, name: str, strength: float, context: JobContext) -> None:
        path = self.models / weights.LORAS / f"{name}.safetensors"
        if not path.is_file():
            raise BadLora(f"the LoRA {name} is not there: {path}", "Copy its file there.")
        self._read_lora(pipeline, path, f"lora_{name.replace('.', '_')}")
        context.warn(f"LoRA {name} at {strength:g}, SHA-256 {fingerprint(path)}")

    def _read_lora(self, pipeline: Any, path: Path, adapter: str) -> None:
        """Raises `BadLora` for a file that is no LoRA of these networks."""
        try:
            pipeline.load_lora_weights(
                path.parent, weight_name=path.name, adapter_name=adapter, local_files_only=True
            )
        except (ValueError, RuntimeError, OSError, KeyError, SafetensorError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadLora(f"{path} is not a LoRA of this LTX-2: {said[:200]}") from error
        if adapter not in getattr(pipeline.transformer, "peft_config", {}):
            raise BadLora(f"{path} has no tensor for the transformer of this LTX-2")

    @contextmanager
    def _working(self, progress: StepCount) -> Iterator[None]:
        """Reports between layers, and turns a lack of memory into `OutOfMemory`."""
        networks = (self._pipeline.transformer, self._pipeline.vae, self._pipeline.text_encoder)
        layers = [
            layer
            for network in networks
            for found in network.modules()
            if isinstance(found, torch.nn.ModuleList)
            for layer in found
        ]
        try:
            with with_heartbeat(layers, progress.heartbeat), torch.inference_mode():
                yield
        except (MemoryError, RuntimeError) as error:
            said = out_of_memory(error)
            if said is None:
                raise
            raise OutOfMemory(f"ltx ran out of memory: {said}", "Ask for fewer frames.") from error


def json_of(path: Path) -> dict[str, Any]:
    """A JSON object of the model. Raises `ModelMissing` if it cannot be read."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelMissing(f"{path} cannot be read: {error}", weights.HINT) from error
    return found
