"""The names of files by which a job and its lent devices exchange tasks and answers, or by which it goes on.

The daemon reads them too. It imports no numpy, so nor does this module.
"""

from __future__ import annotations

from pathlib import Path

CHECKPOINT = "checkpoint."
"""Files whose names begin so outlive an attempt: the next one goes on from them."""


def task_path(folder: Path, number: int) -> Path:
    """Returns the file of a task in a job's folder."""
    return folder / f"task-{number}"


def answer_path(folder: Path, number: int) -> Path:
    """Returns the file of the answer to a task."""
    return folder / f"answer-{number}"
