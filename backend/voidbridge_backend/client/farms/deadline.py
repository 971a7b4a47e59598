"""Files for Thinkbox Deadline 10: a job of the plug-in CommandScript, and one that depends on it.

From: Deadline 10 manual, "Manual Job Submission" (job info and plug-in info files) and "Command Script" (a file
with one command a line, one task each). Nobody has sent these files to a Deadline here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from voidbridge_protocol.errors import BadSetting

from .commands import FarmFiles, FarmJob

PLAIN = re.compile(r"[\w/.:=,+@%-]+")
"""Words that no shell changes; all others are quoted."""


def deadline_files(job: FarmJob) -> FarmFiles:
    """Returns the files of the shots' job and of the one behind it. Raises `BadSetting` for a word with a quote."""
    steps = {"remove": job.shots, **({"then": (job.then,)} if job.then else {})}
    files, submit = {}, ["deadlinecommand", "-SubmitMultipleJobs", "-Dependent"]
    for step, commands in steps.items():
        name = job.name if step == "remove" else f"{job.name}, then"
        made = {
            f"{step}.job": _lines(
                Plugin="CommandScript",
                Name=name,
                BatchName=job.name,
                Frames=f"0-{len(commands) - 1}",
                ChunkSize="1",
            ),
            f"{step}_plugin.job": _lines(StartupDirectory=""),
            f"{step}_commands.txt": "".join(_command(words) + "\n" for words in commands),
        }
        files.update(made)
        submit += ["-Job", *made]
    return FarmFiles(files, tuple(submit))


def _lines(**values: str) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _command(words: Sequence[str]) -> str:
    for word in words:
        if '"' in word:
            raise BadSetting(
                f"{word[:80]} holds a quote, which a command file of Deadline cannot",
                "Rename the file, or write the prompt without quotes.",
            )
    return " ".join(word if PLAIN.fullmatch(word) else f'"{word}"' for word in words)
