"""A whole job on a simulated card of 24 GB that runs out of memory: the engine goes on with a smaller plan.

`Void.remove` itself runs, with the published networks at their true sizes and all 42 blocks. Only free memory and
weights are pretended. Tensors on the card have no values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from live_memory import autoencoder, transformer
from simulated_card import Grey, Placement, Prompts, Simulation, at_home
from test_out_of_memory import DECODER, ENCODER, FULL, failing

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import weights
from voidbridge_backend.engines.void.inputs import Footage
from voidbridge_backend.engines.void.model.denoiser import Denoiser
from voidbridge_backend.engines.void.model.memory import GIB, MARGIN, Plan, needed
from voidbridge_backend.engines.void.model.vae import Vae
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import OutOfMemory
from voidbridge_protocol.operations.remove import RemoveSettings

FREE = int(23.4 * GIB)
CLIP = Grey(5, 1)
SETTINGS = RemoveSettings(engine="void", prompt="a table")


@pytest.fixture(scope="module")
def networks() -> tuple[Vae, Denoiser]:
    """The published networks at home. They are made outside of a simulation, whose meter would count them."""
    return Vae(at_home(weights.on_meta(autoencoder))), Denoiser(
        at_home(weights.on_meta(transformer))
    )


class Published(Void):
    """The engine on a simulated card, with the published networks instead of a folder's."""

    def __init__(self, models: Path, networks: tuple[Vae, Denoiser]) -> None:
        """`models` is a tiny folder, for the files that have no weights."""
        super().__init__(models, "meta", Options(window=21, overlap=8, steps=1))
        self.placement = Placement(FREE)
        self.prompts: Any = Prompts()
        self.networks = networks

    def vae(self) -> Vae:
        self._vae = self.networks[0]
        return self._vae

    def denoiser(self, number: int) -> Denoiser:
        return self._denoisers.setdefault(number, self.networks[1])


def plans(notes: list[str]) -> list[str]:
    """The plans that a job's notes tell, in order."""
    return [note.split(":")[0].split()[-1] for note in notes if note.startswith("memory plan ")]


def test_a_decoding_that_fails_with_23_4_gib_free_goes_on_in_tiles(
    tiny: Path, said: Any, networks: Any
) -> None:
    engine = Published(tiny, networks)
    with (
        Simulation() as meter,
        failing(DECODER, lambda count: count == 0, torch.OutOfMemoryError(FULL)) as decoded,
    ):
        found = list(engine.remove(CLIP, SETTINGS, said))
    assert plans(said.warnings) == ["swapped", "swapped-tiled"]
    assert [frame for frame, _ in found] == list(CLIP.frames)
    assert {pixels.shape for _, pixels in found} == {(384, 672, 3)}
    assert f"memory ran out with the plan swapped ({FULL}); trying a smaller one" in said.warnings
    assert len(decoded) > 4  # One that failed, then four tiles.
    footage = Footage(CLIP, CLIP.frames, 21)
    assert meter.peak < needed(Plan("swapped"), engine.demand(footage, SETTINGS)) < FREE - MARGIN


def test_if_every_plan_that_is_clearly_smaller_fails_the_error_names_each(
    tiny: Path, said: Any, networks: Any
) -> None:
    engine = Published(tiny, networks)
    with (
        Simulation(),
        failing(ENCODER, lambda count: True, torch.OutOfMemoryError(FULL)) as calls,
        pytest.raises(OutOfMemory) as caught,
    ):
        list(engine.remove(CLIP, SETTINGS, said))
    assert plans(said.warnings) == ["swapped", "swapped-tiled", "streamed-tiled"]
    assert len(calls) == 3
    for words in ("672 x 384 pixels", "swapped, then swapped-tiled, then streamed-tiled", FULL):
        assert words in caught.value.text
