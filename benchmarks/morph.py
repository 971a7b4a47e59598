"""Frames of the demo shot, and of a clip if one is named, left out and made again by `morph` and by two rivals.

python benchmarks/morph.py [CLIP] [--json FILE]      mean PSNR in dB of logarithmic pictures

FILE becomes rows of docs/performance.md, by `python benchmarks/render_tables.py`.

"alone": one frame of every N is left out. This is done N times, from each place on, so that each frame inside is
made once. "least" and "most" are the margins of the N times.

"runs": only one frame of every N is kept.

"joins": the flicker where made frames, with grain, meet photographed ones, as a factor of the flicker of the shot
itself at the same places. Flicker is the root mean square of the second difference in time.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.tone import Tone
from voidbridge_backend.engines.morph.engine import Morph
from voidbridge_backend.imaging.grain import Sample
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.operations.generate import GenerateSettings

Picture = NDArray[np.float32]
WIDTH, HEIGHT, LENGTH = 1024, 576, 25
ORDINALS = {2: "second", 4: "fourth", 8: "eighth"}
TONE = Tone()


@dataclass(frozen=True)
class Footage:
    """Some frames of a shot that is in memory."""

    shot: Sequence[Picture]
    frames: Sequence[int]

    def picture(self, frame: int) -> Picture:
        return self.shot[frame]


class Quiet:
    def step(self, stage: str, done: int, of: int) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parsed = parser.parse_args()
    clip, rows = parsed.clip, []
    demo = DemoShot(HEIGHT, WIDTH, 48)
    shots = {"demo": [demo.render(demo.first + frame).plate for frame in range(LENGTH)]}
    if clip:
        shots[clip.parent.name] = decoded(clip)
    for name, shot in shots.items():
        for way, every in itertools.product(("alone", "runs"), ORDINALS):
            if way == "runs":
                figures = summed([measured(shot, range(0, LENGTH, every))])
            else:
                figures = summed([measured(shot, without(every, at)) for at in range(every)])
            found = {"shot": name, "left out": way, "every": every, **figures}
            rows.append(found)
            print(json.dumps(found), flush=True)
    if parsed.json:
        page = {"page": "performance", "order": 5, "rows": [row_of(found) for found in rows]}
        parsed.json.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")


def without(every: int, at: int) -> list[int]:
    """All frames but one of `every`, beginning `at` one of them; the first and the last stay."""
    return [frame for frame in range(LENGTH) if frame % every != at or frame in (0, LENGTH - 1)]


def row_of(found: Mapping[str, Any]) -> dict[str, str]:
    """A row of docs/performance.md."""
    margin = found["morph"] - max(found["dissolve"], found["farneback"])
    is_alone = found["left out"] == "alone"
    reached = f"{margin:+.1f} dB" if margin >= 2 or not is_alone else f"**{margin:+.1f} dB**"
    reached += (
        f" ({found['least']:+.1f} to {found['most']:+.1f} by the frames taken)" if is_alone else ""
    )
    which = "each" if is_alone else "all but each"
    placed = ", from each place on" if is_alone else ""
    rivals = f"dissolve {found['dissolve']:.1f}, Farneback flow {found['farneback']:.1f}"
    return {
        "what": f"`morph`, {which} {ORDINALS[found['every']]} frame of {found['shot']} made again{placed}",
        "command": "`python benchmarks/morph.py CLIP`",
        "asked": "2 dB above both rivals, flicker at joins 1.2" if is_alone else "",
        "reached": f"{reached}, {found['joins']:.2f}",
        "figures": f"{found['morph']:.1f} dB, {rivals}",
        "date": date.today().isoformat(),
    }


def decoded(clip: Path) -> list[Picture]:
    """The first frames of a clip, as about linear light."""
    found = []
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            code = frame.to_ndarray(format="rgb24")
            small = cv2.resize(code, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            found.append(np.asarray((small / np.float32(255)) ** np.float32(2.2), np.float32))
            if len(found) == LENGTH:
                break
    return found


def summed(found: Sequence[Mapping[str, list[float]]]) -> dict[str, float]:
    """Means over all frames of several measurements, and the smallest and largest margin of one measurement."""
    whole = {name: np.mean([v for one in found for v in one[name]]) for name in found[0]}
    margins = [
        np.mean(one["morph"]) - max(np.mean(one["dissolve"]), np.mean(one["farneback"]))
        for one in found
    ]
    whole |= {"least": min(margins), "most": max(margins)}
    return {name: round(float(value), 2) for name, value in whole.items()}


def measured(shot: Sequence[Picture], kept: Sequence[int]) -> dict[str, list[float]]:
    """For each frame that is not kept: its PSNR by each way; and the flicker at each join."""
    lacking = [frame for frame in range(kept[-1]) if frame not in kept]
    made = dict(
        Morph().generate(Footage(shot, kept), lacking, GenerateSettings(grain="off"), Quiet())
    )
    rivals: dict[str, Callable[[Picture, Picture, float], Picture]] = {
        "dissolve": dissolve,
        "farneback": farneback,
    }
    scores = {"morph": [psnr(made[frame], shot[frame]) for frame in lacking]}
    for name, rival in rivals.items():
        found = []
        for frame in lacking:
            before, behind = max(f for f in kept if f < frame), min(f for f in kept if f > frame)
            share = (frame - before) / (behind - before)
            found.append(psnr(rival(shot[before], shot[behind], share), shot[frame]))
        scores[name] = found
    scores["joins"] = joins(shot, {**dict(enumerate(shot)), **grained(made, shot, kept)}, lacking)
    return scores


def grained(
    made: Mapping[int, Picture], shot: Sequence[Picture], kept: Sequence[int]
) -> dict[int, Picture]:
    """The made frames with the grain of the kept ones, as the operation adds it."""
    sample = Sample()
    for one, other in itertools.pairwise(kept):
        if other == one + 1:
            sample.add(shot[one], np.ones(shot[one].shape[:2], bool), shot[other])
    grain = sample.measured()
    if grain is None:
        return dict(made)
    whole = np.ones(shot[0].shape[:2], np.float32)
    return {frame: grain.added(picture, whole, 0, frame) for frame, picture in made.items()}


def joins(
    shot: Sequence[Picture], result: Mapping[int, Picture], lacking: Sequence[int]
) -> list[float]:
    """The flicker of `result` at each join over that of `shot` there."""
    places = {at for at in range(1, len(shot) - 1) if {at - 1, at, at + 1} & {*lacking}}
    ends = [at for at in places if not {at - 1, at, at + 1} <= {*lacking}]
    return [flicker(result, at) / flicker(shot, at) for at in sorted(ends)]


def flicker(shot: Mapping[int, Picture] | Sequence[Picture], at: int) -> float:
    before, here, behind = (TONE.encode(shot[frame]) for frame in (at - 1, at, at + 1))
    return float(np.sqrt(np.square(before - 2 * here + behind).mean()))


def psnr(picture: Picture, truth: Picture) -> float:
    error = np.square(TONE.encode(picture) - TONE.encode(truth)).mean()
    return float(-10 * np.log10(max(error, 1e-12)))


def dissolve(before: Picture, behind: Picture, share: float) -> Picture:
    return np.asarray(before * (1 - share) + behind * share, np.float32)


def farneback(before: Picture, behind: Picture, share: float) -> Picture:
    """Both frames warped by dense flow from each side, and mixed (Jiang et al., 2018)."""
    grey = [TONE.grey8(picture) for picture in (before, behind)]
    ahead, back = (
        cv2.calcOpticalFlowFarneback(*pair, None, 0.5, 5, 25, 3, 7, 1.5, 0)
        for pair in (grey, grey[::-1])
    )
    t, rest = np.float32(share), np.float32(1 - share)
    height, width = grey[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    ways = t * t * back - rest * t * ahead, rest * rest * ahead - t * rest * back
    one, other = (
        cv2.remap(p, x + w[..., 0], y + w[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for p, w in zip((before, behind), ways, strict=True)
    )
    return np.asarray(np.maximum(one * rest + other * t, 0), np.float32)


if __name__ == "__main__":
    main()
