"""The engine `void` against the limits of the card that it runs on, and against the code that Netflix published.

    python benchmarks/void --networks true --device cuda:0 > void.json
    VOID_REFERENCE=void-model python benchmarks/void --networks true --device cuda:0 --parts rival
    python benchmarks/void --models FOLDER --device cuda:0 [--frames 85 197] [--steps 50]
    python benchmarks/void                        the tiny model on a CPU: a trial of the benchmark itself

`--networks true` writes networks of the published architecture with random weights into --work (23 GB; 34 with a
rival), which is as fast as the real ones and shows nothing. The parts of the answer are:

* `matmul`: the rate at which the device multiplies large matrices for a while, the limit for all below.
* `ready`: seconds from starting a process to networks on the device.
* `denoise`: seconds a step of both passes, and the share of `matmul` that the loop reaches, scheduler included;
  also with FlashAttention-3 and with products in 8 bits.
* `vae`: seconds of two encodings and one decoding, in both layouts, compiled and not.
* `exact`: how far each way of computing is from float32, over how far plain bfloat16 is (torch's attention, nothing
  compiled, contiguous).
* `shots`: a whole job each way against the same job by plain bfloat16: decibels and SSIM, mean and worst frame.
* `preview`: both qualities of one job: seconds, how often blocks are asked, how near the pictures are.
* `plans`: for each size of card the memory plan, its peak and its seconds a step. A smaller card is made
  by `torch.cuda.set_per_process_memory_fraction`.
* `jobs`: whole jobs of each length and number of passes: seconds of the second one, peak, and whether both are the
  same to the bit.
* `rival`: the published pipeline's second call against ours, on the same weights and noise, and the likeness of the
  results. Pass 1 has each length, pass 2 that of a window. Its whole script is held against our warm call.

A loan of a card may be short: `--minutes 9 --results benchmarks/results` takes the parts in the order of `PARTS`,
most informative first, and stops at the end of the time, making the networks included. `void-CARD-DATE.json` is
written after each part, with the parts that were stopped or not begun.

Seconds are wall time with the device waited for; the first run of each, which compiles, is not counted.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import diffusers
import exactness
import speed
import torch
from rig import Bench, make_true
from rival import rival

from voidbridge_backend.engines.void import tiny

PARTS = tuple("matmul denoise plans vae jobs exact shots preview ready rival".split())
"""Most informative first."""


class OutOfTime(Exception):
    """The time of the benchmark is over."""


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Within it, work that takes longer than `seconds` ends with `OutOfTime`."""

    def over(*_: object) -> None:
        raise OutOfTime

    if seconds is None:
        yield
        return
    if seconds <= 0:
        raise OutOfTime
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def kept(results: Path | None, found: dict[str, Any]) -> None:
    """Writes what was found so far into the folder `results`, whole."""
    if results is None:
        return
    card = re.sub(r"[^a-z0-9]+", "-", str(found["device"]).lower()).strip("-")
    path = results / f"void-{card}-{found['date']}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def measure(
    bench: Bench,
    parts: list[str],
    frames: list[int],
    work: Path,
    results: Path | None = None,
    ends: float | None = None,
) -> dict[str, Any]:
    """`ends` is the moment of `time.monotonic` at which it stops."""
    torch.backends.cudnn.allow_tf32 = False  # What float32 is compared with has to be float32.
    found: dict[str, Any] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name(bench.device) if bench.is_cuda else "CPU",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "cudnn": torch.backends.cudnn.version() if bench.is_cuda else None,
        "size": [bench.options.height, bench.options.width],
    }
    limit = speed.matmul(bench)
    found["matmul"] = limit
    ways: dict[str, Callable[[], Any]] = {
        "ready": lambda: speed.ready(bench),
        "denoise": lambda: speed.denoise(bench, frames, limit["tflop_s"]),
        "vae": lambda: speed.vae(bench, bench.options.window),
        "exact": lambda: exactness.exact(bench),
        "shots": lambda: exactness.shots(bench),
        "preview": lambda: exactness.preview(bench),
        "plans": lambda: speed.plans(bench),
        "jobs": lambda: speed.jobs(bench, frames),
        "rival": lambda: rival(bench, frames, work),
    }
    kept(results, found)
    for part in sorted(set(parts) & ways.keys(), key=PARTS.index):
        left = None if ends is None else ends - time.monotonic()
        print(f"{part} ...", file=sys.stderr)
        began = time.monotonic()
        try:
            with limited(left):
                found[part] = ways[part]()
        except OutOfTime:
            seconds = round(time.monotonic() - began)
            found.setdefault("out_of_time", {})[part] = f"stopped after {seconds} s"
        except Exception as error:
            if ends is None:
                raise
            found.setdefault("failed", {})[part] = f"{type(error).__name__}: {error}"
        kept(results, found)
        bench.let_go()
    return found


def main(arguments: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", choices=("tiny", "true"), default="tiny")
    options.add_argument("--models", type=Path, help="a folder with the real weights instead")
    options.add_argument("--work", type=Path, help="keep the random networks here")
    options.add_argument("--blocks", type=int, help="of the tiny transformer, 2")
    options.add_argument("--device", default="cpu")
    options.add_argument("--frames", type=int, nargs="+", help="85 and 197; of the tiny model 21")
    options.add_argument("--steps", type=int, help="10; of the tiny model 1")
    options.add_argument("--seconds", type=float, help="of multiplying matrices: 20; on a CPU 0.2")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options.add_argument("--minutes", type=float, help="stop after so long; 9 for a short loan")
    options.add_argument("--results", type=Path, help="a folder for void-CARD-DATE.json")
    options.add_argument("--become-ready", type=Path, help=argparse.SUPPRESS)
    began = time.monotonic()
    chosen = options.parse_args(arguments)
    if chosen.become_ready:
        speed.make_ready(chosen.become_ready, chosen.device)
        return
    is_tiny = chosen.models is None and chosen.networks == "tiny"
    if is_tiny:
        torch.set_num_threads(1)  # More only wait for each other.
        tiny.TRANSFORMER["num_layers"] = chosen.blocks or tiny.TRANSFORMER["num_layers"]
    with tempfile.TemporaryDirectory() as temporary:
        work = (chosen.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        models = chosen.models or (
            tiny.make_tiny(work) if is_tiny else make_true(work, chosen.device)
        )
        seconds = chosen.seconds or (20.0 if torch.device(chosen.device).type == "cuda" else 0.2)
        bench = Bench(models, chosen.device, chosen.steps or (1 if is_tiny else 10), seconds)
        frames = chosen.frames or ([21] if is_tiny else [85, 197])
        ends = None if chosen.minutes is None else began + 60 * chosen.minutes
        found = measure(bench, chosen.parts, frames, work, chosen.results, ends)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
