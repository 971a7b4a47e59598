"""How fast and how large: the device's own rate, time to ready, the loop, the autoencoder, memory plans, jobs."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rig import RESIDENT, Bench, Quiet, Shot, Stopwatch, decoded, encoded, forward_flops, words
from torch import Tensor

from voidbridge_backend.engines import void
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.files.weights import PASSES
from voidbridge_backend.engines.void.inputs import Footage
from voidbridge_backend.engines.void.model import memory
from voidbridge_backend.engines.void.model.denoiser import Conditions, Denoiser
from voidbridge_backend.engines.void.model.memory import GIB, Plan
from voidbridge_backend.engines.void.passes import pipeline, sampling
from voidbridge_backend.engines.void.passes.timeline import latents_of, windows
from voidbridge_protocol.errors import OutOfMemory
from voidbridge_protocol.operations.remove import RemoveSettings

CARDS_GB = (80, 40, 24, 16, 12)


def matmul(bench: Bench) -> dict[str, Any]:
    edge = 8192 if bench.is_cuda else 512
    dtype = torch.bfloat16 if bench.is_cuda else torch.float32
    left, right = (torch.randn(edge, edge, device=bench.device, dtype=dtype) for _ in range(2))
    out = left @ right
    bench.wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < bench.seconds:
        for _ in range(10):
            torch.mm(left, right, out=out)
        bench.wait()
        count += 10
    rate = 2 * edge**3 * count / (time.perf_counter() - began)
    return {"edge": edge, "type": str(dtype), "tflop_s": round(rate / 1e12, 3)}


def ready(bench: Bench) -> dict[str, Any]:
    began = time.perf_counter()
    command = [sys.executable, str(Path(__file__).parent), "--become-ready", str(bench.models)]
    subprocess.run([*command, "--device", bench.device], check=True)
    return {"seconds": round(time.perf_counter() - began, 2)}


def make_ready(models: Path, device: str) -> None:
    """All that a worker does before its first step: the self-test, and both passes where the plan has them."""
    engine = void.make(device, models)
    if not isinstance(engine, Void):
        raise TypeError(f"{engine.name} is not the engine void")
    passes = 2 if (models / PASSES[2]).is_file() else 1
    engine.load(passes, Quiet())
    for network in (engine.vae().network, *(engine.denoiser(n + 1).network for n in range(passes))):
        with engine.placement.working(network, RESIDENT):
            pass
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def denoise(bench: Bench, frames: list[int], tflop_s: float) -> list[dict[str, Any]]:
    rows = []
    ways: list[dict[str, Any]] = [{}]
    if bench.is_cuda:
        ways += [{"attention": "flash-3"}, {"linears": "fp8"}]
    for way in ways:
        engine = bench.engine(**way)
        for number, base in ((1, pipeline.FIRST), (2, pipeline.SECOND)):
            method = replace(base, window=bench.options.window, overlap=bench.options.overlap)
            denoiser = bench.compiled(engine, number)
            for count in frames:
                runs = windows(latents_of(count), method.window, method.overlap).runs
                batch = 1 if method.guidance == 1 else 2
                lengths = [run.stop - run.start for run in runs]
                work = batch * sum(forward_flops(denoiser, n, bench.size) for n in lengths)
                with engine.placement.working(denoiser.network, RESIDENT), bench.peak() as peak:
                    seconds = bench.timed(partial(loop, bench, denoiser, count, method))
                a_step = seconds / bench.steps
                rows.append(
                    {**way, "pass": number, "frames": count, "seconds_a_step": round(a_step, 4)}
                    | {"tflop_a_step": round(work / 1e12, 6)}
                    | {"of_matmul": round(work / a_step / 1e12 / tflop_s, 3)}
                    | {"compiled": denoiser.compiled.is_on, "attention": denoiser.attention}
                    | peak
                )
            engine.placement.clear()
        del engine
        bench.let_go()
    return rows


def loop(bench: Bench, denoiser: Denoiser, frames: int, method: pipeline.Method) -> Tensor:
    latents = latents_of(frames)
    noise = sampling.noise(1, latents, *bench.size)
    known = Conditions(*(sampling.noise(seed, latents, *bench.size) for seed in (2, 3)))
    config = networks.scheduler_config(bench.models)
    method = replace(method, steps=bench.steps)
    return pipeline.denoised(
        denoiser, config, known, noise, words(denoiser), method, lambda done, of: None
    )


def vae(bench: Bench, frames: int) -> list[dict[str, Any]]:
    rows = []
    pixels = torch.rand(1, 3, frames, bench.options.height, bench.options.width) * 2 - 1
    latents = sampling.noise(1, latents_of(frames), *bench.size).permute(0, 2, 1, 3, 4)
    for compile in ("off", "on") if bench.is_cuda else ("off",):
        for layout in ("contiguous", "channels-last"):
            engine = bench.engine(vae_layout=layout, vae_compile=compile)
            made = engine.vae()
            if compile == "on":
                made.compiled.begin(Quiet())
            with engine.placement.working(made.network, RESIDENT), bench.peak() as peak:
                encode = bench.timed(partial(encoded, made, pixels))
                decode = bench.timed(partial(decoded, made, latents))
            rows.append(
                {"layout": layout, "compiled": made.compiled.is_on, "frames": frames}
                | {"encode_s": round(encode, 3), "decode_s": round(decode, 3)}
                | {"shot_s": round(2 * encode + decode, 3)}
                | peak
            )
            engine.placement.clear()
            bench.let_go()
    return rows


def plans(bench: Bench) -> list[dict[str, Any]]:
    shot, settings = bench.shot(bench.options.window), RemoveSettings(engine="void", steps=4)
    if not bench.is_cuda:  # Nothing to limit, and one plan.
        return [{"plan": "resident", "limit_gb": None, **planned(bench, shot, settings)}]
    total = torch.cuda.get_device_properties(bench.device).total_memory
    rows: list[dict[str, Any]] = []
    for card in CARDS_GB:
        if card * GIB > total:
            continue
        probe = bench.engine()
        footage = Footage(shot, shot.frames, bench.options.window)
        row: dict[str, Any] = {"limit_gb": card}
        try:
            # The engine asks the driver, which knows nothing of the limit: so it is told the plan.
            plan = memory.chosen(card * GIB, probe.demand(footage, settings))
            del probe
            torch.cuda.set_per_process_memory_fraction(card * GIB / total)
            row |= {"plan": plan.name, **planned(bench, shot, settings, plan)}
        except OutOfMemory as error:
            row["failed"] = str(error)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            bench.let_go()
        rows.append(row)
    return rows


def planned(
    bench: Bench, shot: Shot, settings: RemoveSettings, plan: Plan = RESIDENT
) -> dict[str, Any]:
    engine, watch = bench.engine(plan=plan.name), Stopwatch()
    with bench.peak() as peak:
        list(engine.remove(shot, settings, watch))
    engine.placement.clear()
    return {"seconds_a_step": round(watch.seconds_a_step(), 4), **peak}


def jobs(bench: Bench, frames: list[int]) -> list[dict[str, Any]]:
    rows = []
    for count in frames:
        shot = bench.shot(count)
        for passes in (1, 2):
            settings = RemoveSettings(engine="void", passes=passes, steps=bench.steps)
            engine, results = bench.engine(), []
            for _ in range(2):
                with bench.peak() as peak:
                    began = time.perf_counter()
                    results.append(dict(engine.remove(shot, settings, Quiet())))
                    seconds = time.perf_counter() - began
            once, again = results
            same = all(np.array_equal(once[frame], again[frame]) for frame in shot.frames)
            rows.append(
                {"frames": count, "passes": passes, "steps": bench.steps}
                | {"seconds": round(seconds, 2), "same_bits": same}
                | peak
            )
            engine.placement.clear()
            del engine
            bench.let_go()
    return rows
