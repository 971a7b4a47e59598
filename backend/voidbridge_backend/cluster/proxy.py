"""The process on the daemon's machine that stands for a worker on a node: the same lines in and out.

It reads commands from standard input and writes events to standard output, as `worker.process` does. It starts the
actor, sends a job's frames before the job, and writes each result into the spool, whole and checked, before it
announces it. Two events are its own: `away`, if the node or its actor is lost, and `worker_exit`, with the exit
code of the worker on the node.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from voidbridge_backend.worker import daemon_pipes
from voidbridge_backend.worker.task_files import CHECKPOINT, answer_path, task_path
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import ClusterUnusable, DamagedFile, DiskFull, VoidbridgeError
from voidbridge_protocol.wire.request_payload import decode_request

from . import session
from .card import Card, checkpoints
from .delivery import THREADS, Delivery, DeliveryStopped, Incoming, damaged
from .frame_socket import ConnectionBroke
from .node_cache import PIECE
from .watch import DEVICE

EXIT_AWAY = 76
"""Exit code: the node cannot be reached."""
CONNECT_S = 30.0
"""Seconds until the cluster has answered. A connection that was begun while its head started may never be made."""
PLACE_S = 60.0
"""Seconds for the actor's start; a unit that another program holds is not free by then."""
MOST_TRIES = 3
"""Times that the frames of a job are sent, if the node's cache loses them before the job starts."""
IN_FLIGHT = 4
"""Objects on their way from the node."""
ORDERS, FILES = "orders", "files"
"""Concurrency groups of the actor: a cancel never waits for a file."""


class Proxy:
    """One actor and the daemon that commands it. `send` writes an event for the daemon."""

    def __init__(self, setup: Mapping[str, Any], send: Callable[..., None]) -> None:
        self._cluster = dict(setup["cluster"])
        self._setup = {name: value for name, value in setup.items() if name != "cluster"}
        self._device = str(setup["device"])
        self._send = send
        self._lock = threading.Lock()
        self._job = ""
        self._stop = threading.Event()
        """Set when the job whose frames are being sent should not run."""
        self._is_running = False
        """The worker on the node has the job."""
        self._target = Path()
        """The folder of arriving files."""
        self._command: Mapping[str, Any] = {}
        self._tries = 0
        self._failure: VoidbridgeError | None = None
        """The reason why the running job fails, whatever the worker says."""

    def start(self) -> None:
        """Starts the actor. Ends this process if that fails."""
        name, _, unit = self._device.removeprefix(DEVICE).rpartition("/")
        late = threading.Timer(
            CONNECT_S, self._away, ["the cluster did not answer: is its head up?"]
        )
        late.daemon = True
        late.start()  # while the head starts, Ray may wait without end
        session.connect(self._cluster["address"])
        node = session.node_names().get(name)
        if node is None:
            self._away(f"the node {name} is not in the cluster")
        self._node_id = node["NodeID"]
        self._card = self._actor(int(unit))
        late.cancel()
        try:
            about = ray.get(self._call("about"), timeout=PLACE_S)
        except GetTimeoutError:
            self._away(f"{self._device} did not start within {PLACE_S:.0f} s: is it taken?")
        except RayError as error:
            self._blame(error)
        if about["unusable"]:
            self._unusable(about["unusable"])
        if about["version"] != __version__:
            self._unusable(
                f"{about['host']} has voidbridge {about['version']}, the daemon has {__version__}"
            )
        self._delivery = Delivery(
            lambda method, *given: ray.get(self._call(method, *given, group=FILES)),
            ray.get(self._call("listen", node["NodeManagerAddress"])),
            Path(self._setup["spool"]) if self._cluster["by_path"] else None,
            self._progress,
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def receive(self, commands: Iterable[bytes]) -> None:
        """Executes the daemon's commands until their end, then stops the worker."""
        try:
            for line in commands:
                command = json.loads(line)
                match command["do"]:
                    case "run":
                        self._command, self._tries = command, 0
                        self._begin()
                    case "cancel":
                        self._cancel(command)
                    case "assist":
                        self._assist(command)
                    case "assisted":
                        self._answered(command)
                    case _:
                        ray.get(self._call("tell", command))
            with self._lock:
                self._stop.set()
            ray.get(self._call("stop"))
        except RayError as error:
            self._away(_short(error))

    def forward(self) -> None:
        """Passes on the worker's events, until it ends."""
        generator = self._card.lines.options(
            num_returns="streaming", _generator_backpressure_num_objects=IN_FLIGHT
        ).remote()
        incoming: Incoming | None = None
        try:
            for reference in generator:
                kind, data = ray.get(reference)
                if kind == "data":
                    incoming = incoming or Incoming(self._target)
                    self._attempt(partial(incoming.add, data))
                elif kind == "line":
                    self._forward_line(json.loads(data), incoming)
                    incoming = None
                else:
                    self._send("worker_exit", code=int(data))
                    return
        except RayError as error:
            self._away(_short(error))

    # -- inside -------------------------------------------------------------------------------------

    def _actor(self, unit: int) -> Any:
        resource = self._cluster["resource"]
        held = {"num_gpus": 1} if resource == "GPU" else {"resources": {resource: 1}}
        made = ray.remote(
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={ORDERS: 2, FILES: THREADS},
            scheduling_strategy=NodeAffinitySchedulingStrategy(self._node_id, soft=False),
            # The card is the unit's own, not one that Ray assigns: a quarantine has to meet the right one.
            runtime_env={"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}},
            **held,
        )(Card)
        setup = {**self._setup, "probe": self._setup.get("probe") and resource == "GPU"}
        capacity = int(self._cluster["cache_gb"]) << 30
        return made.remote(unit, setup, self._cluster["cache"], capacity)

    def _call(self, method: str, *given: Any, group: str = ORDERS) -> Any:
        return getattr(self._card, method).options(concurrency_group=group).remote(*given)

    def _watch(self) -> None:
        """Ends this process if the actor does not answer: Ray itself notices a stopped one never."""
        patience, pause = float(self._cluster["lost_s"]), threading.Event()
        while True:
            try:
                ray.get(self._call("ping"), timeout=patience)
            except GetTimeoutError:
                self._away(f"{self._device} did not answer for {patience:.0f} s")
            except RayError as error:
                self._away(_short(error))
            pause.wait(patience / 4)

    def _begin(self) -> None:
        with self._lock:
            self._job, self._is_running, self._failure = self._command["job"], False, None
            self._stop = threading.Event()
            self._target = Path(self._command["folder"])
            self._tries += 1
        threading.Thread(target=self._deliver, args=(self._command, self._stop)).start()

    def _deliver(self, command: Mapping[str, Any], stop: threading.Event) -> None:
        """Sends the frames of a job, then the job."""
        try:
            request = Path(command["request"]).read_bytes()
            self._send_all(command, request, stop)
        except DeliveryStopped:
            self._end("cancelled")
        except DamagedFile as error:
            self._end("failed", **_as_fields(error), files=error.files)
        except VoidbridgeError as error:
            self._end("failed", **_as_fields(error), files=())
        except RayError as error:
            self._away(_short(error))
        except ConnectionBroke as error:
            self._away(f"{self._device}: {error}")

    def _send_all(self, command: Mapping[str, Any], request: bytes, stop: threading.Event) -> None:
        objects = Path(command["objects"])
        names = [file.sha256 for file in decode_request(request).files]
        run = uuid.uuid4().hex
        self._send_checkpoints(run, Path(command["folder"]), stop)
        for _ in range(MOST_TRIES):
            self._delivery.send(objects, names, stop, by_path=self._tries == 1)
            with self._lock:  # a cancel that arrives now waits until the worker has the job
                if stop.is_set():
                    raise DeliveryStopped
                lacking = ray.get(self._call("begin", command["job"], run, objects.name, request))
                self._is_running = not lacking
            if not lacking:
                return
            # Another worker of the node cleaned the cache in between.
        raise DiskFull(
            f"the cache of {self._device} cannot hold the {len(names)} frames of this job",
            "Raise the setting ray_cache_gb, or free space on the node's disk.",
        )

    def _send_checkpoints(self, run: str, folder: Path, stop: threading.Event) -> None:
        """Sends the node what an earlier attempt left to go on from."""
        for path in checkpoints(folder):
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    if stop.is_set():
                        raise DeliveryStopped
                    ray.get(self._call("go_on", run, path.name, piece, group=FILES))

    def _cancel(self, command: Mapping[str, Any]) -> None:
        with self._lock:
            if command["job"] != self._job:
                return
            self._stop.set()
            if not self._is_running:
                return  # `_deliver` notices
        ray.get(self._call("tell", command))

    def _assist(self, command: Mapping[str, Any]) -> None:
        """Gives the worker a part of a job that another one runs."""
        try:
            data = task_path(Path(command["folder"]), command["task"]).read_bytes()
        except OSError as error:
            self._send("assisted", task=command["task"], why=f"its task is gone: {error.strerror}")
            return
        with self._lock:
            self._job, self._is_running, self._failure = command["job"], True, None
            self._target = Path(command["answers"])
            self._target.mkdir(parents=True, exist_ok=True)
        ray.get(self._call("assist", command["task"], data, command))

    def _answered(self, command: Mapping[str, Any]) -> None:
        """Passes the worker the answer to a part of its job, of which the daemon has the file."""
        if command["job"] != self._job:
            return
        path = answer_path(self._target, command["task"])
        with suppress(FileNotFoundError):  # the job has just ended
            data = b"" if command["why"] else path.read_bytes()
            for file in (path, task_path(self._target, command["task"])):
                file.unlink(missing_ok=True)
            ray.get(self._call("answered", data, command))

    def _end(self, event: str, **more: Any) -> None:
        with self._lock:
            self._job, self._is_running = "", False
        self._send(event, **more)

    def _forward_line(self, event: dict[str, Any], incoming: Incoming | None) -> None:
        kind = event.pop("event")
        if kind in ("result", "done") and incoming and not self._failure:
            name = f"{event['frame']}.exr" if kind == "result" else "provenance.json"
            sha256 = event["sha256"] if kind == "result" else event["provenance"]
            if incoming.sha256 != sha256:
                self._unusable(f"{name} of {self._device} arrived damaged")
            self._attempt(lambda: incoming.publish(name))
        elif kind in ("ask", "assisted") and incoming and not self._failure:
            path = {"ask": task_path, "assisted": answer_path}[kind](Path(), event["task"])
            self._attempt(lambda: incoming.publish(path.name))
        if (kept := event.pop("kept", "")) and incoming:
            self._attempt(lambda: incoming.publish(f"{CHECKPOINT}{Path(kept).suffix[1:]}"))
        if kind == "assisted":
            self._end(kind, **event)
        elif kind not in ("done", "failed", "cancelled"):
            if not self._failure:
                self._send(kind, **event)
        elif self._failure:
            self._end("failed", **_as_fields(self._failure), files=())
        elif kind == "failed" and event.get("files"):
            self._meet_damage(event)
        else:
            self._end(kind, **event)

    def _meet_damage(self, event: Mapping[str, Any]) -> None:
        """Answers damage to frames on the node, which has dropped them: the daemon's own are sent again, once."""
        if self._stop.is_set():
            self._end("cancelled")
        elif self._tries == 1:
            self._begin()
        elif own := damaged(Path(self._command["objects"]), event["files"]):
            self._end("failed", **{**event, "files": own})
        else:
            self._unusable(f"frames that are whole here are damaged on {self._device}, twice")

    def _attempt(self, work: Callable[[], object]) -> None:
        """Does something with the daemon's disk. If that fails, the job stops, and fails of it."""
        try:
            work()
        except VoidbridgeError as error:
            self._failure = error
            ray.get(self._call("tell", {"do": "cancel", "job": self._job}))

    def _progress(self, done: int, total: int) -> None:
        stage = f"sending frames to {self._device}"
        self._send("progress", stage=stage, step=done, of=total, seconds_left=-1.0)

    def _blame(self, error: RayError) -> NoReturn:
        """Ends this process: the device is at fault if its node still lives."""
        try:
            is_alive = any(n["NodeID"] == self._node_id and n["Alive"] for n in ray.nodes())
        except Exception:  # the head is gone as well
            is_alive = False
        if is_alive:
            self._unusable(_short(error))
        self._away(_short(error))

    def _away(self, text: str) -> NoReturn:
        self._send("away", text=text)
        os._exit(EXIT_AWAY)

    def _unusable(self, text: str) -> NoReturn:
        self._send("unusable", text=text)
        os._exit(EXIT_AWAY)


def _short(error: Exception) -> str:
    """Returns the line of a Ray error that names its cause, without the trace of the node's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def _as_fields(error: VoidbridgeError) -> dict[str, str]:
    return {"code": error.code, "text": error.text, "hint": error.hint}


def main() -> None:
    """Runs until standard input ends, or the worker on the node does."""
    send, setup = daemon_pipes.opened()
    if setup is None:
        return  # the daemon is gone already
    proxy = Proxy(setup, send)
    try:
        proxy.start()
    except ClusterUnusable as error:
        send("away", text=error.text)
        os._exit(EXIT_AWAY)
    threading.Thread(target=proxy.receive, args=(sys.stdin.buffer,), daemon=True).start()
    proxy.forward()
    os._exit(0)  # Ray's own way out takes a second; the actor ends with this process


if __name__ == "__main__":
    main()
