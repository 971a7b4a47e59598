"""Counts how many bad frames of shots with a known truth the notes of a job name, and how many good ones.

    python benchmarks/audit.py FOLDER [SHOT...]

`FOLDER/SHOT` holds `plate/plate.####.exr`, `matte/matte.####.exr`, `truth/truth.####.exr` and, if there is one,
`affected/affected.####.exr`. The figures are the peak signal to noise ratio of sRGB values, in dB. A frame is bad
if the hole has less than BAD_DB, and good if hole and surroundings have more than GOOD_DB. It is named if any note
about the result names it. Prints one line for each shot, as Markdown.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from voidbridge_backend.engines import registry
from voidbridge_backend.exr.reader import decode
from voidbridge_backend.render import remove
from voidbridge_backend.render.job import RenderJob
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request

BAD_DB, GOOD_DB = 26.0, 35.0
GROW, AROUND = 8, 12
"""The hole is the matte grown by GROW pixels; its surroundings reach AROUND pixels further."""
NO_VERDICT = ("the matte is empty in", "another scene begins", "a dissolve leads")
"""Notes with frame numbers that say nothing about the quality of a result."""
Values = NDArray[np.float32]


@dataclass
class Notes:
    """A context that keeps its notes."""

    texts: list[str] = field(default_factory=list)

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None:
        self.texts.append(text)

    def frames(self) -> set[int]:
        """The frames that a note about the result names."""
        found: set[int] = set()
        for text in self.texts:
            if not text.startswith(NO_VERDICT) and (
                run := re.search(r"in frames? ([\d, -]+)", text)
            ):
                for part in re.findall(r"\d+(?:-\d+)?", run[1]):
                    first, _, last = part.partition("-")
                    found.update(range(int(first), int(last or first) + 1))
        return found


@dataclass(frozen=True)
class Count:
    """Frames of a shot, or of all."""

    frames: int
    worst: float
    bad: int
    bad_named: int
    good: int
    good_named: int

    def row(self, name: str) -> str:
        return (
            f"| {name} | {self.frames} | {self.worst:.1f} | {self.bad_named} of {self.bad} "
            f"| {self.good_named} of {self.good} |"
        )


def audited(folder: Path) -> Count:
    """Runs a job over a shot with the default settings, and counts its frames."""
    roles = [role for role in ("affected", "matte", "plate") if (folder / role).is_dir()]
    files = {role: Sequence.parse(folder / role / f"{role}.%04d.exr") for role in roles}
    paths, listed = {}, []
    for role, sequence in files.items():
        for frame in sequence.scan():
            data = sequence.path(frame).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            paths[digest] = sequence.path(frame)
            listed.append(FrameFile(role, frame, digest, len(data)))
    frames, notes = files["plate"].scan(), Notes()
    settings = RemoveSettings(color_space="ACEScg")
    request = Request(frames[0], frames[-1], settings, tuple(listed))
    with tempfile.TemporaryDirectory() as results:
        order = RenderJob("job", request, paths.__getitem__, Path(results))
        remove.run(order, registry.make("remove", "cleanplate"), notes, lambda result: None)
        found = {
            frame: _quality(folder, Path(results) / f"{frame}.exr", frame)
            for frame in frames
            if _hole(folder, frame, GROW).any()
        }
    named = notes.frames()
    bad = [frame for frame, (inside, _) in found.items() if inside < BAD_DB]
    good = [frame for frame, both in found.items() if min(both) > GOOD_DB]
    return Count(
        len(found),
        min(inside for inside, _ in found.values()),
        len(bad),
        len(named & set(bad)),
        len(good),
        len(named & set(good)),
    )


def _quality(folder: Path, result: Path, frame: int) -> tuple[float, float]:
    """(dB in the hole, dB around it)."""
    truth = _light(folder / f"truth/truth.{frame:04d}.exr")
    squares = np.square(_display(_light(result)) - _display(truth)).mean(-1)
    inside = _hole(folder, frame, GROW)
    around = _hole(folder, frame, GROW + AROUND) & ~inside
    hole, ring = (float(squares[where].mean()) for where in (inside, around))
    return float(-10 * np.log10(max(hole, 1e-12))), float(-10 * np.log10(max(ring, 1e-12)))


def _hole(folder: Path, frame: int, grow: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    mattes = [
        _alpha(folder / f"{role}/{role}.{frame:04d}.exr") >= 0.1
        for role in ("matte", "affected")
        if (folder / role).is_dir()
    ]
    return cv2.dilate(np.logical_or.reduce(mattes).astype(np.uint8), kernel) > 0


def _light(path: Path) -> Values:
    return np.asarray(decode(path.read_bytes()).rgb(), np.float32)


def _alpha(path: Path) -> Values:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return np.asarray(file.channels()["A"].pixels, np.float32)


def _display(light: Values) -> Values:
    light = np.clip(np.nan_to_num(light), 0, 1)
    curve = 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, curve), np.float32)


def table(folder: Path, names: list[str]) -> Iterator[str]:
    yield "| shot | frames | worst, dB | bad ones named | good ones named |"
    yield "|---|---|---|---|---|"
    counts = []
    shots = [path.name for path in folder.iterdir() if (path / "truth").is_dir()]
    for name in names or sorted(shots):
        counts.append(audited(folder / name))
        yield counts[-1].row(name)
    yield Count(
        sum(one.frames for one in counts),
        min(one.worst for one in counts),
        *(
            sum(getattr(one, key) for one in counts)
            for key in ("bad", "bad_named", "good", "good_named")
        ),
    ).row("all")


if __name__ == "__main__":
    for line in table(Path(sys.argv[1]), sys.argv[2:]):
        print(line, flush=True)
