"""A job that nobody wants any more stops wherever it is, between two steps of its engine too."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from voidbridge_shots import exr_bytes, picture, square

from voidbridge_backend.engines.base import Clip, JobContext, Pixels
from voidbridge_backend.engines.echo.engine import Echo
from voidbridge_backend.render import remove
from voidbridge_backend.render.job import RenderJob
from voidbridge_backend.worker.process import CancelledJobs
from voidbridge_protocol.errors import JobCancelled
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request, ResultFile

FRAMES = range(1001, 1041)


class Deaf(Echo):
    """Looks at its watch never, and is told to stop after so many frames."""

    def __init__(self, cancelled_future: Future[None], after: int) -> None:
        self._unwanted, self._after = cancelled_future, after
        self.made = 0

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        for frame in clip.frames:
            yield frame, clip.plate(frame)
            self.made += 1
            if self.made == self._after:
                self._unwanted.set_result(None)


class Silent:
    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


@pytest.mark.parametrize("after", [1, 7, len(FRAMES)])
def test_it_stops_though_its_engine_does_not_look(tmp_path: Path, after: int) -> None:
    files = []
    for frame in FRAMES:
        for role, channels in (("matte", {"A": square()}), ("plate", picture(frame))):
            data = exr_bytes(channels)
            name = hashlib.sha256(data).hexdigest()
            (tmp_path / name).write_bytes(data)
            files.append(FrameFile(role, frame, name, len(data)))
    settings = RemoveSettings(engine="echo", color_space="ACEScg")
    request = Request(FRAMES[0], FRAMES[-1], settings, tuple(sorted(files, key=str)))
    (folder := tmp_path / "results").mkdir()
    announced: list[ResultFile] = []
    order = RenderJob("job", request, lambda sha256: tmp_path / sha256, folder)
    engine = Deaf(order.cancelled_future, after)
    with pytest.raises(JobCancelled):
        remove.run(order, engine, Silent(), announced.append)
    assert engine.made == after
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(written) == {f"{result.frame}.exr" for result in announced}
    for result in announced:
        data = written[f"{result.frame}.exr"]
        assert hashlib.sha256(data).hexdigest() == result.sha256


def test_what_was_said_of_one_run_is_not_meant_for_the_next() -> None:
    cancelled_future = CancelledJobs()
    first, other = cancelled_future.of("a"), cancelled_future.of("b")
    cancelled_future.stop("a")
    cancelled_future.stop("a")
    assert (first.done(), other.done()) == (True, False)
    cancelled_future.forget("a")
    again = cancelled_future.of("a")
    assert not again.done()
    cancelled_future.stop("a")
    assert again.done()
    cancelled_future.stop_all()
    assert other.done()
    assert cancelled_future.of("to come").done()


def test_who_waits_is_woken_at_once() -> None:
    cancelled_future = CancelledJobs()
    waiting = cancelled_future.of("a")
    thread = threading.Thread(target=cancelled_future.stop, args=("a",))
    thread.start()
    assert waiting.result(timeout=120) is None
    thread.join()
