"""Whole passes against stored outputs of the published code, stage by stage; every case found is run.

In float32 every stage has to be within `ATOL` of what is stored: rounding is below 1.2e-5, the smallest mistake
tried is 2e-3. A case stored in bfloat16 is held to twice the rms that bfloat16 itself costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.files.prompts import PromptEmbeddings, Tokenizer
from voidbridge_backend.engines.void.model.denoiser import Conditions, Denoiser, Text
from voidbridge_backend.engines.void.passes import pipeline
from voidbridge_backend.engines.void.passes.conditioning import Levels, mask_levels
from voidbridge_backend.engines.void.passes.timeline import mirrored, padded

ATOL = 5e-5
FIRST, SECOND = "predict_v2v.py", "inference_with_pass1_warped_noise.py"


class Case:
    """A stored case: its settings, and its tensors as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.models = folder.parent / "model"
        self.about: dict[str, Any] = json.loads((folder / "README.json").read_text())
        self.settings: dict[str, Any] = self.about["settings"]
        self.tensors: dict[str, Tensor] = {}
        self.compared: set[str] = set()
        for part in ("inputs", "stages", "output"):
            if (folder / f"{part}.safetensors").is_file():
                self.tensors |= load_file(folder / f"{part}.safetensors")
        if not self.has_inputs:
            self._borrow(folder)

    @property
    def has_inputs(self) -> bool:
        return "input/video_u8" in self.tensors

    def _borrow(self, folder: Path) -> None:
        """A case without frames of its own is another one in another type: take that one's."""
        for other in sorted(folder.parent.glob("*/inputs.safetensors")):
            about = json.loads((other.parent / "README.json").read_text())
            same = {**about.get("settings", {}), "weight_dtype": self.settings.get("weight_dtype")}
            lent = load_file(other) if same == self.settings else {}
            if "input/video_u8" in lent:
                self.tensors = lent | self.tensors
                return

    @property
    def is_second(self) -> bool:
        return str(self.about["script"]).endswith(SECOND)

    @property
    def dtype(self) -> torch.dtype:
        return (
            torch.bfloat16
            if "bfloat16" in str(self.settings.get("weight_dtype"))
            else torch.float32
        )

    @property
    def levels(self) -> Levels:
        tri = self.settings.get(
            "use_trimask_passed_to_pipeline", self.settings.get("use_trimask", True)
        )
        return "tri" if tri else "reference"

    @property
    def method(self) -> pipeline.Method:
        return replace(
            pipeline.SECOND if self.is_second else pipeline.FIRST,
            steps=self.settings["num_inference_steps"],
            guidance=self.settings["guidance_scale"],
            window=self.settings["temporal_window_size"],
            overlap=self.settings.get("temporal_multidiffusion_stride", 16),
        )

    @property
    def frames(self) -> int:
        return padded(self.settings["frames_in"], self.settings["temporal_window_size"])

    def video(self) -> Tensor:
        """[1, 3, t, h, w] in [-1, 1]: the stored frames, averaged to the model's size, mirrored to its length."""
        if "input/video_float" in self.tensors:
            return self.tensors["input/video_float"] * 2 - 1
        frames = self.tensors["input/video_u8"].permute(0, 3, 1, 2).float() / 255
        return self._padded(self._sized(frames)).permute(1, 0, 2, 3)[None] * 2 - 1

    def quadmask(self) -> Tensor:
        """[1, 1, t, h, w], codes 0 to 255, averaged and mirrored likewise."""
        masks = self.tensors["input/quadmask_u8"][:, None].float()
        return self._padded(self._sized(masks)).permute(1, 0, 2, 3)[None]

    def _sized(self, frames: Tensor) -> Tensor:
        return interpolate(frames, size=tuple(self.settings["size_hw"]), mode="area")

    def _padded(self, frames: Tensor) -> Tensor:
        return frames[mirrored(len(frames), self.frames)]

    def compare(self, name: str, found: Tensor) -> None:
        """Hold `found` against what is stored under `name`, if anything is."""
        if name not in self.tensors:
            return
        stored = self.tensors[name].double()
        self.compared.add(name)
        assert found.shape == stored.shape, name
        error = (found.double() - stored).abs()
        if self.dtype == torch.float32:
            assert error.max() <= ATOL, f"{self.name}: {name} differs by {error.max():.2e}"
        else:
            rms = error.square().mean().sqrt()
            allowed = 2 * self._rms_of_bfloat16(name)
            assert rms <= allowed, (
                f"{self.name}: {name} differs by {rms:.2e} rms, {allowed:.2e} allowed"
            )

    def _rms_of_bfloat16(self, name: str) -> float:
        cases = json.loads((self.models.parent / "tolerances.json").read_text())["cases"]
        if name.startswith(("latents_after/", "decode/z", "step/")):
            name = "LATENTS_LAST"
        costs = (case["bf16_vs_fp64_same_noise"] for case in cases.values())
        return max(float(cost[name]["rms"]) for cost in costs if name in cost)


def found_cases(golden: Path) -> list[Path]:
    """Folders with a case of either script, whatever they are called and however many there are."""
    readmes = sorted((golden / "void").glob("*/README.json"))
    scripts = {path.parent: str(json.loads(path.read_text()).get("script", "")) for path in readmes}
    return [
        folder
        for folder, script in scripts.items()
        if script.endswith((FIRST, SECOND))
        and (folder / "inputs.safetensors").is_file()
        and "init/latents" in Case(folder).tensors
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "folder" in metafunc.fixturenames:
        golden = Path(metafunc.config.getoption("--golden")).resolve()
        cases: list[Path | None] = [*found_cases(golden)] or [None]
        metafunc.parametrize("folder", cases, ids=lambda case: case.name if case else "none-found")


@pytest.fixture
def case(golden: Path, folder: Path | None) -> Case:
    if folder is None:
        pytest.skip(f"no case of a pass in {golden / 'void'}")
    return Case(folder)


class Watched(Denoiser):
    """A denoiser that is compared with the stored case at each of its answers."""

    def __init__(self, network: Any, case: Case) -> None:
        super().__init__(network)
        self.case, self.calls, self.seen = case, 0, Tensor()

    def velocity(
        self,
        latents: Tensor,
        known: Tensor,
        text: Text,
        timestep: int,
        guidance: float,
        part: str = "",
    ) -> Tensor:
        first = self.calls == 0
        hooks = list(self._compared()) if first else []
        answer = super().velocity(latents, known, text, timestep, guidance, part)
        for hook in hooks:
            hook.remove()
        if first:
            self.case.compare("first/inpaint_latents", known)
            cosines, sines = self.positions(latents.shape[1], latents.shape[3], latents.shape[4])
            self.case.compare("first/rope_cos", cosines)
            self.case.compare("first/rope_sin", sines)
        before = f"latents_after/{self.calls - 1:03}"
        stored = self.case.tensors.get(before)
        if stored is not None and stored.shape == latents.shape:
            self.case.compare(before, latents)
        self.case.compare(f"step/{self.calls:03}/guided_model_output", answer)
        self.calls += 1
        return answer

    def _compared(self) -> Iterator[Any]:
        network = self.network
        yield self._at(network, "noise_pred_raw", lambda out: out[0])
        yield self._at(network.time_embedding, "temb", lambda out: out)
        yield self._at(network.patch_embed, "patch_embed_out", lambda out: out)
        yield self._at(network.norm_out, "norm_out", lambda out: out)
        yield self._at(network.proj_out, "proj_out", lambda out: out)
        for index, block in enumerate(network.transformer_blocks):
            yield self._at(block.attn1, f"block{index}_attn_video", lambda out: out[0])
            yield self._at(block, f"block{index}_video", lambda out: out[0])
            yield self._at(block, f"block{index}_text", lambda out: out[1])

    def _at(self, module: Any, name: str, part: Callable[[Any], Tensor]) -> Any:
        def compare(_module: Any, _inputs: Any, output: Any) -> None:
            self.case.compare(f"first/{name}", part(output))

        return module.register_forward_hook(compare)


def denoiser(case: Case) -> Watched:
    number = 2 if "pass2" in str(case.settings["transformer_checkpoint"]) else 1
    network = networks.denoiser(case.models, number, case.dtype).network
    if any(name.startswith("weights_fp8/") for name in case.tensors):
        for name, parameter in network.named_parameters():
            rounded = parameter.data.to(torch.float8_e4m3fn)
            if f"weights_fp8/{name}" in case.tensors:
                assert torch.equal(rounded.float(), case.tensors[f"weights_fp8/{name}"].float())
            parameter.data = rounded.to(case.dtype)
    return Watched(network, case)


def text(case: Case) -> Text:
    """Both prompts, embedded by us and held against what is stored."""
    meta = case.about["meta"]
    prompt = str(meta["prompt_text"])
    negative = str(
        meta.get("negative_prompt_text", meta["call_kwargs_from_reference"]["negative_prompt"])
    )
    words = Tokenizer(case.models)
    found = PromptEmbeddings(case.models, case.dtype).embeddings([prompt, negative], "cpu")
    for name, said, embedding in zip(
        ("prompt", "negative_prompt"), (prompt, negative), found, strict=True
    ):
        if f"text/{name}_ids" in case.tensors:
            assert torch.equal(words.ids(said), case.tensors[f"text/{name}_ids"].long())
        case.compare(f"text/{name}_embeds", embedding)
    return Text(*found)


def conditions(case: Case) -> Conditions:
    """The latents of mask and plate, computed by us from the stored frames and held against what is stored."""
    vae = networks.vae(case.models, case.dtype)
    video, quadmask = case.video(), case.quadmask()
    noise = case.tensors["cond/video_aug_noise"]
    case.compare("cond/vae_mask_input_1ch", mask_levels(quadmask, case.levels))

    def plain(_done: int, _of: int) -> None:
        return None

    mask = pipeline.encoded_mask(
        vae, lambda span: quadmask[:, :, span], case.frames, case.levels, None, plain
    )
    plate = pipeline.encoded_plate(
        vae,
        lambda span: video[:, :, span],
        lambda span: noise[:, :, span],
        case.frames,
        None,
        plain,
        blanked=(lambda span: quadmask[:, :, span])
        if case.settings.get("zero_out_mask_region")
        else None,
    )
    case.compare("cond/mask_latents", mask.permute(0, 2, 1, 3, 4))
    case.compare("cond/masked_video_latents", plate.permute(0, 2, 1, 3, 4))
    return Conditions(mask, plate)


def is_a_stage(name: str) -> bool:
    """Whether a stored tensor is something that a pass computes, and of which it compares the values."""
    given = name in ("cond/video_aug_noise", "first/timestep", "output/saved_u8")
    computed = name.startswith(("cond/", "first/", "decode/", "output/")) or name.endswith(
        "_model_output"
    )
    return computed and not given


def test_a_pass_is_what_the_published_code_computes_at_every_stage(case: Case) -> None:
    steps: list[tuple[int, int]] = []
    known = conditions(case)
    config = networks.scheduler_config(case.models)

    latents = pipeline.denoised(
        denoiser(case),
        config,
        known,
        case.tensors["init/latents"].float(),
        text(case),
        case.method,
        lambda done, of: steps.append((done, of)),
    )
    last = f"latents_after/{case.settings['num_inference_steps'] - 1:03}"
    case.compare(last, latents)

    vae = networks.vae(case.models, case.dtype)
    raw = torch.cat(list(pipeline.decoded(vae, latents, case.frames, None, lambda *_: None)), dim=2)
    case.compare("decode/z", latents.permute(0, 2, 1, 3, 4) / vae.scale)
    case.compare("decode/raw", raw)
    case.compare("output/video", (raw / 2 + 0.5).clamp(0, 1))
    assert {name for name in case.tensors if is_a_stage(name)} <= case.compared
    assert steps[-1][0] == steps[-1][1]
    assert raw.shape[2] == case.settings["frames_after_temporal_padding"]
