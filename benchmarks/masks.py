"""Overlap of the engine `flow` with the quadmasks of sample clips. Clicks follow one rule, without a choice.

python benchmarks/masks.py FOLDER           each clip is FOLDER/NAME/{input_video,quadmask_0}.mp4
python benchmarks/masks.py FOLDER --rules   affected areas by rules, beside those of the clips and of the demo shot
python benchmarks/masks.py FOLDER --jobs    seconds of a whole job at HD, from OpenEXR files to OpenEXR files
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.affected.background import Background, Mask
from voidbridge_backend.engines.affected.rules import RULES, apply
from voidbridge_backend.engines.flow.engine import Flow
from voidbridge_backend.engines.mask_base import Clicks, Matte, Picture, Prompts
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.imaging.grid import gridded
from voidbridge_backend.render.job import RenderJob
from voidbridge_backend.render.mask import run
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.operations.mask import Box, MaskObject, MaskSettings, written
from voidbridge_protocol.wire.messages import FrameFile, Request

REMOVED = 95
"""Codes up to this are removed: 0 and 63, with the video's rounding."""


HD_FRAMES = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", nargs="*", default=["lime", "moving_ball", "pillow"])
    parser.add_argument("--rules", action="store_true")
    parser.add_argument("--jobs", action="store_true")
    options = parser.parse_args()
    if options.jobs:
        for name in options.clips:
            print(json.dumps({"clip": name, **job_at_hd(options.folder / name)}), flush=True)
        return
    if options.rules:
        print(json.dumps({"clip": "demo", **demo_shadow()}), flush=True)
        for name in options.clips:
            print(json.dumps({"clip": name, **affected(options.folder / name)}), flush=True)
        return
    for name in options.clips:
        print(json.dumps({"clip": name, **measured(options.folder / name)}), flush=True)


def measured(folder: Path) -> dict[str, float]:
    """Mean overlap over the clip from the first matte, with the middle one, and from clicks."""
    engine = Flow()
    masks = [plane <= REMOVED for plane in _decoded(folder / "quadmask_0.mp4", "gray")]
    size = engine.size(*masks[0].shape)
    pictures = [_small(f, size) for f in _decoded(folder / "input_video.mp4", "rgb24")]
    keys = {n: _small_matte(masks[n], size) for n in (0, len(masks) // 2)}
    found = {}
    began, busy = time.monotonic(), time.process_time()
    for label, prompts in (
        ("first", Prompts({}, {0: keys[0]})),
        ("first_and_middle", Prompts({}, keys)),
        ("clicks", Prompts({0: clicks(keys[0])}, {})),
    ):
        found[label] = round(_overlap(engine, pictures, masks, prompts), 3)
    tracked = 3 * len(masks)
    return found | {
        "seconds_a_frame": round((time.monotonic() - began) / tracked, 3),
        "cpu_seconds_a_frame": round((time.process_time() - busy) / tracked, 3),
    }


def job_at_hd(folder: Path) -> dict[str, float]:
    """Seconds a frame of the renderer, with the tracker, the reading and the writing."""
    mask = next(_decoded(folder / "quadmask_0.mp4", "gray")) <= REMOVED
    rows, columns = (np.flatnonzero(mask.any(axis)) * 1080 / mask.shape[0] for axis in (1, 0))
    box = Box(1, columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    with TemporaryDirectory() as temporary:
        files, paths = [], {}
        clip = itertools.islice(_decoded(folder / "input_video.mp4", "rgb24"), HD_FRAMES)
        for frame, code in enumerate(clip, 1):
            light = cv2.resize(code, (1920, 1080), interpolation=cv2.INTER_AREA) / np.float32(255)
            half = (light**2.2).astype(np.float16)
            data = new_file({c: np.ascontiguousarray(half[..., i]) for i, c in enumerate("RGB")})
            digest = hashlib.sha256(data).hexdigest()
            paths[digest] = Path(temporary) / f"{frame}.exr"
            paths[digest].write_bytes(data)
            files.append(FrameFile("plate", frame, digest, len(data)))
        settings = MaskSettings(objects=written([MaskObject(boxes=(box,))]))
        request = Request(1, len(files), settings, tuple(files), "mask")
        out = Path(temporary) / "out"
        out.mkdir()
        began, busy = time.monotonic(), time.process_time()
        run(RenderJob("job", request, paths.__getitem__, out), Flow(), Quiet(), lambda file: None)
        seconds, used = time.monotonic() - began, time.process_time() - busy
    return {
        "seconds_a_frame": round(seconds / len(files), 3),
        "cpu_seconds_a_frame": round(used / len(files), 3),
    }


class Quiet:
    def step(self, stage: str, done: int, of: int) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


def affected(folder: Path) -> dict[str, dict[str, float]]:
    """Each rule's area beside the clip's own affected cells, which also hold places that will move."""
    codes = list(_decoded(folder / "quadmask_0.mp4", "gray"))
    size = Flow().size(*codes[0].shape)
    removed = [_small_matte(plane <= REMOVED, size) > 0.5 for plane in codes]
    wanted = [_small_matte(abs(plane.astype(int) - 127) < 32, size) > 0.5 for plane in codes]
    pictures = [_small(f, size) for f in _decoded(folder / "input_video.mp4", "rgb24")]
    return _rules(pictures, removed, wanted)


def demo_shadow() -> dict[str, dict[str, float]]:
    """Each rule's area beside the true shadow of the demo shot, which counts from a loss of 0.4 % of light."""
    size, shot = (270, 480), DemoShot(270, 480)
    frames = list(shot)
    code = [np.clip(frame.plate, 0, 1) ** (1 / 2.2) for frame in frames]
    pictures = [np.round(picture * 255).astype(np.uint8) for picture in code]
    removed = [frame.primary > 0.5 for frame in frames]
    wanted = [(f.affected > 0) & ~gone for f, gone in zip(frames, removed, strict=True)]
    assert pictures[0].shape[:2] == size
    return _rules(pictures, removed, wanted)


def _rules(
    pictures: list[Picture], removed: list[Mask], wanted: list[Mask]
) -> dict[str, dict[str, float]]:
    """Precision and recall in pixels, and recall of the cells that the quadmask gets."""
    began = time.monotonic()
    background = Background(
        pictures.__getitem__,
        removed.__getitem__,
        range(len(pictures)),
        removed[0].shape,
        lambda: None,
    )
    sums = {rule: np.zeros(5) for rule in RULES}
    for one in apply(background, RULES, lambda: None):
        truth, cells = wanted[one.frame], gridded(one.region)
        allowed = truth | removed[one.frame]
        sums[one.rule] += (
            (one.region & allowed).sum(),
            one.region.sum(),
            (one.region & truth).sum(),
            (cells & truth).sum(),
            truth.sum(),
        )
    seconds = (time.monotonic() - began) / len(pictures)
    found: dict[str, dict[str, float]] = {"all": {"seconds_a_frame": round(seconds, 3)}}
    for rule, (right, area, hit, covered, whole) in sums.items():
        found[rule] = {
            "area": round(area / (len(pictures) * removed[0].size), 4),
            "precision": round(right / max(area, 1), 3),
            "recall": round(hit / max(whole, 1), 3),
            "recall_of_cells": round(covered / max(whole, 1), 3),
        }
    return found


def clicks(matte: Matte) -> Clicks:
    """Three clicks on the object, each as far from the edge and from the others as can be; two beside it.

    Those beside it lie 0.2 to 0.35 of the object's size outside: the rightmost, and the farthest from that.
    """
    inside = (matte > 0.5).astype(np.uint8)
    framed = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    positive = [np.array(np.unravel_index(depth.argmax(), depth.shape))]
    places = np.argwhere(depth >= min(3, depth.max() / 2))
    while len(positive) < 3:
        apart = np.min([np.hypot(*(places - place).T) for place in positive], axis=0)
        positive.append(places[apart.argmax()])
    outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    size = np.sqrt(inside.sum())
    ring = np.argwhere((outside > 0.2 * size) & (outside < 0.35 * size))
    right = ring[ring[:, 1].argmax()]
    negative = [right, ring[np.hypot(*(ring - right).T).argmax()]]
    return Clicks(
        tuple((float(x), float(y)) for y, x in positive),
        tuple((float(x), float(y)) for y, x in negative),
    )


def _overlap(
    engine: Flow, pictures: list[Picture], masks: list[NDArray[np.bool_]], prompts: Prompts
) -> float:
    frames = range(len(masks))
    overlaps: Mapping[int, float] = {
        frame: _intersection_over_union(matte, masks[frame])
        for frame, matte, _ in engine.track(pictures.__getitem__, frames, prompts, lambda: None)
    }
    return float(np.mean(list(overlaps.values())))


def _intersection_over_union(matte: Matte, mask: NDArray[np.bool_]) -> float:
    large = cv2.resize(matte, mask.shape[::-1], interpolation=cv2.INTER_CUBIC) > 0.5
    return float((large & mask).sum() / max((large | mask).sum(), 1))


def _decoded(path: Path, form: str) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as clip:
        for frame in clip.decode(video=0):
            yield frame.to_ndarray(format=form)


def _small(picture: NDArray[np.uint8], size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA))


def _small_matte(mask: NDArray[np.bool_], size: tuple[int, int]) -> Matte:
    return np.asarray(cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    main()
