"""What a job's worker knows of lent devices, by the news of the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voidbridge_backend.engines.base import LentAnswer
from voidbridge_backend.worker.lent_devices import LentByDaemon
from voidbridge_backend.worker.task_files import answer_path, task_path


class Told:
    """One job's lent devices, and the events that its worker sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.lent = LentByDaemon(
            lambda event, **fields: self.sent.append((event, fields)), "j", folder, "remove", "void"
        )

    def tell(self, kind: str, device: str, **more: Any) -> list[LentAnswer]:
        self.lent.tell({"do": kind, "job": "j", "device": device, **more})
        return list(self.lent.answers(0))


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_a_task_goes_to_a_lent_device_and_its_answer_comes_back(told: Told) -> None:
    assert told.lent.idle() == []
    assert told.tell("lent", "cuda:1") == []
    assert told.lent.idle() == ["cuda:1"]
    told.lent.ask("cuda:1", b"task")
    assert told.lent.idle() == []
    asked = {"device": "cuda:1", "task": 1, "operation": "remove", "engine": "void"}
    assert told.sent == [("ask", asked)]
    assert task_path(told.folder, 1).read_bytes() == b"task"
    answer_path(told.folder, 1).write_bytes(b"answer")
    assert told.tell("assisted", "cuda:1", task=1, why="") == [LentAnswer("cuda:1", b"answer")]
    assert told.lent.idle() == ["cuda:1"]
    assert list(told.folder.iterdir()) == []


def test_a_device_that_is_taken_back_leaves_its_task_without_a_reason(told: Told) -> None:
    told.tell("lent", "cuda:1")
    told.lent.ask("cuda:1", b"task")
    assert told.tell("unlent", "cuda:1") == [LentAnswer("cuda:1", None)]
    assert told.tell("assisted", "cuda:1", task=1, why="") == []
    told.tell("lent", "cuda:1")
    assert told.tell("unlent", "cuda:1") == []
    assert list(told.folder.iterdir()) == []


@pytest.mark.parametrize("is_busy", [False, True])
def test_the_reason_of_a_loss_is_told_at_any_time(told: Told, is_busy: bool) -> None:
    told.tell("lent", "cuda:1")
    if is_busy:
        told.lent.ask("cuda:1", b"task")
    assert told.tell("unlent", "cuda:1", why="died") == [LentAnswer("cuda:1", None, "died")]
    assert told.lent.idle() == []


def test_news_of_another_job_and_of_an_old_task_change_nothing(told: Told) -> None:
    told.lent.tell({"do": "lent", "job": "other", "device": "cuda:2"})
    told.tell("lent", "cuda:1")
    told.lent.ask("cuda:1", b"one")
    told.tell("unlent", "cuda:1")
    told.tell("lent", "cuda:1")
    told.lent.ask("cuda:1", b"two")
    assert told.tell("assisted", "cuda:1", task=1, why="") == []
    assert told.lent.idle() == []
    told.lent.close()
    assert list(told.folder.iterdir()) == []


def test_devices_are_asked_for_once_and_given_back_at_the_end(told: Told) -> None:
    for count in (0, 2, 2, 1):
        told.lent.want(count)
    told.lent.close()
    assert told.sent == [("more devices", {"count": count}) for count in (2, 1, 0)]
