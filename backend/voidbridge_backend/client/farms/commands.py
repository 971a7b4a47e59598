"""A farm's job as command lines: one for each shot, and one that waits for all of them. Pure: it opens no file.

Ranges of one shot share a survey of it: a command of its own, which they wait for.
"""

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
    surveys: tuple[tuple[str, ...], ...] = ()
    """The commands that look at a whole shot, before its ranges run."""
    waits: tuple[int, ...] = ()
    """For each of `shots` the place of its survey in `surveys`; empty if there are none."""

    def of_survey(self, number: int) -> list[tuple[int, tuple[str, ...]]]:
        """The shots that wait for this survey, and their places; -1 has those that wait for none."""
        waits = self.waits or (NO_SURVEY,) * len(self.shots)
        found = zip(enumerate(self.shots), waits, strict=True)
        return [shot for shot, survey in found if survey == number]


NO_SURVEY = -1


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
    looks: Sequence[str] = (),
) -> FarmJob:
    """Returns the job. `options` are further options of `voidbridge run`, `looks` those of its surveys.

    Raises `BadSetting` for a word with a control character, which no farm's file can hold.
    """
    commands = [["voidbridge", *_words(shot), *options] for shot in shots]
    firsts = {shot.survey: shot for shot in reversed(shots) if shot.survey}
    files = list(reversed(firsts))
    surveys = [["voidbridge", *_survey_words(firsts[file]), *looks] for file in files]
    waits = [files.index(shot.survey) if shot.survey else NO_SURVEY for shot in shots]
    return command_job(name, commands, follow_up, needs, surveys, waits if surveys else ())


def command_job(
    name: str,
    commands: Sequence[Sequence[str]],
    follow_up: Sequence[str],
    needs: HostRequirements,
    surveys: Sequence[Sequence[str]] = (),
    waits: Sequence[int] = (),
) -> FarmJob:
    """Returns a job of any commands, as words. Raises `BadSetting` as `farm_job` does."""
    for word in (name, *follow_up, *(word for words in (*surveys, *commands) for word in words)):
        if CONTROL.search(word):
            raise BadSetting(f"{word[:80]!r} holds a control character", "Rename it.")
    parts = map(tuple, commands), map(tuple, surveys)
    return FarmJob(name, tuple(parts[0]), tuple(follow_up), needs, tuple(parts[1]), tuple(waits))


def _words(shot: ShotTask) -> list[str]:
    words = ["run", *_files(shot)]
    if shot.survey:
        words += ["--survey", shot.survey]
    return [*words, "--output", shot.result, f"--frames={shot.frames}"]


def _survey_words(shot: ShotTask) -> list[str]:
    """As the step of Open Job Description: its first range with handles to both ends is the whole shot."""
    return ["survey", *_files(shot), "--output", shot.survey, f"--frames={shot.frames}"]


def _files(shot: ShotTask) -> list[str]:
    words = [shot.plate, shot.matte]
    for role in OPTIONAL:
        if getattr(shot, role):
            words += [f"--{role}", getattr(shot, role)]
    return words
