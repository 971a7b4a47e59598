"""Files for Thinkbox Deadline 10: jobs of the plug-in CommandScript, each depending on the one before it.

From: Deadline 10 manual, "Manual Job Submission" (job info and plug-in info files), "Command Line", where
`-SubmitMultipleJobs -Dependent` makes each job depend on the job before, and "Command Script" (a file with one
command a line, one task each). Nobody has sent these files to a Deadline here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from voidbridge_protocol.errors import BadSetting

from .commands import FarmFiles, FarmJob

PLAIN = re.compile(r"[\w/.:=,+@%-]+")
"""Words that no shell changes; all others are quoted."""


def deadline_files(job: FarmJob) -> FarmFiles:
    """Returns the files of the surveys' job, the shots' job and the one behind them, in that order.

    Every shot waits for every survey. Raises `BadSetting` for a word with a quote.
    """
    surveys = {"survey": job.surveys} if job.surveys else {}
    steps = {**surveys, "remove": job.shots, **({"then": (job.then,)} if job.then else {})}
    files, submit = {}, ["deadlinecommand", "-SubmitMultipleJobs", "-Dependent"]
    for step, commands in steps.items():
        name = job.name if step == "remove" else f"{job.name}, {step}"
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
    main = {name: text for name, text in files.items() if name.startswith("remove")}
    return FarmFiles({**main, **files}, tuple(submit))


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
