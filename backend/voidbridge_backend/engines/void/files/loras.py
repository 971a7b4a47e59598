"""The LoRAs of a job: found, checked against the models folder, and told apart for each pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voidbridge_backend.engines.base import LoraChoice
from voidbridge_backend.engines.void.model import lora_file
from voidbridge_backend.engines.void.model.lora_file import Lora
from voidbridge_protocol.errors import BadLora

from . import lora_names


@dataclass(frozen=True)
class UsedLora:
    """One LoRA of a job."""

    name: str
    strength: float
    lora: Lora

    @property
    def key(self) -> str:
        """Its name inside the network."""
        return f"lora_{self.lora.sha256[:16]}"

    def acts_on(self, number: int) -> bool:
        """Whether it changes the transformer of pass `number`. One of unknown origin changes both."""
        return self.lora.record.passes in (0, number)


@dataclass(frozen=True)
class UsedLoras:
    """All LoRAs of a job, in order."""

    used: tuple[UsedLora, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The hashes that decide which networks have to be loaded again."""
        return tuple(one.lora.sha256 for one in self.used)

    def of_pass(self, number: int) -> dict[str, Lora]:
        return {one.key: one.lora for one in self.used if one.acts_on(number)}

    def strengths(self, number: int) -> dict[str, float]:
        return {one.key: one.strength for one in self.used if one.acts_on(number)}

    def describe(self) -> list[dict[str, Any]]:
        """Returns what the provenance of a result says of each."""
        return [
            {
                "name": one.name,
                "show": one.lora.record.show,
                "sha256": one.lora.sha256,
                "strength": one.strength,
                "passes": one.lora.record.passes,
            }
            for one in self.used
        ]


def checked(
    choices: Sequence[LoraChoice],
    models: Path,
    passes: int,
    layers: Mapping[str, tuple[int, int]],
    prints: Mapping[str, str],
    warn: Callable[[str], None],
) -> UsedLoras:
    """Reads the chosen files. `layers` are the transformer's, `prints` the fingerprints of `networks.fingerprints`.

    Raises `BadLora` for a file that is absent, unreadable, named twice, or made for other weights or another pass.
    """
    found: list[UsedLora] = []
    for choice in choices:
        path = choice.path or _named(models, choice.name)
        one = UsedLora(choice.name, choice.strength, lora_file.read(path, layers, choice.name))
        _check_base(one, passes, prints, warn)
        if one.lora.sha256 in (other.lora.sha256 for other in found):
            raise BadLora(f"the LoRA {choice.name} is given twice")
        found.append(one)
    return UsedLoras(tuple(found))


def _named(models: Path, name: str) -> Path:
    """The daemon has checked the user's rights; the error names only what every user may know."""
    if name not in lora_names.names(models):
        raise lora_names.absent(name, lora_names.open_names(models))
    return models / lora_names.FOLDER / f"{name}{lora_names.ENDING}"


def _check_base(
    one: UsedLora, passes: int, prints: Mapping[str, str], warn: Callable[[str], None]
) -> None:
    record = one.lora.record
    if record.passes > passes:
        raise BadLora(
            f"the LoRA {one.name} belongs to pass {record.passes}, and the job has only {passes}",
            f"Add --passes {record.passes}, or leave the LoRA out.",
        )
    if not record.base:
        warn(f"the LoRA {one.name} does not name its base model, so it is used unchecked")
        return
    base = prints.get(f"pass {record.passes or 1}", "")
    if base != record.base:
        raise BadLora(
            f"the LoRA {one.name} was trained on the weights {record.base[:12]}, "
            f"and pass {record.passes or 1} here has {base[:12] or 'none'}"
        )
