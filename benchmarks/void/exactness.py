"""How far each way of computing is from the plain one: answer by answer, over a whole shot, and as a preview."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rig import RESIDENT, Bench, Quiet, decoded, words
from torch import Tensor

from voidbridge_backend.engines.void.model import kernels
from voidbridge_backend.engines.void.options import Options
from voidbridge_backend.engines.void.passes import sampling
from voidbridge_backend.engines.void.passes.timeline import latents_of
from voidbridge_protocol.operations.remove import RemoveSettings

PLAIN = {"precision": "bfloat16", "attention": "torch", "compile": "off"}
"""Eager bfloat16: what all else is held against."""
Frames = Mapping[int, NDArray[np.float32]]


def ways(bench: Bench) -> list[dict[str, Any]]:
    """Every other way for the transformer; on a CPU compiling takes longer than all else together."""
    found: list[dict[str, Any]] = [{"attention": name} for name in kernels.ORDERS]
    if not bench.is_cuda:
        found = [way for way in found if way["attention"] != "flash-3"]
    else:
        found += [{"attention": name, "compile": "on"} for name in ("torch", "cudnn")]
    return [*found, {"linears": "fp8"}]


def vae_ways(bench: Bench) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"vae_layout": "channels-last"}]
    if bench.is_cuda:
        found += [{"vae_compile": "on"}, {"vae_layout": "channels-last", "vae_compile": "on"}]
    return found


def exact(bench: Bench) -> list[dict[str, Any]]:
    """Each answer's distance from float32, over that of `PLAIN`."""
    rows: list[dict[str, Any]] = []
    for part, ask, others in (
        ("transformer", answers, ways(bench)),
        ("vae", picture, vae_ways(bench)),
    ):
        truth = ask(bench, precision="float32", attention="torch", compile="off")
        plain = 0.0
        for way in ({}, *others):
            try:
                found = ask(bench, **(PLAIN | way))
            except torch.OutOfMemoryError:  # "math" holds all scores at once.
                rows.append({"part": part, **way, "failed": "out of memory"})
                continue
            error = float((found - truth).norm() / truth.norm())
            plain = plain or error
            rows.append({"part": part, **way, "error": error, "of_plain": error / plain})
    return rows


def answers(bench: Bench, **more: Any) -> Tensor:
    """The first transformer's answers at five timesteps to the same noise."""
    engine = bench.engine(**more)
    denoiser = bench.compiled(engine, 1)
    latents = latents_of(bench.options.window) // 2 * 2
    seen = sampling.noise(1, latents, *bench.size)
    known = torch.cat([sampling.noise(seed, latents, *bench.size) for seed in (2, 3)], dim=2)
    said = words(denoiser)
    with engine.placement.working(denoiser.network, RESIDENT):
        found = [denoiser.velocity(seen, known, said, step, 1.0) for step in range(199, 1000, 200)]
    engine.placement.clear()
    bench.let_go()
    return torch.stack(found).double()


def picture(bench: Bench, **more: Any) -> Tensor:
    engine = bench.engine(**more)
    vae = engine.vae()
    if engine.options.vae_compile == "on":
        vae.compiled.begin(Quiet())
    latents = sampling.noise(1, 3, *bench.size).permute(0, 2, 1, 3, 4)
    with engine.placement.working(vae.network, RESIDENT):
        found = decoded(vae, latents).double()
    engine.placement.clear()
    bench.let_go()
    return found


def shots(bench: Bench) -> list[dict[str, Any]]:
    """A whole job each way, from the same noise, against the same job by `PLAIN`."""
    settings = RemoveSettings(engine="void", steps=bench.steps)
    truth, plain_s, _ = job(bench, settings, **PLAIN)
    rows: list[dict[str, Any]] = [{"seconds": plain_s}]
    for way in (*ways(bench), *vae_ways(bench)):
        try:
            found, seconds, _ = job(bench, settings, **(PLAIN | way))
        except torch.OutOfMemoryError:
            rows.append({**way, "failed": "out of memory"})
            continue
        rows.append({**way, "seconds": seconds, **compared(found, truth)})
    return rows


def preview(bench: Bench) -> dict[str, Any]:
    """The same job in both qualities, with the steps that the model has by itself."""
    steps = Options().steps
    full, full_s, full_asked = job(bench, RemoveSettings(engine="void"), steps=steps)
    settings = RemoveSettings(engine="void", quality="preview")
    quick, quick_s, quick_asked = job(bench, settings, steps=steps)
    return {
        "full_s": full_s,
        "preview_s": quick_s,
        "faster": round(full_s / quick_s, 3),
        "blocks_asked": [full_asked, quick_asked],
        "blocks_fewer": round(full_asked / quick_asked, 3) if quick_asked else None,
        **compared(quick, full),
    }


def job(bench: Bench, settings: RemoveSettings, **more: Any) -> tuple[Frames, float, int]:
    """A job (on a card the second of two): frames, seconds, how often blocks of the first transformer computed."""
    engine, shot = bench.engine(**more), bench.shot(bench.options.window)
    asked = 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    if (
        engine.options.compile == "off" or not bench.is_cuda
    ):  # Nothing is called within compiled code.
        for block in engine.denoiser(1).network.transformer_blocks:
            block.ff.register_forward_pre_hook(count)
    if bench.is_cuda:  # Where nothing is compiled, the first is as fast.
        list(engine.remove(shot, settings, Quiet()))
        asked = 0
    bench.wait()
    began = time.perf_counter()
    frames = dict(engine.remove(shot, settings, Quiet()))
    seconds = round(time.perf_counter() - began, 3)
    engine.placement.clear()
    del engine
    bench.let_go()
    return frames, seconds, asked


def compared(found: Frames, truth: Frames) -> dict[str, float]:
    """Of all frames the mean and the worst, as shown: clamped to [0, 1]."""
    seen = [(np.clip(found[frame], 0, 1), np.clip(truth[frame], 0, 1)) for frame in truth]
    decibels = [psnr(one, other) for one, other in seen]
    likeness = [ssim(one, other) for one, other in seen]
    return {
        "psnr_db": round(float(np.mean(decibels)), 2),
        "psnr_worst_db": round(min(decibels), 2),
        "ssim": round(float(np.mean(likeness)), 5),
        "ssim_worst": round(min(likeness), 5),
    }


def psnr(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of values in [0, 1]; 200 where nothing differs."""
    squared = float(np.mean((one.astype(np.float64) - other) ** 2))
    return min(-10 * float(np.log10(squared)), 200.0) if squared else 200.0


def ssim(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Structural similarity (Wang et al. 2004) of [h, w, 3] in [0, 1], its Gaussian and its constants."""

    def mean(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(picture, (11, 11), 1.5), np.float64)

    a, b = one.astype(np.float64), other.astype(np.float64)
    at_a, at_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - at_a**2, mean(b * b) - at_b**2, mean(a * b) - at_a * at_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * at_a * at_b + c1) * (2 * both + c2)
    return float(np.mean(likeness / ((at_a**2 + at_b**2 + c1) * (var_a + var_b + c2))))
