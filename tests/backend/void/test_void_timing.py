"""No frame comes back earlier or later than it went in.

A random model does not give its plate back, so pictures cannot be compared. The frame in which a change of the
plate appears can. For that the model's convolutions see the present frame only, and it hardly denoises.
Every step from the clip's frames to the result's is the real one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files.weights import BASE
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.operations.remove import RemoveSettings

OPTIONS = Options(height=32, width=48, window=21, steps=1000, strength=0.001)
SETTINGS = RemoveSettings(engine="void")


class Watcher:
    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


@pytest.fixture(scope="module")
def momentary(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an autoencoder whose convolutions have only their last tap in time: the present."""
    models = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("momentary") / "models"))
    path = models / BASE / "vae/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    for weight in state.values():
        if weight.ndim == 5:
            weight[:, :, :-1] = 0
    save_file(state, path)
    return models


def turned(clip: Any, code: NDArray[np.bool_]) -> Any:
    """`clip` with its frames upside down where `code` says so: another picture, of the same numbers.

    Normalisation looks at the numbers of several frames together; brighter frames would change the others.
    """
    upright = clip.plate

    def plate(frame: int) -> Pixels:
        seen: Pixels = upright(frame)
        return seen[::-1, ::-1].copy() if code[frame - clip.frames[0]] else seen

    clip.plate = plate
    return clip


def change(engine: Void, make: Any, code: NDArray[np.bool_]) -> NDArray[np.float64]:
    """By how much turning the frames in `code` changes each frame of the result."""
    before = dict(engine.remove(make(), SETTINGS, Watcher()))
    after = dict(engine.remove(turned(make(), code), SETTINGS, Watcher()))
    return np.array([np.abs(after[frame] - before[frame]).mean() for frame in before])


def best_offset(changes: NDArray[np.float64], code: NDArray[np.bool_]) -> tuple[int, float]:
    """The shift of `code` in frames, -4 to 4, that agrees best with where changes are, and its correlation."""
    inner = slice(4, len(code) - 4)
    found = {
        offset: float(np.corrcoef(changes[inner], np.roll(code, offset)[inner])[0, 1])
        for offset in range(-4, 5)
    }
    best = max(found, key=lambda offset: found[offset])
    return best, found[best]


@pytest.mark.parametrize(
    ("hole", "groups"),
    [
        (range(21), [0, 1, 0, 0, 1]),
        (range(45), [0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1]),
        # Of 45 frames, those with a hole and one more on each side are seen: the first group begins here.
        (range(9, 36), [1, 0, 0, 1, 0, 1, 1, 0, 0]),
    ],
    ids=["one window", "several windows", "a hole amid the clip"],
)
def test_a_change_shows_in_the_frames_that_it_was_made_in(
    momentary: Path, small_clip: type, hole: range, groups: list[int]
) -> None:
    # One latent stands for the first frame, each further one for four: changes of whole groups of these.
    code = np.array([*[0] * max(hole.start, 1), *np.repeat(groups, 4)], bool)
    engine = Void(momentary, "cpu", OPTIONS)
    changes = change(engine, lambda: small_clip(len(code), hole=hole), code)
    offset, agreement = best_offset(changes, code[hole.start : hole.stop])
    assert offset == 0
    assert agreement > 0.9
    # Three frames late, as the stock decoder is, would be found.
    assert best_offset(np.roll(changes, 3), code[hole.start : hole.stop])[0] == 3
