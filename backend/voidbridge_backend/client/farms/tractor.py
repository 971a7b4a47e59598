"""A job script for Pixar's Tractor, in the Alfred language: shots below the task that waits for them.

From: Tractor documentation, "Job Scripting": a task runs its commands when its subtasks are done, and with
`-serialsubtasks 1` it runs the subtasks one after the other. So a shot with a survey is a task of two: the survey,
and behind it the task of all ranges. Nobody has spooled one to a Tractor here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from voidbridge_protocol.errors import BadSetting

from .commands import NO_SURVEY, FarmFiles, FarmJob

FILE = "job.alf"
PADDED = re.compile(r"%0(\d)d")
"""A frame number as %04d, which #### means too."""


def tractor_files(job: FarmJob, service: str) -> FarmFiles:
    """Returns the script. `service` is a service that the site's blades offer.

    Raises `BadSetting` for a word with %, which Tractor would expand.
    """
    shots = "".join(_surveyed(job, number, service) for number in range(len(job.surveys)))
    shots += _tasks(job, NO_SURVEY, service)
    below = f"-subtasks {{\n{shots}}}"
    if job.then:
        last = f"-cmds {{\n  {_command(job.then, service)}\n}}"
        below = f"-subtasks {{\nTask {{then}} {below} {last}\n}}"
    text = f"##AlfredToDo 3.0\nJob -title {_word(job.name)} {below}\n"
    return FarmFiles({FILE: text}, ("tractor-spool", FILE))


def _tasks(job: FarmJob, survey: int, service: str) -> str:
    """The tasks of the shots that wait for this survey."""
    return "".join(
        f"  Task {{shot {place + 1}}} -cmds {{\n    {_command(words, service)}\n  }}\n"
        for place, words in job.of_survey(survey)
    )


def _surveyed(job: FarmJob, survey: int, service: str) -> str:
    """The task of a survey, and behind it the task of the shots that wait for it."""
    look = _command(job.surveys[survey], service)
    return (
        f"  Task {{survey and shots {survey + 1}}} -serialsubtasks 1 -subtasks {{\n"
        f"  Task {{survey {survey + 1}}} -cmds {{\n    {look}\n  }}\n"
        f"  Task {{shots {survey + 1}}} -subtasks {{\n{_tasks(job, survey, service)}  }}\n  }}\n"
    )


def _command(words: Sequence[str], service: str) -> str:
    words = [PADDED.sub(lambda found: "#" * int(found[1]), word) for word in words]
    for word in words:
        if "%" in word:
            raise BadSetting(
                f"{word[:80]} holds %, which Tractor would expand", "Write it without %."
            )
    return f"RemoteCmd {{{' '.join(map(_word, words))}}} -service {_word(service)}"


def _word(text: str) -> str:
    """Quotes a word of Tcl."""
    if re.search(r"[{}\\]", text):
        return re.sub(r"([\s{}\\\"$;#\[\]])", r"\\\1", text)
    return f"{{{text}}}"
