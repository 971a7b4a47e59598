"""A farm's job as command lines: one for each shot, and one that waits for all of them. Pure: it opens no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voidbridge_backend.client.openjd.bundle import CONTROL, OPTIONAL, HostRequirements, ShotTask
from voidbridge_protocol.errors import BadSetting


@dataclass(frozen=True)
class FarmJob:
    """The command lines of a job, as words."""

    name: str
    shots: tuple[tuple[str, ...], ...]
    """The commands of the shots. They may run at once."""
    then: tuple[str, ...]
    """The command that waits for all shots, as a render of the comp; empty if there is none."""
    needs: HostRequirements


@dataclass(frozen=True)
class FarmFiles:
    """The files of one farm."""

    files: dict[str, str]
    """Texts by the name of the file, the main one first."""
    submit: tuple[str, ...]
    """The farm's own command that sends them, to be run in their folder."""


def farm_job(
    name: str,
    shots: Sequence[ShotTask],
    options: Sequence[str],
    follow_up: Sequence[str],
    needs: HostRequirements,
) -> FarmJob:
    """Returns the job. `options` are further options of `voidbridge run`.

    Raises `BadSetting` for a word with a control character, which no farm's file can hold.
    """
    commands = [["voidbridge", *_words(shot), *options] for shot in shots]
    return command_job(name, commands, follow_up, needs)


def command_job(
    name: str, commands: Sequence[Sequence[str]], follow_up: Sequence[str], needs: HostRequirements
) -> FarmJob:
    """Returns a job of any commands, as words. Raises `BadSetting` as `farm_job` does."""
    for word in (name, *follow_up, *(word for words in commands for word in words)):
        if CONTROL.search(word):
            raise BadSetting(f"{word[:80]!r} holds a control character", "Rename it.")
    return FarmJob(name, tuple(map(tuple, commands)), tuple(follow_up), needs)


def _words(shot: ShotTask) -> list[str]:
    words = ["run", shot.plate, shot.matte]
    for role in OPTIONAL:
        if getattr(shot, role):
            words += [f"--{role}", getattr(shot, role)]
    return [*words, "--output", shot.result, f"--frames={shot.frames}"]
