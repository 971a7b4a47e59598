from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import cv2
import pytest

from voidbridge_backend.parallel import THREADS, Pool


def test_results_come_in_order_and_few_are_begun_at_once() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.002 * (item % 3))
        return item * item

    with Pool() as pool:
        taken = []
        for number, result in enumerate(pool.each(work, range(40))):
            taken.append(result)
            assert len(begun) <= number + THREADS + 1
    assert taken == [n * n for n in range(40)]


def test_reading_ahead_is_never_more_than_one_further() -> None:
    begun: list[int] = []
    with Pool() as pool:
        for number, item in enumerate(pool.ahead(lambda n: begun.append(n) or n, range(9))):
            assert item == number
            time.sleep(0.005)
            assert len(begun) <= number + 2


def test_what_work_raises_is_raised_where_it_is_taken() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise TimeoutError("the disk took too long")
        return item

    with Pool() as pool, pytest.raises(TimeoutError, match="the disk"):
        list(pool.each(work, range(9)))


def test_the_heartbeat_goes_on_while_work_takes_long_and_can_end_it() -> None:
    class Stopped(Exception):
        pass

    beats: list[str] = []
    release = threading.Event()

    def heartbeat() -> None:
        beats.append(threading.current_thread().name)
        if len(beats) > 2:
            release.set()
            raise Stopped

    with Pool(heartbeat) as pool, pytest.raises(Stopped):
        list(pool.each(lambda _: release.wait(5), range(2)))
    assert set(beats) == {threading.current_thread().name}


def test_the_heartbeat_of_work_that_hangs_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon takes a heartbeat for life; else a process whose work hangs would be left alone for ever."""
    monkeypatch.setattr("voidbridge_backend.parallel.STILL_S", 5)
    monkeypatch.setattr("voidbridge_backend.parallel.HEARTBEAT_S", 0.01)
    beats: list[int] = []
    looks, most = 0, 50
    begun, release = threading.Event(), threading.Event()

    def seconds() -> float:
        """A second passes with each heartbeat. When the clock was looked at often enough, the work goes on."""
        nonlocal looks
        looks += 1
        if looks > most:
            release.set()
        return float(len(beats))

    def work(_: int) -> bool:
        begun.set()
        return release.wait(120)

    def heartbeat() -> None:
        assert begun.wait(120)
        beats.append(looks)

    monkeypatch.setattr("voidbridge_backend.parallel.time", SimpleNamespace(monotonic=seconds))
    with Pool(heartbeat) as pool:
        assert list(pool.each(work, range(1))) == [True]
    assert len([look for look in beats if look < most]) == 5  # at the end it is finished


def test_opencv_has_no_threads_beside_ours() -> None:
    cv2.setNumThreads(4)
    with Pool() as pool:
        assert set(pool.each(lambda _: cv2.getNumThreads(), range(5))) == {1}


def test_what_runs_ahead_has_its_parts_done_on_all_cores_and_leaves_the_heartbeat_to_who_waits() -> (
    None
):
    beats: set[str] = set()
    with Pool(lambda: beats.add(threading.current_thread().name)) as pool:
        sums = pool.ahead(lambda n: sum(pool.each(lambda m: n * m, range(5))), range(4))
        assert list(sums) == [0, 10, 20, 30]
    assert beats == {threading.current_thread().name}


def test_an_end_does_not_wait_for_parts_that_were_never_begun() -> None:
    begun: list[int] = []

    def part(number: int) -> None:
        begun.append(number)
        time.sleep(0.4)

    def heartbeat() -> None:
        if len(begun) >= THREADS:
            raise TimeoutError("the artist does not wait any longer")

    # One more part than there are threads: the last is thrown away, and what runs ahead must not wait for it.
    with pytest.raises(TimeoutError), Pool(heartbeat) as pool:
        list(pool.ahead(lambda _: list(pool.each(part, range(THREADS + 1))), range(1)))
