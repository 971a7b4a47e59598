"""How well and how fast `cleanplate` removes the object of the demo shot, beside per-frame inpainting.

    python benchmarks/cleanplate.py [--height 1152] [--frames 48] [--json] [--picture sheet.png]
                                    [--against CHECKOUT]

Time and memory are measured in a process of its own that does not look at the pictures, because the engine works
ahead meanwhile. `--against` names a checkout of another release of this project, whose `cleanplate` is
measured in the same run on the same clip. The first one is at bb39116.

The other side is Telea's inpainting of OpenCV on each frame for itself, on the same encoding in 8 bit, which
is what it takes. Both see the same quadmask: the demo's mattes, grown by as much as a job grows them.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import removal
from numpy.typing import NDArray
from removal import INDEX, DiskClip

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.quality import contact_sheet
from voidbridge_backend.quality.reference import MU, PEAK, Quality, encode
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.operations.remove import RemoveSettings


def on_disk(shot: DemoShot, folder: Path, grow_px: int) -> DiskClip:
    """The demo shot, drawn once."""
    # In a process of its own: the memory that drawing takes is not the engine's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        holes = other.submit(drawn, shot, folder, grow_px).result()
    index = {"height": shot.height, "width": shot.width, "frames": list(shot.frames)}
    (folder / INDEX).write_text(json.dumps(index | {"holes": sorted(holes)}))
    return DiskClip(folder)


def drawn(shot: DemoShot, folder: Path, grow_px: int) -> set[int]:
    """Write every frame of the shot; the frames that have a hole."""
    holes = set()
    for one in shot:
        codes = quadmask(one.primary, one.affected, grow_px)
        if (codes != 255).any():
            holes.add(one.frame)
        for name, pixels in (("plate", one.plate), ("truth", one.truth), ("mask", codes)):
            np.save(folder / f"{name}.{one.frame}.npy", pixels)
    return holes


class Heartbeat:
    """Keeps the longest time between two signs of life."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.last = time.perf_counter()

    def step(self, stage: str, done: int, of: int) -> None:
        now = time.perf_counter()
        self.longest_s = max(self.longest_s, now - self.last)
        self.last = now

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr)


def quadmask(primary: Pixels, affected: Pixels, grow_px: int) -> Quadmask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow_px + 1, 2 * grow_px + 1))
    remove = cv2.dilate((primary > 0.01).astype(np.uint8), kernel) > 0
    touched = cv2.dilate((affected > 0.01).astype(np.uint8), kernel) > 0
    codes = np.full(primary.shape, 255, np.uint8)
    codes[touched], codes[remove], codes[touched & remove] = 127, 0, 63
    return codes


def telea(plate: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    eight = np.rint(np.clip(encode(plate), 0, 1) * 255).astype(np.uint8)
    filled = cv2.inpaint(eight, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    light = np.expm1(filled / 255 * math.log1p(MU)) * (PEAK / MU)
    return np.asarray(light, np.float32)


def measured(
    shot: DemoShot,
    clip: DiskClip,
    results: Iterator[tuple[int, Pixels]],
    shown: Sequence[int] = (),
    heartbeat: Heartbeat | None = None,
) -> tuple[dict[str, Any], float, list[contact_sheet.Moment]]:
    """(report, seconds spent making results, moments for the sheet)."""
    quality, moments, seconds = Quality(), [], 0.0
    before: int | None = None
    while True:
        begun = time.perf_counter()
        if heartbeat is not None:
            heartbeat.last = begun
        following = next(results, None)
        seconds += time.perf_counter() - begun
        if following is None:
            break
        frame, light = following
        plate, truth, codes = clip.plate(frame), clip.truth(frame), clip.quadmask(frame)
        hole = codes != 255
        whole = np.where(hole[..., None], light, plate)
        motion = None if before is None else shot.motion(before, frame)
        quality.add(whole, truth, plate, hole, motion)
        before = frame
        if frame in shown:
            moments.append(contact_sheet.moment(frame, plate, codes, light, truth))
    report = quality.report()
    return {**asdict(report), "flicker_ratio": report.flicker_ratio}, seconds, moments


def taken(clip: Path, other: Path | None) -> dict[str, Any]:
    """Measures this release on a clip, and the one in another checkout."""
    now = removal.apart(clip, Path(__file__).parents[1])
    if other is None:
        return {"now": now}
    then = removal.apart(clip, other)
    return {"now": now, "then": then, "faster": then["seconds"] / now["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--height", type=int, default=1152)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another release of this")
    parser.add_argument("--picture", type=Path, help="write a contact sheet there")
    chosen = parser.parse_args()

    shot = DemoShot(chosen.height, round(chosen.height * 16 / 9), chosen.frames)
    grow_px = max(1, round(16 * chosen.height / 1152))
    with tempfile.TemporaryDirectory() as folder:
        clip = on_disk(shot, Path(folder), grow_px)
        shown = [
            clip.frames[round((len(clip.frames) - 1) * part)] for part in (0.1, 0.3, 0.5, 0.7, 0.9)
        ]
        heartbeat = Heartbeat()
        made = Cleanplate().remove(clip, RemoveSettings(), heartbeat)
        ours, _, moments = measured(shot, clip, made, shown, heartbeat)
        frames = [frame for frame in clip.frames if clip.has_hole(frame)]
        painted = (
            (frame, telea(clip.plate(frame), clip.quadmask(frame) != 255)) for frame in frames
        )
        theirs, telea_seconds, _ = measured(shot, clip, painted)
        takes = taken(Path(folder), chosen.against)

    report = {
        "height": shot.height,
        "width": shot.width,
        "frames": shot.length,
        "cleanplate": ours,
        "telea": theirs,
        "psnr_gain_db": ours["hole_psnr_db"] - theirs["hole_psnr_db"],
        "flicker_ratio": ours["flicker_ratio"],
        "telea_seconds_a_frame": telea_seconds / shot.length,
        "longest_silence_s": heartbeat.longest_s,
        **takes,
    }
    if chosen.picture:
        title = "Voidbridge: a rover and its shadow, removed"
        subtitle = (
            f"engine cleanplate, {shot.width} x {shot.height}, {shot.length} frames, no model and no GPU; "
            f"{ours['hole_psnr_db']:.1f} dB in the hole where per-frame inpainting has "
            f"{theirs['hole_psnr_db']:.1f} dB"
        )
        contact_sheet.write_png(chosen.picture, contact_sheet.sheet(moments, title, subtitle))
    print(json.dumps(report) if chosen.json else _told(report))


def _told(report: dict[str, Any]) -> str:
    ours, theirs = report["cleanplate"], report["telea"]
    lines = [
        f"{report['width']} x {report['height']}, {report['frames']} frames",
        f"{'':24}{'cleanplate':>12}{'telea':>12}{'truth':>12}",
        f"{'PSNR in the hole (dB)':24}{ours['hole_psnr_db']:12.2f}{theirs['hole_psnr_db']:12.2f}",
    ]
    for name in ("flicker", "pumping"):
        lines.append(
            f"{name:24}{ours[name]:12.5f}{theirs[name]:12.5f}{ours[f'truth_{name}']:12.5f}"
        )
    now = report["now"]
    mine, other = now["seconds"] / report["frames"], report["telea_seconds_a_frame"]
    lines += [
        f"{'seconds a frame':24}{mine:12.2f}{other:12.2f}",
        f"{'outside, differing':24}{ours['outside_differing']:12d}{theirs['outside_differing']:12d}",
        f"longest silence {report['longest_silence_s']:.2f} s, peak memory {now['peak_mb']} MB",
        f"{now['cpu_seconds']} s of the processors in all, {now['resampling_cpu_seconds']} s of it resampling: "
        f"{now['over_resampling']:.2f}",
    ]
    if "faster" in report:
        then = report["then"]["seconds"] / report["frames"]
        lines.append(f"{report['faster']:.2f} times as fast as {then:.2f} s: {mine:.2f} s a frame")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
