"""The actor on a node: it starts the worker process, passes its lines on, and keeps frames on the node's disk.

The class knows nothing of Ray. `proxy`, which makes an actor of it, calls its methods.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from voidbridge_backend.config import allocator_settings, count_cards, only_card, without_own
from voidbridge_backend.worker.task_files import CHECKPOINT, answer_path, task_path
from voidbridge_protocol import __version__
from voidbridge_protocol.wire.request_payload import decode_request

from .frame_socket import FramePlace, FrameReceiver
from .node_cache import PIECE, NodeCache

NODE = "NODE"
"""The name of the node's folder in texts that leave it."""
LENT = "lent"
"""Folder of the parts of other workers' jobs, below the worker's own."""


class Card:
    """One unit of the cluster's resource, `unit` counting from 0, with its worker.

    Start it on the main thread: the worker ends with the thread that started it.
    """

    def __init__(self, unit: int, setup: Mapping[str, Any], cache: str, capacity: int) -> None:
        """`setup` is the first command to the worker; `capacity` bounds the cache, in bytes."""
        self._cache = NodeCache(Path(cache).expanduser(), capacity, unit)
        self._user = self._run = ""
        self._unusable = ""
        device = device_of(unit, count_cards())
        if not device:
            self._unusable = f"{socket.gethostname()} has no card {unit}"
            return
        local_name, changed = only_card(device, os.environ)
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "voidbridge_backend.worker.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**_without_ray(os.environ), **allocator_settings(os.environ), **changed},
        )
        own = {
            "device": device,
            "local_name": local_name,
            "spool": str(self._cache.folder),
            "work": str(self._cache.work),
        }
        self.tell({**setup, **own})
        self._cache.clean()

    def about(self) -> dict[str, str]:
        """Returns the release on this node, and why its card cannot be used, if so."""
        return {"version": __version__, "host": socket.gethostname(), "unusable": self._unusable}

    def ping(self) -> None:
        """Returns at once: the actor lives and can be reached."""

    def tell(self, command: Mapping[str, Any]) -> None:
        """Passes a command to the worker. A dead one is noticed by `lines`."""
        assert self._worker.stdin
        with suppress(BrokenPipeError, ValueError):
            self._worker.stdin.write(json.dumps(command).encode() + b"\n")
            self._worker.stdin.flush()

    def stop(self) -> None:
        """Ends the worker at its next step."""
        assert self._worker.stdin
        with suppress(OSError):
            self._worker.stdin.close()

    # -- frames in ----------------------------------------------------------------------------------

    def sees(self, path: str, nonce: str) -> bool:
        """Returns True if this node reads `nonce` in the file at `path`: both sides see the same disk."""
        try:
            return Path(path).read_text() == nonce
        except (OSError, UnicodeDecodeError):
            return False

    def missing(self, user: str, names: list[str]) -> list[str]:
        return self._cache.missing(user, names)

    def listen(self, host: str) -> FramePlace:
        """Returns the place to which frames are sent, at the address `host` of this node."""
        self._receiver = FrameReceiver(self._cache, host)
        return self._receiver.place

    def import_file(self, user: str, name: str, path: str) -> bool:
        return self._cache.import_file(user, name, Path(path))

    def go_on(self, run: str, name: str, piece: bytes) -> None:
        """Adds a piece to a file that an earlier attempt left, from which the next one, `run`, goes on."""
        folder = self._cache.results(run)
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / name).open("ab") as file:
            file.write(piece)

    def begin(self, job: str, run: str, user: str, request: bytes) -> list[str]:
        """Gives a job to the worker, unless frames are missing: then it returns their hashes.

        `run` names this attempt: no two attempts at a job share a folder.
        """
        names = tuple(file.sha256 for file in decode_request(request).files)
        lacking = self._cache.begin(run, user, names)
        if lacking:
            return lacking
        self._user, self._run = user, run
        order = self._cache.inputs(run) / "request.json"  # where the worker writes nothing
        order.write_bytes(request)
        command = {
            "request": str(order),
            "objects": str(self._cache.inputs(run)),
            "folder": str(self._cache.results(run)),
        }
        self.tell({"do": "run", "job": job, **command})
        return []

    def assist(self, task: int, data: bytes, command: Mapping[str, Any]) -> None:
        """Gives the worker a part of a job that another worker runs."""
        folder = self._cache.results(LENT)
        folder.mkdir(mode=0o700, exist_ok=True)
        task_path(folder, task).write_bytes(data)
        self.tell({**command, "folder": str(folder), "answers": str(folder)})

    def answered(self, data: bytes, command: Mapping[str, Any]) -> None:
        """Passes the worker the answer to a part of its own job. One that arrives after its end is dropped."""
        with suppress(FileNotFoundError):
            answer_path(self._cache.results(self._run), command["task"]).write_bytes(data)
            self.tell(command)

    # -- lines and results out ----------------------------------------------------------------------

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Yields ("line", an event), before it ("data", a piece) of the file that it announces, then ("end", code).

        Pieces are read one after another while a reader takes them, so few are under way.
        """
        assert self._worker.stdout
        for line in self._worker.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a partial line of a killed worker
            run, name = self._run, _file_of(event)
            if event["event"] == "assisted":
                yield from self._answer(event)
            elif name:
                yield from self._file(self._cache.results(run) / name)
            if event["event"] == "failed" and event.get("files"):
                self._cache.forget(self._user, event["files"])
            if event["event"] == "cancelled" and (kept := checkpoints(self._cache.results(run))):
                yield from self._file(kept[0])
                line = json.dumps({**event, "kept": kept[0].name}).encode()
            if event["event"] in ("done", "failed", "cancelled"):
                self._cache.end(run)
                self._cache.clean()
            yield "line", line.replace(str(self._cache.folder).encode(), NODE.encode())
        code = self._worker.wait()
        if self._run:
            self._cache.end(self._run)
        yield "end", str(code).encode()

    def _answer(self, event: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yields the answer to a part of another worker's job, if there is one, and removes its files."""
        folder, task = self._cache.results(LENT), int(event["task"])
        if not event["why"]:
            yield from self._file(answer_path(folder, task))
        for path in (task_path(folder, task), answer_path(folder, task)):
            path.unlink(missing_ok=True)

    def _file(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Yields a plain file of the worker: no link that it made leads elsewhere, and no pipe is waited for."""
        with open(path, "rb", opener=_plain_file) as file:
            while piece := file.read(PIECE):
                yield "data", piece


def device_of(unit: int, cards: int) -> str:
    """Returns the node's own name of a unit: its card of this number, or the processor if it has no cards.

    Empty if it has cards, but none of this number.
    """
    if not cards:
        return "cpu"
    return f"cuda:{unit}" if unit < cards else ""


def checkpoints(folder: Path) -> list[Path]:
    """Returns the files in a job's folder from which its next attempt goes on."""
    return sorted(folder.glob(f"{CHECKPOINT}*"))


def _file_of(event: Mapping[str, Any]) -> str:
    """Returns the name of the file that an event announces; empty if none."""
    if event["event"] == "result":
        return f"{int(event['frame'])}.exr"
    if event["event"] == "ask":
        return task_path(Path(), int(event["task"])).name
    return "provenance.json" if event["event"] == "done" else ""


def _plain_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _without_ray(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without Ray's variables: the worker gets no token. Nor has it a key of a client."""
    own = without_own(environ)
    return {name: value for name, value in own.items() if not name.startswith("RAY_")}
