"""When a worker hangs, when it is started again, and when its device is given up for a while."""

from __future__ import annotations

import pytest

from voidbridge_backend.daemon.workers.watchdog import (
    BACKOFF_S,
    FAILURES_S,
    HEARTBEAT_S,
    IDLE,
    MISSED,
    PROBE_S,
    DeviceHealth,
    Heartbeat,
    NodeHealth,
    Timeouts,
)

PATIENCE = Timeouts(start=10, load=100, first=50, step=5)


@pytest.mark.parametrize(
    ("stage", "patience"),
    [
        ("starting", 10),
        ("loading the engine", 100),
        ("loading the model", 100),
        ("reading the prompt", 100),
        ("compiling the transformer", 100),
        ("removing", 50),
        ("a stage that nobody has named", 50),
    ],
)
def test_the_limit_is_that_of_the_stage(stage: str, patience: float) -> None:
    heartbeat = Heartbeat(PATIENCE, 1000.0)
    heartbeat.step(2000.0, stage)
    assert not heartbeat.hangs(2000.0 + patience)
    assert heartbeat.hangs(2000.1 + patience)
    heartbeat.beat(2000.0 + patience)
    assert not heartbeat.hangs(2000.1 + patience)
    assert heartbeat.silence(2001.0 + patience) == 1


def test_a_worker_that_never_gets_ready_hangs_and_an_idle_one_never() -> None:
    heartbeat = Heartbeat(PATIENCE, 0.0)
    assert heartbeat.hangs(10.1)
    heartbeat.step(10.2, IDLE)
    assert not heartbeat.hangs(1e9)


@pytest.mark.parametrize(("pace", "patience"), [(0.1, 5), (0.9, 5), (2.0, 10), (60.0, 300)])
def test_an_engine_whose_pace_is_known_has_five_steps_and_a_least_time(
    pace: float, patience: float
) -> None:
    heartbeat, now = Heartbeat(PATIENCE, 0.0), 0.0
    for number in range(200):
        now += pace if number % 10 else 20 * pace  # some take longer, which is not its pace
        heartbeat.step(now, "removing")
    assert not heartbeat.hangs(now + patience - 0.01)
    assert heartbeat.hangs(now + patience + 0.01)
    heartbeat.step(now + patience, "refining")  # another stage, of another pace
    assert not heartbeat.hangs(now + patience + 50)


def test_a_worker_counts_as_stalled_two_heartbeats_after_its_last_step() -> None:
    heartbeat = Heartbeat(PATIENCE, 0.0)
    heartbeat.step(0.0, "removing")
    assert not heartbeat.stalls(49.0)  # nobody knows how long it takes
    for now in range(1, 5):
        heartbeat.step(float(now), "removing")
    assert not heartbeat.stalls(4 + MISSED * HEARTBEAT_S)
    assert heartbeat.stalls(4.1 + MISSED * HEARTBEAT_S)
    for now in range(100, 2000, 20):
        heartbeat.step(float(now), "removing")
    assert not heartbeat.stalls(1980 + MISSED * 20)
    assert heartbeat.stalls(1980.1 + MISSED * 20)
    heartbeat.step(5000.0, IDLE)
    assert not heartbeat.stalls(1e9)


def test_other_signs_of_life_are_no_steps_but_put_off_the_end() -> None:
    heartbeat = Heartbeat(PATIENCE, 0.0)
    for now in (0.0, 2.0, 4.0, 6.0):
        heartbeat.step(now, "removing")
        for part in range(20):
            heartbeat.beat(now + part / 20)
    assert not heartbeat.hangs(6.95 + 10)  # five steps of two seconds
    assert heartbeat.hangs(7.0 + 10)


def test_three_failures_of_the_device_within_ten_minutes_are_quarantine() -> None:
    device = DeviceHealth()
    for now in (0.0, 299.0):
        device.failed(now, "a bus error")
        assert not device.why
    device.failed(FAILURES_S - 1, "a bus error")
    assert device.why == "a bus error"
    assert not device.may_start(FAILURES_S - 2 + PROBE_S)
    assert device.may_start(FAILURES_S - 1 + PROBE_S)


def test_three_failures_over_a_day_are_not() -> None:
    device = DeviceHealth()
    for hour in range(24):
        device.failed(3600.0 * hour, "a power cut")
        device.ended_well()
        assert not device.why


def test_one_job_that_kills_every_worker_is_not_the_fault_of_the_device() -> None:
    device = DeviceHealth()
    for now in range(6):
        device.failed(float(now), "a crash", job="poison")
    assert not device.why
    device.failed(6.0, "a crash", job="another")
    assert not device.why
    device.failed(7.0, "a crash", job="a third")
    assert device.why


def test_pauses_grow_until_a_job_ends_well() -> None:
    device = DeviceHealth()
    now = 0.0
    for pause in (*BACKOFF_S, BACKOFF_S[-1]):
        now += FAILURES_S
        device.failed(now, "a crash", job="poison")
        assert not device.may_start(now + pause - 0.01)
        assert device.may_start(now + pause)
    device.ended_well()
    device.failed(now + FAILURES_S, "a crash", job="poison")
    assert device.may_start(now + FAILURES_S + BACKOFF_S[0])


def test_the_way_back_is_a_start_that_succeeds_and_then_probation() -> None:
    device = DeviceHealth()
    for _ in range(3):
        device.failed(0.0, "gone")
    device.failed(PROBE_S, "still gone")  # the probe failed
    assert device.why == "gone"
    assert not device.may_start(2 * PROBE_S - 1)
    device.is_ready()
    assert not device.why
    device.failed(2 * PROBE_S - 1, "gone again")
    assert device.why == "gone again"


def test_a_pardon_forgets_everything() -> None:
    device = DeviceHealth()
    for _ in range(5):
        device.failed(0.0, "gone")
    device.reset_quarantine()
    assert device.may_start(0.0)
    device.failed(1.0, "gone")
    assert not device.why
    assert device.may_start(1.0 + BACKOFF_S[0])


def test_a_node_that_is_lost_three_times_rests_and_comes_back_on_probation() -> None:
    node = NodeHealth()
    for when in (0.0, 1.0, 100.0, 101.0):  # two cards each time
        node.lost(when, "no answer")
    assert node.may_start(102.0)
    node.lost(200.0, "no answer")
    assert node.why == "lost 3 times: no answer"
    assert not node.may_start(200.0 + PROBE_S - 1)
    assert node.may_start(200.0 + PROBE_S)
    node.lost(201.0 + PROBE_S, "no answer")
    assert not node.may_start(202.0 + PROBE_S)
    node.reset_quarantine()
    assert node.may_start(203.0 + PROBE_S)


def test_losses_of_a_node_that_lie_far_apart_are_no_reason_to_rest() -> None:
    node = NodeHealth()
    for count in range(10):
        node.lost(count * FAILURES_S, "no answer")
    assert node.may_start(10 * FAILURES_S)
