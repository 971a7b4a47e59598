"""An HTTP port for monitoring: liveness, readiness and metrics.

It listens on 127.0.0.1 only, and only if a port is set. It serves the last report of the daemon's own thread,
so a hung daemon counts as dead even though this port answers. It names no job, no user and no file.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from voidbridge_protocol.errors import RequestError

from .metrics import STATES, Metrics

log = logging.getLogger(__name__)

ALIVE_S = 10.0
"""The daemon's thread reports every second; after this many seconds without a report it hangs."""
CONNECTIONS = 16
"""Open connections; a probe needs one for a few milliseconds."""
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""A web page that points its own host name here sends another one."""


class HttpServer:
    """Serves until it is closed. Raises `RequestError` if the port is taken."""

    def __init__(self, port: int, software: str) -> None:
        self._latest: tuple[float, Metrics] | None = None
        registry = CollectorRegistry()
        registry.register(_PrometheusCollector(self, software))
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise RequestError(
                f"cannot listen on 127.0.0.1:{port} for HTTP: {error.strerror or error}",
                "Choose another port with the setting http_port, or 0 for none.",
            ) from error
        self._server.monitor, self._server.registry = self, registry
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def publish(self, metrics: Metrics) -> None:
        """Called from the daemon's own thread."""
        self._latest = time.monotonic(), metrics

    @property
    def alive(self) -> bool:
        """True if the daemon's thread is working."""
        return self._latest is not None and time.monotonic() - self._latest[0] < ALIVE_S

    @property
    def latest(self) -> Metrics | None:
        """The last report."""
        return self._latest[1] if self._latest else None


class _Server(ThreadingHTTPServer):
    """At most `CONNECTIONS` at once: the oldest is closed for a new one, however slowly it speaks."""

    daemon_threads = True
    request_queue_size = 64
    monitor: HttpServer
    registry: CollectorRegistry

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[Any, None] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            oldest = next(iter(self._open)) if len(self._open) >= CONNECTIONS else None
            self._open.pop(oldest, None)
            self._open[request] = None
        if oldest is not None:
            with suppress(OSError):  # its thread hears of that, and ends
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is no fault of the daemon, and writes nothing into its log."""
        log.debug("a connection for HTTP broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "voidbridge", ""
    timeout = 5.0

    def do_GET(self) -> None:
        monitor = self.server.monitor
        host = self.headers.get("Host", "127.0.0.1").rsplit(":", 1)[0]
        if host not in HOSTS:
            self._respond(403, {"error": "this port serves the local machine only"})
        elif self.path == "/health/live":
            self._respond(200 if monitor.alive else 503, {"alive": monitor.alive})
        elif self.path == "/health/ready":
            self._ready(monitor)
        elif self.path == "/metrics":
            self._send(200, generate_latest(self.server.registry), CONTENT_TYPE_LATEST)
        else:
            self._respond(404, {"error": "there are /health/live, /health/ready and /metrics"})

    def _ready(self, monitor: HttpServer) -> None:
        if not monitor.alive or monitor.latest is None:
            self._respond(503, {"ready": False, "text": "the daemon does not answer"})
        else:
            health = monitor.latest.health
            self._respond(200 if health.ready else 503, asdict(health))

    def _respond(self, code: int, content: dict[str, Any]) -> None:
        self._send(code, json.dumps(content).encode() + b"\n", "application/json")

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Suppresses request logs, because probes come every few seconds."""


class _PrometheusCollector(Collector):
    """Builds the metrics for Prometheus from the latest report on each request."""

    def __init__(self, monitor: HttpServer, software: str) -> None:
        self._monitor = monitor
        self._software = software

    def collect(self) -> Iterator[Any]:
        yield InfoMetricFamily("voidbridge", "The daemon", {"software": self._software})
        yield _gauge("alive", "1 while the daemon's own thread works", self._monitor.alive)
        metrics = self._monitor.latest
        if metrics is None:
            return
        health = metrics.health
        yield _gauge("ready", "1 while a job would be run", self._monitor.alive and health.ready)
        yield _gauge("disk_free_bytes", "Free on the disk of the spool", health.free)
        yield _gauge("spool_bytes", "Bytes in the spool at the last scan", metrics.spool)
        yield _gauge("clients", "Connected now", metrics.clients)
        yield _counter("spool_deleted_bytes", "Deleted from the spool", metrics.deleted)
        yield _counter("damaged_files", "Found changed on the disk", health.damaged)
        yield _counter("worker_starts", "Worker processes started", metrics.starts)
        jobs = GaugeMetricFamily("voidbridge_jobs", "Jobs in the table", labels=["state"])
        for state, count in metrics.jobs.items():
            jobs.add_metric([state], count)
        yield jobs
        ended = CounterMetricFamily(
            "voidbridge_jobs_ended", "Jobs that ended", labels=["state", "code"]
        )
        for (state, code), count in metrics.ended.items():
            ended.add_metric([state, code], count)
        yield ended
        yield from _devices(metrics)


def _devices(metrics: Metrics) -> Iterator[Any]:
    states = GaugeMetricFamily(
        "voidbridge_device", "1 for the state of each device", labels=["device", "state"]
    )
    silence = GaugeMetricFamily(
        "voidbridge_device_silence_seconds",
        "Seconds since the last step of the engine, while it has work",
        labels=["device"],
    )
    for device in metrics.health.devices:
        for state in STATES:
            states.add_metric([device.name, state], device.state == state)
        silence.add_metric([device.name], device.silence)
    yield states
    yield silence


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"voidbridge_{name}", description, value=value)


def _counter(name: str, description: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"voidbridge_{name}", description, value=value)
