"""Gives an engine the LoRAs that a request names: files of its own, or names in the models folder."""

from __future__ import annotations

from voidbridge_backend.engines.base import JobContext, LoraChoice, TakesLoras
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

from .job import RenderJob


def use_loras(
    order: RenderJob, engine: object, settings: RemoveSettings, watch: JobContext
) -> None:
    """Sets the LoRAs of this job, none included. Raises `BadLora`, `BadSetting`."""
    if isinstance(engine, TakesLoras):
        engine.use_loras(choices(order, settings), settings, watch)
    elif settings.loras:
        raise BadSetting(
            f"the engine {settings.engine} has no use for a LoRA",
            "Choose the engine void, or leave --lora out.",
        )


def choices(order: RenderJob, settings: RemoveSettings) -> list[LoraChoice]:
    """Returns the LoRAs of a request in order. Raises `BadSetting` for a number without a file."""
    files = {file.frame: file for file in order.request.files if file.role == "lora"}
    found = []
    for name, strength in settings.loras:
        path = None
        if name.startswith("@"):
            number = int(name[1:]) if name[1:].isdecimal() else 0
            if number not in files:
                raise BadSetting(f"the LoRA {name} has no file in this job")
            path, name = order.source(files[number].sha256), f"lora frame {number}"
        found.append(LoraChoice(name, strength, path))
    return found
