"""The names of the files by which a job and the devices lent to it exchange tasks and answers.

The daemon reads them too. It imports no numpy, so nor does this module.
"""

from __future__ import annotations

from pathlib import Path


def task_path(folder: Path, number: int) -> Path:
    """Returns the file of a task in a job's folder."""
    return folder / f"task-{number}"


def answer_path(folder: Path, number: int) -> Path:
    """Returns the file of the answer to a task."""
    return folder / f"answer-{number}"
