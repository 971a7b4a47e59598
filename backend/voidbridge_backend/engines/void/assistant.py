"""Answers evaluations of a job that another device runs, with this process's own networks and device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch

from voidbridge_backend.engines.base import JobContext, LoraChoice
from voidbridge_protocol.errors import EngineFailed
from voidbridge_protocol.operations.remove import RemoveSettings

from .model import kernels, memory, streaming
from .model.denoiser import Denoiser
from .model.device_placement import DevicePlacement
from .model.heartbeat import with_heartbeat
from .model.memory import Demand, Plan
from .options import Options
from .passes.evaluation import Evaluation, decoded, packed

STAGE = "helping another device"


class AssistedModel(Protocol):
    """The model as an assistant uses it."""

    name: str
    options: Options
    placement: DevicePlacement
    dtype: torch.dtype

    def use_loras(
        self, choices: Sequence[LoraChoice], settings: RemoveSettings, watch: JobContext
    ) -> None:
        """See `TakesLoras`."""

    def identity(self) -> dict[str, Any]:
        """Returns everything on which the bits of an answer depend."""

    def denoiser(self, number: int) -> Denoiser:
        """Returns the transformer of pass `number`, 1 or 2."""

    def bytes_of(self, network: Any) -> int:
        """Returns the bytes of a network's weights."""


class Assistant:
    """Keeps a transformer on the device from one evaluation to the next."""

    def __init__(self, engine: AssistedModel) -> None:
        self._engine = engine
        self._on_device = ExitStack()
        self._circumstances: dict[str, Any] = {}
        self._size: tuple[int, ...] = ()

    def answer(self, task: bytes, watch: JobContext) -> bytes:
        """Returns the answer to a task of `Sharing`.

        Raises `EngineFailed` if this engine would compute other bits, and `OutOfMemory`.
        """
        circumstances, evaluation = decoded(task)
        try:
            denoiser = self._ready(circumstances, evaluation, watch)
            with with_heartbeat(denoiser.parts(), lambda: watch.step(STAGE, 0, 1)):
                found = evaluation.answered(denoiser)
        except BaseException:
            self.close()
            raise
        return packed({"compiled": denoiser.compiled.is_on}, {"answer": found})

    def close(self) -> None:
        """Takes the transformer off the device."""
        self._circumstances, self._size = {}, ()
        self._on_device.close()

    def _ready(
        self, circumstances: dict[str, Any], evaluation: Evaluation, watch: JobContext
    ) -> Denoiser:
        engine, size = self._engine, tuple(evaluation.latents.shape)
        number = int(circumstances["pass"])
        if (circumstances, size) == (self._circumstances, self._size):
            return engine.denoiser(number)
        self.close()
        watch.step("loading the model", 0, 1)
        settings = RemoveSettings(engine=engine.name, passes=circumstances["passes"])
        engine.use_loras(_choices(circumstances["loras"]), settings, watch)
        _require_same(engine.identity(), circumstances["identity"])
        denoiser = engine.denoiser(number)
        engine.placement.clear()
        plan = self._plan(denoiser, evaluation)
        if kernels.compiles(engine.options.compile, engine.placement.device):
            denoiser.compiled.begin(watch)
        self._on_device.enter_context(
            engine.placement.working(denoiser.network, plan, in_blocks=True)
        )
        self._circumstances, self._size = circumstances, size
        return denoiser

    def _plan(self, denoiser: Denoiser, evaluation: Evaluation) -> Plan:
        engine, config = self._engine, denoiser.network.config
        if engine.placement.is_cpu:
            return Plan("resident")
        _, latents, _, height, width = evaluation.latents.shape
        demand = Demand(
            transformer=engine.bytes_of(denoiser.network),
            vae=0,
            passes=1,
            streamed=streaming.device_bytes(denoiser.network),
            pixels=height * width * 64,
            latents=latents,
            batch=2 if evaluation.guidance != 1 else 1,
            tokens_width=config.num_attention_heads * config.attention_head_dim,
            number=engine.dtype.itemsize,
            pinned=streaming.host_bytes(denoiser.network),
        )
        return memory.assisting(engine.placement.free(), demand, engine.placement.host())


def words_of(choices: tuple[LoraChoice, ...]) -> list[list[Any]]:
    """Returns LoRAs as values for JSON."""
    return [[one.name, one.strength, one.path and str(one.path)] for one in choices]


def _choices(words: list[list[Any]]) -> list[LoraChoice]:
    return [
        LoraChoice(name, strength, Path(path) if path else None) for name, strength, path in words
    ]


def _require_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raises `EngineFailed` with everything that differs, because results could then differ too."""
    names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if names:
        told = "; ".join(f"{name} is {ours.get(name)}, not {theirs.get(name)}" for name in names)
        raise EngineFailed(
            f"this device would compute other bits: {told}",
            "Use equal cards for one job, and restart the daemon after a change of its models folder.",
        )
