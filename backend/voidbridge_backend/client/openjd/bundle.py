"""A job bundle of Open Job Description: one task for each shot, each a complete `voidbridge run`.

From: Open Job Description, "Template Schemas", jobtemplate-2023-09. A bundle is a folder with template.json;
AWS Deadline Cloud takes it as it is. The module is pure: it opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import SURVEY_SETTINGS, RemoveSettings

VERSION = "jobtemplate-2023-09"
MOST_TASKS = 1024
"""Values of one task parameter, by the schema."""
LONGEST = 1024
"""Characters of one value, by the schema."""
LONGEST_NAME = 128
EXPANDED = "{{"
"""Begins an expression of the template, wherever it stands."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NOTICE_S = 60
"""Seconds that a task has to cancel its job and to remove its temporary daemon."""


@dataclass(frozen=True)
class ShotTask:
    """One shot. Paths are absolute; patterns have their placeholder; `frames` is as 1001-1100."""

    plate: str
    matte: str
    result: str
    frames: str
    affected: str = ""
    clean: str = ""
    """Pattern of painted clean frames."""
    survey: str = ""
    """File with the survey of the whole shot, which a step of its own makes; empty without one."""


OPTIONAL = ("affected", "clean")
"""Files that only some shots have; those with the same ones are one step."""


@dataclass(frozen=True)
class HostRequirements:
    """A machine that may run a task. `memory_gb` is of the machine, not of its cards."""

    gpus: int = 0
    vcpus: int = 2
    memory_gb: int = 8


def template(
    name: str,
    shots: Sequence[ShotTask],
    settings: RemoveSettings,
    needs: HostRequirements,
    words: Sequence[str] = (),
    follow_up: Sequence[str] = (),
) -> dict[str, Any]:
    """The job template, ready for JSON. `words` are further options of `voidbridge run`.

    `follow_up` is a command, as words, that waits for all shots; empty if there is none.

    Raises `BadSetting` for what the schema cannot hold.
    """
    options, looks = [*typed(settings), *words], [*survey_options(settings), *words]
    _check(name, shots, [*options, *follow_up])
    groups: dict[str, list[ShotTask]] = {}
    for names in ((), ("affected",), ("clean",), ("affected", "clean")):
        groups["-".join(("remove", *names))] = [
            shot
            for shot in shots
            if tuple(role for role in OPTIONAL if getattr(shot, role)) == names
        ]
    steps = []
    for step, found in groups.items():
        surveyed = {shot.survey: shot for shot in reversed(found) if shot.survey}
        before = step.replace("remove", "survey")
        if surveyed:
            firsts = list(reversed(surveyed.values()))
            steps.append(_step(before, firsts, looks, needs, "survey"))
        if found:
            steps.append(_step(step, found, options, needs, "remove", before if surveyed else ""))
    return {
        "specificationVersion": VERSION,
        "name": name,
        "parameterDefinitions": [
            {
                "name": "Voidbridge",
                "type": "STRING",
                "default": "voidbridge",
                "description": "The command on the farm's machines, by name or path.",
            }
        ],
        "steps": [*steps, *([_last(follow_up, steps)] if follow_up else [])],
    }


def _check(name: str, shots: Sequence[ShotTask], options: Sequence[str]) -> None:
    if not 1 <= len(name) <= LONGEST_NAME:
        raise BadSetting(
            f"the job's name has {len(name)} characters; from 1 to {LONGEST_NAME} are possible",
            "Choose another with --name.",
        )
    if len(shots) > MOST_TASKS:
        raise BadSetting(
            f"{len(shots)} shots are listed; one bundle holds up to {MOST_TASKS}",
            "Write several bundles.",
        )
    if not name.isprintable() or EXPANDED in name:
        raise BadSetting(
            f"the job's name holds {EXPANDED} or a control character: {name[:80]}",
            "Choose another with --name.",
        )
    for text in options:
        if EXPANDED in text:
            raise BadSetting(
                f"{text[:80]} cannot be in a job template, which would expand {EXPANDED}",
                f"Write it without {EXPANDED}, or rename the file.",
            )
    for number, shot in enumerate(shots, 1):
        for field, text in asdict(shot).items():
            if len(text) > LONGEST or EXPANDED in text or CONTROL.search(text):
                raise BadSetting(
                    f"the {field} of shot {number} cannot be in a job template: {text[:80]}",
                    f"A value has up to {LONGEST} characters, no {EXPANDED} and no control characters.",
                )


def _step(
    name: str,
    shots: Sequence[ShotTask],
    more: Sequence[str],
    needs: HostRequirements,
    kind: str,
    before: str = "",
) -> dict[str, Any]:
    """Shots to `remove` from, after the step `before` if there is one, or to `survey`."""
    columns = {"Plate": "plate", "Matte": "matte", "Result": "result", "Frames": "frames"}
    if kind == "survey":
        columns["Result"] = "survey"
    elif before:
        columns["Survey"] = "survey"
    options: list[str] = []
    for role in (role for role in OPTIONAL if getattr(shots[0], role)):
        columns[role.capitalize()] = role
        options += [f"--{role}", f"{{{{Task.Param.{role.capitalize()}}}}}"]
    if before:
        options += ["--survey", "{{Task.Param.Survey}}"]
    definitions = [
        {
            "name": column,
            "type": "STRING" if column == "Frames" else "PATH",
            "range": [getattr(shot, field) for shot in shots],
        }
        for column, field in columns.items()
    ]
    command = "survey" if kind == "survey" else "run"
    words = [command, "{{Task.Param.Plate}}", "{{Task.Param.Matte}}", *options]
    words += ["--output", "{{Task.Param.Result}}", "--frames={{Task.Param.Frames}}"]
    dependencies = {"dependencies": [{"dependsOn": before}]} if before else {}
    return {
        "name": name,
        **dependencies,
        "hostRequirements": {"amounts": _amounts(needs)},
        "parameterSpace": {
            "taskParameterDefinitions": definitions,
            "combination": f"({', '.join(columns)})",
        },
        "script": {
            "actions": {
                "onRun": {
                    "command": "{{Param.Voidbridge}}",
                    "args": [*words, *more, "--openjd"],
                    "cancelation": {
                        "mode": "NOTIFY_THEN_TERMINATE",
                        "notifyPeriodInSeconds": NOTICE_S,
                    },
                }
            }
        },
    }


def command_template(
    name: str,
    commands: Sequence[Sequence[str]],
    needs: HostRequirements,
    follow_up: Sequence[str] = (),
) -> dict[str, Any]:
    """The job template of any commands, as words: a step for each. Raises `BadSetting` as `template` does."""
    _check(name, (), [word for words in (*commands, follow_up) for word in words])
    steps = [
        {
            "name": f"task-{number}",
            "hostRequirements": {"amounts": _amounts(needs)},
            "script": {"actions": {"onRun": {"command": words[0], "args": list(words[1:])}}},
        }
        for number, words in enumerate(commands, 1)
    ]
    return {
        "specificationVersion": VERSION,
        "name": name,
        "steps": [*steps, *([_last(follow_up, steps)] if follow_up else [])],
    }


def _last(follow_up: Sequence[str], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": "then",
        "dependencies": [{"dependsOn": step["name"]} for step in steps],
        "script": {"actions": {"onRun": {"command": follow_up[0], "args": list(follow_up[1:])}}},
    }


def _amounts(needs: HostRequirements) -> list[Mapping[str, Any]]:
    found = {
        "amount.worker.vcpu": needs.vcpus,
        "amount.worker.memory": needs.memory_gb * 1024,  # in MiB
        "amount.worker.gpu": needs.gpus,
    }
    return [{"name": name, "min": least} for name, least in found.items() if least]


def survey_options(settings: RemoveSettings) -> list[str]:
    """The settings that `voidbridge survey` takes, as `typed` gives them."""
    return typed(settings, SURVEY_SETTINGS)


def typed(settings: RemoveSettings, names: Collection[str] = ()) -> list[str]:
    """The settings as words of the command line, those of `names` or all; the default ones are left out."""
    words = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value == field.default or (names and field.name not in names):
            continue
        option = "--" + field.name.replace("_", "-")
        words.append(option if value is True else f"{option}={value}")
    return words
