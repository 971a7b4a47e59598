"""Scenarios of the queue, and what holds after any facts in any order."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voidbridge_job_box import Queue

from voidbridge_backend.daemon.jobs.scheduler import (
    MAX_ATTEMPTS,
    MAX_LOSSES,
    Command,
    GaveUp,
    Interrupt,
    Lend,
    Preempt,
    Prepare,
    Recall,
    Start,
    StateChanged,
)
from voidbridge_backend.daemon.jobs.start_order import FEW, QueuedJob
from voidbridge_protocol.errors import IllegalTransition
from voidbridge_protocol.lifecycle import JobState

ANA, BEN, CAT = "ana", "ben", "cat"


def order_by_the_rule(queue: Queue) -> list[str]:
    """One after the other by the rule, as slowly as it reads: priority, then whose turn it is, then number."""
    waiting = [job for job in queue.jobs.values() if job.state is JobState.QUEUED]
    turn, starts, order = dict(queue._turn), queue._starts, []
    while waiting:
        job = min(waiting, key=lambda j: (-j.priority, turn.get(j.user, 0), j.number))
        waiting.remove(job)
        starts += 1
        turn[job.user] = starts
        order.append(job.id)
    return order


@given(
    st.lists(st.tuples(st.sampled_from((ANA, BEN, CAT)), st.integers(-1, 1)), max_size=14),
    st.integers(0, 5),
)
def test_the_line_is_that_of_the_rule(jobs: list[tuple[str, int]], started: int) -> None:
    queue = Queue()
    for n, (user, priority) in enumerate(jobs):
        queue.submitted(str(n), user, priority)
        if n < started:
            queue.device_ready(f"gpu{n}")
    order = order_by_the_rule(queue)
    assert queue.waiting() == order
    running = len(list(queue.running()))
    assert [queue.ahead_of(job) for job in order] == [running + n for n in range(len(order))]


def test_the_device_that_a_job_will_get_is_made_ready_while_its_files_are_on_their_way() -> None:
    queue = Queue()
    queue.add(QueuedJob("a", ANA, 0, 1, JobState.RECEIVING))
    assert queue.expected("a", "remove", "echo") == []  # there is no device yet
    assert queue.device_ready("cpu") == [Prepare("remove", "echo", "cpu")]
    queue.add(QueuedJob("b", BEN, 0, 2, JobState.RECEIVING))
    assert queue.expected("b", "remove", "void") == [Prepare("remove", "void", "cpu")]
    assert queue.offered("remove", "cleanplate") == [Prepare("remove", "cleanplate", "cpu")]
    queue.received("a")
    queue.add(QueuedJob("c", CAT, 0, 3, JobState.RECEIVING))
    assert (
        queue.expected("c", "remove", "void") == queue.offered("remove", "void") == []
    )  # it runs another job
    assert queue.ended("a", JobState.DONE)[1:] == [Prepare("remove", "void", "cpu")]
    queue.cancel_requested("c")
    assert queue.device_ready("cpu") == []  # nobody waits for that one any more
    queue.hold()
    assert queue.expected("b", "remove", "void") == queue.offered("remove", "void") == []


def test_ten_thousand_jobs_are_in_line_in_no_time() -> None:
    queue = Queue()
    for n in range(10_000):
        queue.submitted(str(n), f"user {n % 7}")
    began = time.process_time()
    for device in ("a", "b"):
        queue.device_ready(device)
        assert sum(queue.ahead_of(job) for job in queue.waiting()) > 0
    assert (
        time.process_time() - began < 5
    )  # a tenth of a second, and minutes if each place cost a search


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_while_it_is_held_nothing_is_started_and_what_runs_goes_on(queue: Queue) -> None:
    queue.device_ready("cpu")
    queue.submitted("a")
    queue.hold()
    assert queue.submitted("b") == [StateChanged("b", JobState.QUEUED)]
    assert queue.ended("a", JobState.DONE) == [StateChanged("a", JobState.DONE)]
    assert queue.release() == [StateChanged("b", JobState.RUNNING), Start("b", "cpu")]


def test_a_job_starts_as_soon_as_there_is_a_device(queue: Queue) -> None:
    assert queue.submitted("a") == [StateChanged("a", JobState.QUEUED)]
    assert queue.device_ready("cpu") == [StateChanged("a", JobState.RUNNING), Start("a", "cpu")]
    assert queue.submitted("b") == [StateChanged("b", JobState.QUEUED)]
    assert queue.ended("a", JobState.DONE) == [
        StateChanged("a", JobState.DONE), StateChanged("b", JobState.RUNNING), Start("b", "cpu"),
    ]  # fmt: skip


def test_a_device_without_work_takes_what_comes_first(queue: Queue) -> None:
    queue.device_ready("cpu")
    assert queue.submitted("a")[-1] == Start("a", "cpu")


def test_one_users_jobs_run_in_the_order_of_their_submission(queue: Queue) -> None:
    for job in "cab":
        queue.submitted(job)
    assert queue.served() == ["c", "a", "b"]


def test_one_shot_waits_for_one_shot_of_somebody_with_a_hundred(queue: Queue) -> None:
    for number in range(100):
        queue.submitted(f"a{number}", ANA)
    queue.device_ready("cpu")
    queue.submitted("b", BEN)
    assert queue.ahead_of("b") == 1  # the one that runs
    assert queue.ended("a0", JobState.DONE)[-1] == Start("b", "cpu")


def test_users_take_turns(queue: Queue) -> None:
    for user in (ANA, BEN, CAT):
        for number in range(3):
            queue.submitted(f"{user}{number}", user)
    order = queue.served()
    for i in range(0, 9, 3):
        assert {job[:3] for job in order[i : i + 3]} == {ANA, BEN, CAT}
    for user in (ANA, BEN, CAT):
        assert [job for job in order if job.startswith(user)] == [f"{user}{i}" for i in range(3)]


def test_who_has_not_run_for_the_longest_is_next(queue: Queue) -> None:
    """However many jobs somebody has run before: an idle night is no debt and no credit."""
    for number in range(5):
        queue.submitted(f"a{number}", ANA)
    queue.served()
    queue.device_lost("cpu")
    queue.submitted("a9", ANA)
    queue.submitted("b", BEN)
    assert queue.served() == ["b", "a9"]


def test_higher_priorities_come_first_and_share_among_themselves(queue: Queue) -> None:
    queue.submitted("low", ANA, -1)
    queue.submitted("usual", ANA)
    queue.submitted("high1", ANA, 5)
    queue.submitted("high2", ANA, 5)
    queue.submitted("high3", BEN, 5)
    assert queue.served() == ["high1", "high3", "high2", "usual", "low"]


def test_the_place_in_the_queue_is_the_number_of_starts_before(queue: Queue) -> None:
    for job, user in (("a1", ANA), ("a2", ANA), ("a3", ANA), ("b1", BEN), ("c1", CAT)):
        queue.submitted(job, user)
    waiting = queue.waiting()
    assert [queue.ahead_of(job) for job in waiting] == [0, 1, 2, 3, 4]
    queue.device_ready("cpu")
    assert queue.ahead_of(waiting[0]) == 0  # it runs
    assert [queue.ahead_of(job) for job in waiting[1:]] == [1, 2, 3, 4]
    assert [waiting[0], *queue.waiting()] == waiting


def receiving(queue: Queue) -> None:
    queue.add(QueuedJob("a", ANA, 0, 1, JobState.RECEIVING))


def queued(queue: Queue) -> None:
    queue.submitted("a")


def running(queue: Queue) -> None:
    queue.device_ready("cpu")
    queue.submitted("a")


def cancelling(queue: Queue) -> None:
    running(queue)
    queue.cancel_requested("a")


def ended(state: JobState) -> Callable[[Queue], None]:
    def bring(queue: Queue) -> None:
        running(queue)
        queue.ended("a", state)

    return bring


CANCELLED, CANCELLING = (
    StateChanged("a", JobState.CANCELLED),
    StateChanged("a", JobState.CANCELLING),
)


@pytest.mark.parametrize(
    ("bring", "commands"),
    [
        (receiving, [CANCELLED]),
        (queued, [CANCELLED]),
        (running, [CANCELLING, Interrupt("a", "cpu")]),
        (cancelling, []),
        (ended(JobState.DONE), []),
        (ended(JobState.FAILED), []),
    ],
    ids=["receiving", "queued", "running", "cancelling", "done", "failed"],
)
def test_a_cancel_does_what_is_left_to_do(
    queue: Queue, bring: Callable[[Queue], None], commands: list[Command]
) -> None:
    bring(queue)
    assert queue.cancel_requested("a") == commands


@pytest.mark.parametrize(
    ("came_to", "state"),
    [
        (JobState.CANCELLED, JobState.CANCELLED),
        (JobState.FAILED, JobState.CANCELLED),
        (JobState.DONE, JobState.DONE),
    ],
)
def test_a_cancelled_job_is_cancelled_unless_it_was_done_first(
    queue: Queue, came_to: JobState, state: JobState
) -> None:
    cancelling(queue)
    queue.submitted("b")
    assert queue.ended("a", came_to) == [
        StateChanged("a", state), StateChanged("b", JobState.RUNNING), Start("b", "cpu"),
    ]  # fmt: skip


def test_a_job_whose_worker_dies_is_tried_three_times_in_all(queue: Queue) -> None:
    queue.submitted("a")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert queue.device_ready("cpu")[-1] == Start("a", "cpu")
        assert queue.jobs["a"].attempts == attempt
        commands = queue.device_lost("cpu")
        if attempt < MAX_ATTEMPTS:
            assert commands == [StateChanged("a", JobState.QUEUED)]
    assert commands == [GaveUp("a", MAX_ATTEMPTS), StateChanged("a", JobState.FAILED)]
    assert queue.device_ready("cpu") == []


def test_a_lost_node_is_no_attempt_of_its_job_until_it_happens_too_often(queue: Queue) -> None:
    queue.submitted("a")
    for losses in range(1, MAX_LOSSES + 1):
        assert queue.device_ready("ray:a/0")[-1] == Start("a", "ray:a/0")
        assert queue.jobs["a"].attempts == 1
        commands = queue.device_lost("ray:a/0", is_away=True)
        if losses < MAX_LOSSES:
            assert commands == [StateChanged("a", JobState.QUEUED)]
    assert commands == [GaveUp("a", MAX_LOSSES), StateChanged("a", JobState.FAILED)]


def training(queue: Queue, job: str, priority: int = 0) -> None:
    """A job that goes on where it is stopped."""
    known = QueuedJob(job, ANA, priority, len(queue.jobs) + 1, JobState.RECEIVING, goes_on=True)
    queue.add(known)
    queue.received(job)


def test_a_training_stops_once_for_a_more_urgent_job_and_goes_on(queue: Queue) -> None:
    queue.device_ready("cpu")
    training(queue, "a")
    assert queue.submitted("usual") == [StateChanged("usual", JobState.QUEUED)]
    assert queue.submitted("urgent", BEN, 1)[1:] == [Preempt("a", "cpu")]
    assert queue.submitted("second", BEN, 1)[1:] == []  # one device, one stop
    assert queue.preempted("a")[-1] == Start("urgent", "cpu")
    assert (queue.jobs["a"].attempts, queue.state("a")) == (0, JobState.QUEUED)
    assert queue.ended("urgent", JobState.DONE)[-1] == Start("second", "cpu")
    assert queue.served() == ["usual", "a"]
    training(queue, "b")
    assert queue.submitted("third", BEN, 1)[1:] == [Preempt("b", "cpu")]
    queue.preempted("b")
    assert queue.ended("third", JobState.DONE)[-1] == Start("b", "cpu")
    assert queue.submitted("fourth", BEN, 1)[1:] == []  # never twice


def test_the_least_urgent_and_youngest_training_stops_and_no_other_job_does(queue: Queue) -> None:
    for number, priority in enumerate((0, -1, -1, 2)):
        queue.device_ready(f"gpu{number}")
        training(queue, f"t{number}", priority)
    queue.submitted("shot", BEN, -5)
    queue.device_ready("gpu4")
    stops = [command for n in range(4) for command in queue.submitted(f"u{n}", BEN, 1)[1:]]
    assert stops == [Preempt("t2", "gpu2"), Preempt("t1", "gpu1"), Preempt("t0", "gpu0")]


def test_no_training_stops_beside_many_jobs_of_which_one_ends_soon(queue: Queue) -> None:
    training(queue, "a")
    for number in range(FEW + 1):
        queue.submitted(f"shot{number}", BEN)
        queue.device_ready(f"gpu{number}")
    assert len(list(queue.running())) == FEW + 1
    assert queue.submitted("urgent", BEN, 1)[1:] == []


def test_a_stopping_training_whose_worker_dies_loses_no_attempt(queue: Queue) -> None:
    queue.device_ready("cpu")
    training(queue, "a")
    queue.submitted("urgent", BEN, 1)
    assert queue.device_lost("cpu")[0] == StateChanged("a", JobState.QUEUED)
    assert queue.jobs["a"].attempts == 0
    assert queue.device_ready("cpu")[-1] == Start("urgent", "cpu")


def test_a_lent_device_goes_to_an_urgent_job_before_a_training_stops() -> None:
    queue = Queue(devices_per_job=2)
    training(queue, "a")
    for device in ("gpu0", "gpu1"):
        queue.device_ready(device)
    assert queue.more_devices_wanted("a", 1) == [Lend("a", "gpu1")]
    assert queue.submitted("urgent", BEN, 1)[1:] == [Recall("a", "gpu1")]


def test_a_job_that_lost_its_device_goes_to_another(queue: Queue) -> None:
    queue.device_ready("cuda:0")
    queue.submitted("a")
    queue.device_ready("cuda:1")
    assert queue.device_lost("cuda:0") == [
        StateChanged("a", JobState.QUEUED), StateChanged("a", JobState.RUNNING), Start("a", "cuda:1"),
    ]  # fmt: skip


def test_a_cancelled_job_that_loses_its_device_is_cancelled(queue: Queue) -> None:
    cancelling(queue)
    assert queue.device_lost("cpu") == [CANCELLED]


def test_a_lost_device_gets_nothing_until_it_is_ready_again(queue: Queue) -> None:
    queue.device_ready("cpu")
    assert queue.device_lost("cpu") == []
    assert queue.submitted("a") == [StateChanged("a", JobState.QUEUED)]
    assert queue.device_ready("cpu")[-1] == Start("a", "cpu")


def test_a_job_submitted_again_has_all_its_attempts_before_it(queue: Queue) -> None:
    queue.submitted("a")
    for _ in range(MAX_ATTEMPTS):
        queue.device_ready("cpu")
        queue.device_lost("cpu")
    assert queue.submitted_again("a", 3, 9) == [StateChanged("a", JobState.RECEIVING)]
    assert (queue.jobs["a"].attempts, queue.jobs["a"].priority) == (0, 3)


def test_what_the_table_of_states_does_not_have_does_not_happen(queue: Queue) -> None:
    running(queue)
    with pytest.raises(IllegalTransition):
        queue.submitted_again("a", 0, 2)
    assert queue.state("a") is JobState.RUNNING
    queue.ended("a", JobState.DONE)
    with pytest.raises(IllegalTransition):
        queue.received("a")
    assert queue.state("a") is JobState.DONE


def test_an_idle_device_is_lent_only_if_the_setting_allows_it_and_the_job_asks() -> None:
    for allowed, wanted, lent in ((1, 3, []), (2, 0, []), (2, 3, ["gpu1"]), (4, 1, ["gpu1"])):
        queue = Queue(devices_per_job=allowed)
        queue.submitted("a")
        for number in range(3):
            queue.device_ready(f"gpu{number}")
        commands = queue.more_devices_wanted("a", wanted)
        assert commands == [Lend("a", device) for device in lent]


def test_two_running_jobs_get_idle_devices_in_turn() -> None:
    queue = Queue(devices_per_job=3)
    for job in ("a", "b"):
        queue.submitted(job)
    for device in ("gpu0", "gpu1"):
        queue.device_ready(device)
    assert not queue.more_devices_wanted("a", 2) + queue.more_devices_wanted("b", 2)
    given = [*queue.device_ready("gpu2"), *queue.device_ready("gpu3")]
    assert given == [Lend("a", "gpu2"), Lend("b", "gpu3")]


def test_a_new_job_takes_one_lent_device_back_and_starts_there() -> None:
    queue = Queue(devices_per_job=3)
    queue.submitted("a")
    for device in ("gpu0", "gpu1", "gpu2"):
        queue.device_ready(device)
    queue.more_devices_wanted("a", 2)
    assert queue.submitted("b", BEN)[-1] == Recall("a", "gpu2")
    assert Start("b", "gpu2") in queue.device_ready("gpu2")
    assert queue.ended("b", JobState.DONE)[-1] == Lend("a", "gpu2")


def test_a_job_that_ends_gives_its_devices_back() -> None:
    queue = Queue(devices_per_job=2)
    queue.submitted("a")
    for device in ("gpu0", "gpu1"):
        queue.device_ready(device)
    queue.more_devices_wanted("a", 1)
    assert Recall("a", "gpu1") in queue.ended("a", JobState.DONE)
    assert queue.more_devices_wanted("a", 1) == []


def test_the_loss_of_a_lent_device_costs_its_job_no_attempt() -> None:
    queue = Queue(devices_per_job=2)
    queue.submitted("a")
    for device in ("gpu0", "gpu1"):
        queue.device_ready(device)
    queue.more_devices_wanted("a", 1)
    assert queue.device_lost("gpu1") == []
    assert queue.jobs["a"].attempts == 1
    assert queue.device_ready("gpu1") == [Lend("a", "gpu1")]
