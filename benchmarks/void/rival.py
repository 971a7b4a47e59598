"""The published code beside ours: same weights, same noise, same frames, one after the other on the same device.

It is found through the variable `VOID_REFERENCE`, a checkout of Netflix/void-model, and run by the Python that
`VOID_REFERENCE_PYTHON` names (its own requirements are others than ours). Without the first the part says that it
was left out. Both sides are given embeddings of a prompt, so no text encoder is timed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from exactness import compared
from rig import RESIDENT, Bench, Quiet, Shot, words
from safetensors.torch import load_file, save_file
from torch import Tensor

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.files.weights import BASE, PASSES, PATCH, read_json
from voidbridge_backend.engines.void.inputs import Footage, grain, pictures
from voidbridge_backend.engines.void.passes import pipeline, sampling
from voidbridge_backend.engines.void.passes.pipeline import Method

VARIABLE, PYTHON = "VOID_REFERENCE", "VOID_REFERENCE_PYTHON"
SEED = 42
STEPS = {1: 30, 2: 50}
"""The steps of its two scripts."""
SCRIPT = "inference/cogvideox_fun/predict_v2v.py"


def rival(bench: Bench, frames: list[int], work: Path) -> dict[str, Any]:
    """Pass 1 at each length, pass 2 at a window's (it can do no more), and its script from its start."""
    found = os.environ.get(VARIABLE)
    if not found:
        return {"left_out": f"{VARIABLE} names no checkout of Netflix/void-model"}
    checkout, python = Path(found), os.environ.get(PYTHON, sys.executable)
    base = folder_for_both(bench.models, work / "published")
    runs = [Run(bench, 1, count, work) for count in frames]
    runs.append(Run(bench, 2, bench.options.window, work))
    fp8 = [run.ours(linears="fp8") for run in runs]
    ours = [run.ours() for run in runs]
    theirs = published(bench, checkout, python, base, runs, work)
    rows = []
    for run, mine, quantized, their in zip(runs, ours, fp8, theirs, strict=True):
        rows.append(
            {"pass": run.number, "frames": run.frames, "steps": run.steps}
            | {"seconds": round(mine, 3), "published_s": round(their["seconds"], 3)}
            | {"faster": round(their["seconds"] / mine, 3)}
            | {"faster_in_fp8": round(their["seconds"] / quantized, 3)}
            | {"published_load_s": round(their["load_s"], 2)}
            | {"published_peak_gb": round(their["peak_bytes"] / 2**30, 2)}
            | run.likeness()
        )
    cold = script(bench, checkout, python, base, work) if bench.is_cuda else {}
    if "seconds" in cold:
        cold["over_warm"] = round(cold["seconds"] / rows[0]["seconds"], 2)
    return {"warm": rows, "script_cold": cold or {"left_out": "it knows no device but CUDA"}}


class Run:
    """One clip through one pass, by either side."""

    def __init__(self, bench: Bench, number: int, frames: int, work: Path) -> None:
        self.bench, self.number, self.frames = bench, number, frames
        self.method: Method = replace(
            pipeline.FIRST if number == 1 else pipeline.SECOND,
            steps=STEPS[number] if bench.is_cuda else bench.steps,
            window=bench.options.window,
            overlap=bench.options.overlap,
        )
        self.steps = self.method.steps
        shot = bench.shot(frames)
        self.footage = Footage(shot, shot.frames, bench.options.window)
        size = bench.options.height, bench.options.width
        whole = slice(0, self.footage.length)
        self.noise = sampling.noise(SEED, self.footage.latents, *bench.size)
        self.augmentation = grain(SEED, whole, *size)
        self.text = words(bench.engine().denoiser(number))
        self.inputs = work / f"pass{number}_{frames}.safetensors"
        self.output = work / f"pass{number}_{frames}_published.safetensors"
        self._ours: Tensor | None = None
        video = (self.footage.plate(whole) + 1) / 2
        mask = (255 - self.footage.quadmask(whole).float()) / 255
        tensors = {"video": video, "mask": mask, "noise": self.noise}
        tensors |= {"augmentation": self.augmentation, "prompt": self.text.prompt}
        tensors["negative"] = self.text.prompt if self.text.negative is None else self.text.negative
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, self.inputs)

    def ours(self, **more: Any) -> float:
        """Seconds of the second of two calls: encodings, denoising, decoding. Its pictures are kept."""
        engine = self.bench.engine(**more)
        denoiser = self.bench.compiled(engine, self.number)
        if engine.options.vae_compile == "on":
            engine.vae().compiled.begin(Quiet())
        working = engine.placement.working
        with working(engine.vae().network, RESIDENT), working(denoiser.network, RESIDENT):
            seconds = self.bench.timed(lambda: self._once(engine))
        engine.placement.clear()
        self.bench.let_go()
        return seconds

    def _once(self, engine: Void) -> None:
        footage, vae = self.footage, engine.vae()

        def report(done: int, of: int) -> None:
            return None

        def noise(span: slice) -> Tensor:
            return self.augmentation[:, :, span]

        levels: Any = "tri" if self.number == 1 else "reference"
        mask = pipeline.encoded_mask(vae, footage.quadmask, footage.length, levels, None, report)
        plate = pipeline.encoded_plate(vae, footage.plate, noise, footage.length, None, report)
        latents = pipeline.denoised(
            engine.denoiser(self.number),
            networks.scheduler_config(self.bench.models),
            pipeline.Conditions(mask, plate),
            self.noise,
            self.text,
            self.method,
            report,
        )
        frames = list(pipeline.decoded(vae, latents, footage.length, None, report))
        self._ours = torch.cat(frames, dim=2)

    def request(self) -> dict[str, Any]:
        method = self.method
        return {
            "pass": self.number,
            "steps": method.steps,
            "guidance": method.guidance,
            "window": method.window,
            "inputs": str(self.inputs),
            "output": str(self.output),
        }

    def likeness(self) -> dict[str, float]:
        """How near the two results are; both rounded on their own way."""
        if self._ours is None:
            raise ValueError("ours was not run")
        theirs = load_file(self.output)["video"]
        mine = dict(enumerate(pictures(self._ours)))
        return compared(mine, dict(enumerate(pictures(theirs * 2 - 1))))


def folder_for_both(models: Path, folder: Path) -> Path:
    """The base model as the published classes load it: links, the entries that only they know, and base weights."""
    base = models / BASE
    for part in ("scheduler", "tokenizer", "text_encoder", "vae", "transformer"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for path in (base / part).iterdir():
            if not (folder / part / path.name).exists():
                (folder / part / path.name).symlink_to(path.resolve())
    config = folder / "transformer" / "config.json"
    entries = read_json(config) | {"add_noise_in_inpaint_model": True}
    config.unlink()
    config.write_text(json.dumps(entries))
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    if not weights.exists():
        state = load_file(models / PASSES[1])
        place = state[PATCH].shape[1] // 48
        columns = [*range(17 * place), *range(32 * place, 48 * place)]  # One channel for the mask.
        state[PATCH] = state[PATCH][:, columns].contiguous()
        save_file(state, weights)
    return folder


def published(
    bench: Bench, checkout: Path, python: str, base: Path, runs: list[Run], work: Path
) -> list[dict[str, Any]]:
    request = {
        "base": str(base),
        "passes": {str(number): str(bench.models / name) for number, name in PASSES.items()},
        "device": bench.device,
        "dtype": "bfloat16" if bench.is_cuda else "float32",
        "runs": [run.request() for run in runs],
        "answers": str(work / "answers.json"),
    }
    asked = work / "request.json"
    asked.write_text(json.dumps(request))
    driver = Path(__file__).with_name("published.py")
    environment = dict(os.environ, PYTHONPATH=str(checkout))
    subprocess.run(
        [python, str(driver), str(asked)], check=True, env=environment, stdout=sys.stderr
    )
    answers: list[dict[str, Any]] = json.loads((work / "answers.json").read_text())
    return answers


def script(bench: Bench, checkout: Path, python: str, base: Path, work: Path) -> dict[str, Any]:
    """Its own script, started anew, with its own default for memory, on a clip of one window."""
    shot = bench.shot(bench.options.window)
    data = work / "data"
    write_sequence(data / "shot", shot)
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    words = {
        "data.data_rootdir": data,
        "data.sample_size": f"{bench.options.height}x{bench.options.width}",
        "experiment.run_seqs": "shot",
        "experiment.save_path": out,
        "video_model.model_name": base,
        "video_model.transformer_path": bench.models / PASSES[1],
    }
    command = [python, SCRIPT, "--config=config/quadmask_cogvideox.py"]
    command += [f"--config.{name}={value}" for name, value in words.items()]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode or not list(out.glob("*.mp4")):
        return {"failed": done.stderr.strip().splitlines()[-3:]}
    return {"seconds": round(seconds, 2)}


def write_sequence(folder: Path, shot: Shot) -> None:
    """A clip as the script reads one: two videos without loss, and a prompt."""
    import av

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompt.json").write_text(json.dumps({"bg": "an empty street"}))
    for name, read in (("input_video.mp4", shot.plate), ("quadmask_0.mp4", shot.quadmask)):
        with av.open(str(folder / name), "w") as file:
            stream: Any = file.add_stream("libx264rgb", rate=12, options={"qp": "0"})
            stream.height, stream.width, stream.pix_fmt = shot.height, shot.width, "rgb24"
            for frame in shot.frames:
                pixels = read(frame)
                if pixels.ndim == 2:
                    pixels = pixels[..., None].repeat(3, axis=2)
                else:
                    pixels = (pixels * 255).round().astype("uint8")
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode())
