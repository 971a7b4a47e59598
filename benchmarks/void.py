"""The engine `void` against the limits of the card that it runs on.

    python benchmarks/void.py --networks true --device cuda:0 > void.json
    python benchmarks/void.py --models FOLDER --device cuda:0 [--frames 85 197] [--steps 50]
    python benchmarks/void.py                        the tiny model on a CPU: a trial of the benchmark itself

`--networks true` writes networks of the published architecture with random weights into --work (23 GB), which is
as fast as the real ones and shows nothing. What is measured, each as one part of the answer:

* `matmul`: the rate at which the device multiplies large matrices for a while, the limit for all below.
* `ready`: seconds from starting a process to networks on the device.
* `denoise`: seconds a step of both passes, and the share of `matmul` that the loop reaches, scheduler included.
* `vae`: seconds of two encodings and one decoding, in both layouts.
* `exact`: how far each way of computing is from float32, over how far plain bfloat16 is (torch's attention, nothing
  compiled, contiguous).
* `plans`: for each size of card the memory plan, its peak and its seconds a step. A smaller card is made
  by `torch.cuda.set_per_process_memory_fraction`.
* `jobs`: whole jobs of each length and number of passes: seconds of the second one, peak, and whether both are the
  same to the bit.

Seconds are wall time with the device waited for; the first run of each, which compiles, is not counted.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from voidbridge_backend.engine import void
from voidbridge_backend.engine.void import kernels, memory, networks, pipeline, sampling, tiny
from voidbridge_backend.engine.void import options as engine_options
from voidbridge_backend.engine.void.denoiser import Conditions, Denoiser, Text
from voidbridge_backend.engine.void.engine import Void
from voidbridge_backend.engine.void.footage import Footage
from voidbridge_backend.engine.void.memory import GIB, Plan
from voidbridge_backend.engine.void.timeline import latents_of, windows
from voidbridge_backend.engine.void.vae import Vae
from voidbridge_backend.engine.void.weights import BASE, PASSES, on_meta
from voidbridge_protocol.errors import OutOfMemory
from voidbridge_protocol.messages import Settings

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

CARDS_GB = (80, 40, 24, 16, 12)
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
        save_file({name: _drawn(name, shape, generator) for name, shape in tensors.items()}, path)
    (folder / "complete").touch()
    return folder


def _drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Weights that keep numbers about as large as they come in. Zeros would be multiplied faster."""
    drawn = torch.randn(shape, generator=generator, device=generator.device)
    if len(shape) > 1:
        drawn /= drawn[0].numel() ** 0.5
    else:
        drawn = drawn / 10 + (1.0 if name.endswith("weight") else 0.0)
    return drawn.to("cpu", torch.bfloat16)


class Bench:
    """A models folder on a device, and what is asked of it."""

    def __init__(self, models: Path, device: str, steps: int, seconds: float) -> None:
        self.models, self.device, self.steps, self.seconds = models, device, steps, seconds
        self.options = engine_options.from_folder(models)
        self.is_cuda = torch.device(device).type == "cuda"

    def engine(self, **more: Any) -> Void:
        return Void(self.models, self.device, replace(self.options, **more))

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
        gc.collect()
        if self.is_cuda:
            torch.cuda.empty_cache()

    def matmul(self) -> dict[str, Any]:
        edge = 8192 if self.is_cuda else 512
        dtype = torch.bfloat16 if self.is_cuda else torch.float32
        left, right = (torch.randn(edge, edge, device=self.device, dtype=dtype) for _ in range(2))
        out = left @ right
        self.wait()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < self.seconds:
            for _ in range(10):
                torch.mm(left, right, out=out)
            self.wait()
            count += 10
        rate = 2 * edge**3 * count / (time.perf_counter() - began)
        return {"edge": edge, "type": str(dtype), "tflop_s": round(rate / 1e12, 3)}

    def ready(self) -> dict[str, Any]:
        began = time.perf_counter()
        command = [sys.executable, __file__, "--become-ready", str(self.models)]
        subprocess.run([*command, "--device", self.device], check=True)
        return {"seconds": round(time.perf_counter() - began, 2)}

    def denoise(self, frames: list[int], tflop_s: float) -> list[dict[str, Any]]:
        rows = []
        engine = self.engine()
        for number, base in ((1, pipeline.FIRST), (2, pipeline.SECOND)):
            method = replace(base, window=self.options.window, overlap=self.options.overlap)
            denoiser = engine.denoiser(number)
            if kernels.compiles(self.options.compile, engine.residence.device, RESIDENT):
                denoiser.compiled.begin(Quiet().warn)
            for count in frames:
                runs = windows(latents_of(count), method.window, method.overlap).runs
                batch = 1 if method.guidance == 1 else 2
                work = sum(forward_flops(denoiser, run.stop - run.start, self.size) for run in runs)
                with engine.residence.working(denoiser.network, RESIDENT), self.peak() as peak:
                    seconds = self.timed(partial(self.loop, denoiser, count, method))
                a_step = seconds / self.steps
                reached = work * batch / a_step
                rows.append(
                    {"pass": number, "frames": count, "seconds_a_step": round(a_step, 4)}
                    | {"tflop_a_step": round(work * batch / 1e12, 6)}
                    | {"of_matmul": round(reached / 1e12 / tflop_s, 3)}
                    | {"compiled": denoiser.compiled.is_on, "attention": denoiser.attention}
                    | peak
                )
            engine.residence.clear()
        return rows

    def loop(self, denoiser: Denoiser, frames: int, method: pipeline.Method) -> Tensor:
        latents = latents_of(frames)
        noise = sampling.noise(1, latents, *self.size)
        known = Conditions(*(sampling.noise(seed, latents, *self.size) for seed in (2, 3)))
        config = networks.scheduler_config(self.models)
        method = replace(method, steps=self.steps)
        return pipeline.denoised(
            denoiser, config, known, noise, words(denoiser), method, lambda done, of: None
        )

    def vae(self, frames: int) -> list[dict[str, Any]]:
        rows = []
        high, wide = self.options.height, self.options.width
        pixels = torch.rand(1, 3, frames, high, wide) * 2 - 1
        latents = sampling.noise(1, latents_of(frames), *self.size).permute(0, 2, 1, 3, 4)
        for layout in ("contiguous", "channels-last"):
            engine = self.engine(vae_layout=layout)
            vae = engine.vae()
            with engine.residence.working(vae.network, RESIDENT), self.peak() as peak:
                encode = self.timed(partial(encoded, vae, pixels))
                decode = self.timed(partial(decoded, vae, latents))
            rows.append(
                {"layout": layout, "frames": frames, "encode_s": round(encode, 3)}
                | {"decode_s": round(decode, 3), "shot_s": round(2 * encode + decode, 3)}
                | peak
            )
            engine.residence.clear()
            self.let_go()
        return rows

    def exact(self) -> list[dict[str, Any]]:
        ways: list[dict[str, Any]] = [{"attention": name} for name in ("torch", *kernels.ORDERS)]
        if self.is_cuda:  # On a CPU compiling takes longer than all else together.
            ways += [{"attention": name, "compile": "on"} for name in ("torch", "cudnn")]
        truth = self.answers(precision="float32", attention="torch")
        rows: list[dict[str, Any]] = []
        for way in ways:
            try:
                found = self.answers(precision="bfloat16", **way)
            except torch.OutOfMemoryError:  # "math" holds all scores at once.
                rows.append({"part": "transformer", **way, "failed": "out of memory"})
                continue
            error = float((found - truth).norm() / truth.norm())
            first = rows[0]["error"] if rows else error
            rows.append({"part": "transformer", **way, "error": error, "of_plain": error / first})
        truth = self.picture(precision="float32")
        plain = 0.0
        for layout in ("contiguous", "channels-last"):
            found = self.picture(precision="bfloat16", vae_layout=layout)
            error = float((found - truth).norm() / truth.norm())
            plain = plain or error
            rows.append(
                {"part": "vae", "vae_layout": layout, "error": error, "of_plain": error / plain}
            )
        return rows

    def answers(self, **more: Any) -> Tensor:
        """The first transformer's answers at five timesteps to the same noise."""
        engine = self.engine(**more)
        denoiser = engine.denoiser(1)
        if more.get("compile") == "on":
            denoiser.compiled.begin(Quiet().warn)
        latents = latents_of(self.options.window) // 2 * 2
        seen = sampling.noise(1, latents, *self.size)
        known = torch.cat([sampling.noise(seed, latents, *self.size) for seed in (2, 3)], dim=2)
        said = words(denoiser)
        with engine.residence.working(denoiser.network, RESIDENT):
            found = [
                denoiser.velocity(seen, known, said, step, 1.0) for step in range(199, 1000, 200)
            ]
        engine.residence.clear()
        self.let_go()
        return torch.stack(found).double()

    def picture(self, **more: Any) -> Tensor:
        engine = self.engine(**more)
        vae = engine.vae()
        latents = sampling.noise(1, 3, *self.size).permute(0, 2, 1, 3, 4)
        with engine.residence.working(vae.network, RESIDENT):
            found = decoded(vae, latents).double()
        engine.residence.clear()
        self.let_go()
        return found

    def plans(self) -> list[dict[str, Any]]:
        shot = Shot(self.options.window, self.options.height, self.options.width)
        settings = Settings(engine="void", steps=4)
        if not self.is_cuda:  # Nothing to limit, and one plan.
            return [{"plan": "resident", "limit_gb": None, **self.planned(shot, settings)}]
        total = torch.cuda.get_device_properties(self.device).total_memory
        rows: list[dict[str, Any]] = []
        for card in CARDS_GB:
            if card * GIB > total:
                continue
            probe = self.engine()
            footage = Footage(shot, shot.frames, self.options.window)
            row: dict[str, Any] = {"limit_gb": card}
            try:
                # The engine asks the driver, which knows nothing of the limit: so it is told the plan.
                plan = memory.chosen(card * GIB, probe.demand(footage, settings))
                del probe
                torch.cuda.set_per_process_memory_fraction(card * GIB / total)
                row |= {"plan": plan.name, **self.planned(shot, settings, plan)}
            except OutOfMemory as error:
                row["failed"] = str(error)
            finally:
                torch.cuda.set_per_process_memory_fraction(1.0)
                self.let_go()
            rows.append(row)
        return rows

    def planned(self, shot: Shot, settings: Settings, plan: Plan = RESIDENT) -> dict[str, Any]:
        engine, watch = self.engine(plan=plan.name), Stopwatch()
        with self.peak() as peak:
            list(engine.remove(shot, settings, watch))
        engine.residence.clear()
        return {"seconds_a_step": round(watch.seconds_a_step(), 4), **peak}

    def jobs(self, frames: list[int]) -> list[dict[str, Any]]:
        rows = []
        for count in frames:
            shot = Shot(count, self.options.height, self.options.width)
            for passes in (1, 2):
                settings = Settings(engine="void", passes=passes, steps=self.steps)
                engine, results = self.engine(), []
                for _ in range(2):
                    with self.peak() as peak:
                        began = time.perf_counter()
                        results.append(dict(engine.remove(shot, settings, Quiet())))
                        seconds = time.perf_counter() - began
                once, again = results
                same = all(np.array_equal(once[frame], again[frame]) for frame in shot.frames)
                rows.append(
                    {"frames": count, "passes": passes, "steps": self.steps}
                    | {"seconds": round(seconds, 2), "same_bits": same}
                    | peak
                )
                engine.residence.clear()
                del engine
                self.let_go()
        return rows


def make_ready(models: Path, device: str) -> None:
    """All that a worker does before its first step: the self-test, and both passes where the plan has them."""
    engine = void.make(device, models)
    if not isinstance(engine, Void):
        raise TypeError(f"{engine.name} is not the engine void")
    passes = 2 if (models / PASSES[2]).is_file() else 1
    engine.load(passes, Quiet())
    for network in (engine.vae().network, *(engine.denoiser(n + 1).network for n in range(passes))):
        with engine.residence.working(network, RESIDENT):
            pass
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


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


PARTS = ("matmul", "ready", "denoise", "vae", "exact", "plans", "jobs")


def measure(bench: Bench, parts: list[str], frames: list[int]) -> dict[str, Any]:
    cuda = torch.device(bench.device).type == "cuda"
    torch.backends.cudnn.allow_tf32 = False  # What float32 is compared with has to be float32.
    found: dict[str, Any] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name(bench.device) if cuda else "CPU",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "size": [bench.options.height, bench.options.width],
    }
    limit = bench.matmul()
    found["matmul"] = limit
    work: dict[str, Callable[[], Any]] = {
        "ready": bench.ready,
        "denoise": lambda: bench.denoise(frames, limit["tflop_s"]),
        "vae": lambda: bench.vae(bench.options.window),
        "exact": bench.exact,
        "plans": bench.plans,
        "jobs": lambda: bench.jobs(frames),
    }
    for part in parts:
        if part in work:
            print(f"{part} ...", file=sys.stderr)
            found[part] = work[part]()
    return found


def main(arguments: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", choices=("tiny", "true"), default="tiny")
    options.add_argument("--models", type=Path, help="a folder with the real weights instead")
    options.add_argument("--work", type=Path, help="keep the random networks here")
    options.add_argument("--device", default="cpu")
    options.add_argument("--frames", type=int, nargs="+", help="85 and 197; of the tiny model 21")
    options.add_argument("--steps", type=int, help="10; of the tiny model 1")
    options.add_argument("--seconds", type=float, help="of multiplying matrices: 20; on a CPU 0.2")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options.add_argument("--become-ready", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    if chosen.become_ready:
        make_ready(chosen.become_ready, chosen.device)
        return
    is_tiny = chosen.models is None and chosen.networks == "tiny"
    if is_tiny:
        torch.set_num_threads(1)  # More only wait for each other.
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        models = chosen.models or (
            tiny.make_tiny(work) if is_tiny else make_true(work, chosen.device)
        )
        seconds = chosen.seconds or (20.0 if torch.device(chosen.device).type == "cuda" else 0.2)
        bench = Bench(models, chosen.device, chosen.steps or (1 if is_tiny else 10), seconds)
        found = measure(bench, chosen.parts, chosen.frames or ([21] if is_tiny else [85, 197]))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
