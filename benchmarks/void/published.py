"""Runs the published pipeline on stored inputs, in the Python that it needs. Started by `rival.py`.

    PYTHONPATH=CHECKOUT python published.py REQUEST.json

Its classes are used as its scripts use them: made by `from_pretrained` from a models folder, the pass's own weights
laid over them, all on the device (`model_full_load`). Each run is called twice, and the second call is timed.
Nothing of this project is imported.
"""

import json
import sys
import time

import torch
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler
from safetensors.torch import load_file, save_file
from videox_fun.models import (
    AutoencoderKLCogVideoX,
    CogVideoXTransformer3DModel,
    T5EncoderModel,
    T5Tokenizer,
)
from videox_fun.pipeline import CogVideoXFunInpaintPipeline
from videox_fun.pipeline import pipeline_cogvideox_fun_inpaint as module


def main(path):
    with open(path) as file:
        request = json.load(file)
    answers = []
    for number in sorted({run["pass"] for run in request["runs"]}):
        began = time.perf_counter()
        pipeline = made(request, number)
        waited(request)
        load = time.perf_counter() - began
        for run in request["runs"]:
            if run["pass"] == number:
                answers.append({"load_s": load, **done(request, run, pipeline)})
        del pipeline
        if request["device"].startswith("cuda"):
            torch.cuda.empty_cache()
    with open(request["answers"], "w") as file:
        json.dump(answers, file)


def made(request, number):
    base, dtype = request["base"], getattr(torch, request["dtype"])
    transformer = CogVideoXTransformer3DModel.from_pretrained(
        base, subfolder="transformer", torch_dtype=dtype, use_vae_mask=True, stack_mask=False
    ).to(dtype)
    transformer.load_state_dict(load_file(request["passes"][str(number)]), strict=True)
    scheduler = DDIMScheduler if number == 1 else CogVideoXDDIMScheduler
    pipeline = CogVideoXFunInpaintPipeline(
        vae=AutoencoderKLCogVideoX.from_pretrained(base, subfolder="vae").to(dtype),
        tokenizer=T5Tokenizer.from_pretrained(base, subfolder="tokenizer"),
        text_encoder=T5EncoderModel.from_pretrained(
            base, subfolder="text_encoder", torch_dtype=dtype
        ),
        transformer=transformer,
        scheduler=scheduler.from_pretrained(base, subfolder="scheduler"),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(request["device"])


def done(request, run, pipeline):
    given = load_file(run["inputs"])

    def with_given_noise(image, ratio=None):
        noise = given["augmentation"].to(image.device, image.dtype) * ratio
        return image + torch.where(image == -1, torch.zeros_like(image), noise)

    module.add_noise_to_reference_video = with_given_noise
    device, dtype = request["device"], getattr(torch, request["dtype"])
    seconds = 0.0
    for _ in range(2):
        waited(request)
        began = time.perf_counter()
        with torch.no_grad():
            found = pipeline(
                prompt_embeds=given["prompt"].to(device, dtype),
                negative_prompt_embeds=given["negative"].to(device, dtype),
                num_frames=run["window"],
                height=given["video"].shape[-2],
                width=given["video"].shape[-1],
                video=given["video"],
                mask_video=given["mask"],
                latents=given["noise"].to(device, dtype),
                guidance_scale=run["guidance"],
                num_inference_steps=run["steps"],
                use_trimask=run["pass"] == 1,
                use_vae_mask=True,
                stack_mask=False,
            ).videos
        waited(request)
        seconds = time.perf_counter() - began
    save_file({"video": found.float().contiguous().cpu()}, run["output"])
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    return {"seconds": seconds, "peak_bytes": peak}


def waited(request):
    if request["device"].startswith("cuda"):
        torch.cuda.synchronize()


main(sys.argv[1])
