"""Decides which frames are completed, if only some of a shot's are wanted.

The other frames are sources only. One case needs more: a gap that no frame shows takes its picture from earlier
frames of the scene, so these are completed too. Then the wanted frames have the same bits as in the whole shot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.parallel import Pool

from .frame import Removal, Task, Voted
from .motion.analyze_camera import Shot


@dataclass
class Schedule:
    """The order of one shot's work. `tasks` returns all frames with a hole anew, in order."""

    shot: Shot
    tasks: Callable[[], Iterable[Task]]
    wanted: Collection[int]
    """Those of the frames with a task whose result is asked for."""
    _done: set[int] = field(default_factory=set)
    _whole: set[int] = field(default_factory=set)
    """Scenes all of whose frames are completed, up to the last wanted one."""

    def completed(
        self, removal: Callable[[], Removal], pool: Pool
    ) -> Iterator[tuple[Voted, Pixels]]:
        """Yields each wanted frame, and its plate without what was in the hole. `removal` makes a new one."""
        while left := {*self.wanted} - self._done:
            yield from self._run(removal(), left, pool)

    def _run(self, removal: Removal, left: set[int], pool: Pool) -> Iterator[tuple[Voted, Pixels]]:
        """Goes through the shot, up to a gap that earlier frames have to fill."""
        # A frame is completed while the next one's sources vote: alone, neither has work for all cores.
        for voted in pool.ahead(removal.voted, self._due(left)):
            scene = self.shot.camera.scene(voted.frame)
            if scene not in self._whole and voted.is_late and removal.lacks(voted):
                self._whole.add(scene)
                return
            light = removal.completed(voted)
            self._done.add(voted.frame)
            if voted.frame in left:
                yield voted, light

    def _due(self, left: set[int]) -> Iterator[Task]:
        """The tasks to do. Each knows those before it that were passed over."""
        last, passed, late = max(left), list[Task](), set[int]()
        for task in self.tasks():
            frame, scene = task.frame, self.shot.camera.scene(task.frame)
            if frame > last:
                return
            if frame in left or (scene in self._whole and frame not in self._done):
                yield replace(task, passed=tuple(passed), is_late=scene in late)
                passed = []
            else:
                passed.append(task)
                if frame not in self._done:
                    late.add(scene)
