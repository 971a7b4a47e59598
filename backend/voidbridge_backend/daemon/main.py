"""Assembles a daemon from its settings and runs it until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import sqlite3
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from voidbridge_backend import config as settings
from voidbridge_backend import log_format
from voidbridge_backend.config import Config
from voidbridge_backend.engines import registry
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import RequestError
from voidbridge_protocol.wire import local_socket
from voidbridge_protocol.wire.messages import MAX_CHUNK, Limits

from .files.cleanup import Cleanup
from .files.downloads import Downloads
from .files.file_import import FileImport
from .files.rate_limit import RateLimit
from .files.shares import Shares
from .files.uploads import Uploads
from .handlers import Handlers
from .jobs.request_parser import RequestParser
from .jobs.scrub import Scrub
from .jobs.service import JobService
from .mailbox import Mailbox
from .net import allowed_keys
from .net.clients import Clients
from .net.endpoints import Endpoints
from .net.notifications import Notifications
from .net.router import Router
from .server import Daemon
from .store.io_threads import IoThreads
from .store.retention import DAY_S, Policy
from .store.salvage import open_store, require_sound
from .store.spool import Spool
from .submissions import Submissions
from .workers.cluster import Cluster
from .workers.pool import WorkerPool
from .workers.watchdog import Timeouts

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)

MOST_FILES = 16_384
"""File descriptors, enough for thousands of clients."""
COLLECT_AFTER = 50_000
"""Objects that are made before Python looks for cycles among them. Its own 700 go through a large request again and
again while it is read."""
SWITCH_S = 0.001
"""A thread that parses gives way to the daemon's own so often."""
MOST_DAMAGES, DAMAGES_S = 4, 600.0
"""So often in so many seconds the job table may be damaged; then the disk is at fault, and the daemon ends."""
SOFTWARE = f"voidbridge {__version__}"


def serve(config: Config, *, until_stdin_closes: bool = False) -> None:
    """Returns after SIGTERM, SIGINT, or, if requested, when standard input ends. SIGHUP ends quarantines.

    Raises `RequestError` if the address or the spool is in use, `BadKey` if the address needs keys.
    """
    log_format.setup(sys.stderr)
    gc.set_threshold(COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_S)
    current = _Current()
    _handle_signals(current, config.drain_s)
    if until_stdin_closes:
        threading.Thread(target=_stop_at_end_of_input, args=(current,), daemon=True).start()
    damages: deque[float] = deque(maxlen=MOST_DAMAGES)
    while True:
        try:
            _serve_once(config, current, probe=not until_stdin_closes, is_suspect=bool(damages))
            return
        except sqlite3.DatabaseError as error:
            log.error("the job table is damaged: %s; starting again with what can be read", error)
            damages.append(time.monotonic())
            if len(damages) == MOST_DAMAGES and damages[-1] - damages[0] < DAMAGES_S:
                raise RequestError(
                    f"the job table was damaged {MOST_DAMAGES} times in {DAMAGES_S / 60:.0f} minutes: {error}",
                    "Check the disk and the memory of this machine, or choose another spool with --spool.",
                ) from error


class _Current:
    """The daemon that serves. If its job table is damaged, another one takes its place."""

    def __init__(self) -> None:
        self._daemon: Daemon | None = None
        self._stopped: float | None = None
        """Seconds of patience with which it was stopped, if it was."""

    def set(self, daemon: Daemon) -> None:
        self._daemon = daemon
        if self._stopped is not None:
            daemon.stop(self._stopped)

    def stop(self, drain_s: float = 0.0) -> None:
        self._stopped = drain_s
        if self._daemon:
            self._daemon.stop(drain_s)

    def reset_quarantine(self) -> None:
        if self._daemon:
            self._daemon.reset_quarantine()


def _serve_once(config: Config, current: _Current, *, probe: bool, is_suspect: bool) -> None:
    """Serves until it is told to stop. Raises `sqlite3.DatabaseError` if the job table is damaged meanwhile."""
    addresses = Endpoints.of(local_socket.resolved(config.listen))
    auth = allowed_keys.auth_of(addresses, config.keys, config.require_keys)
    devices = settings.devices(config, settings.count_cards())
    shares = Shares(config.shares, closed=(config.spool, config.keys))
    for folder in shares.missing:
        log.warning("the shared folder %s does not exist: files are uploaded until it does", folder)
    jobs = job_service(config, is_suspect)
    try:
        jobs.recover()
        mailbox = Mailbox()
        router = Router(addresses, auth, max_unauthenticated=_open_files() // 4)
        worker_pool = WorkerPool(
            devices,
            _worker_setup(config, probe),
            Timeouts(load=config.load_s, step=config.stall_s),
            jobs,
            mailbox.put,
        )
        daemon = _assembled(config, mailbox, router, jobs, worker_pool, shares)
        current.set(daemon)
        log.info("devices: %s; spool: %s", ", ".join(devices) or "none here", config.spool)
        with _watched(daemon, config.http_port), _cluster(config, mailbox, worker_pool):
            daemon.serve()
    finally:
        with suppress(sqlite3.Error):
            jobs.store.close()
    log.info("stopped")


def scrub(config: Config, dry_run: bool = False) -> Scrub:
    """Returns the check of a spool whose daemon does not run. Raises `RequestError` while it runs.

    With `dry_run` it deletes nothing, and raises `DamagedFile` for a damaged table instead of putting it aside.
    """
    if dry_run:
        Spool(config.spool)
        require_sound(config.spool / "jobs.db")
    jobs = job_service(config)
    jobs.recover(drops_strays=not dry_run)
    return Scrub(jobs)


def job_service(config: Config, is_suspect: bool = False) -> JobService:
    """Opens the jobs of a spool, which one process can have at a time. Raises `RequestError`.

    With `is_suspect` every page of the table is checked, not only what the daemon reads.
    """
    spool = Spool(config.spool)  # locks the folder of the job table
    return JobService(
        open_store(config.spool / "jobs.db", is_suspect),
        spool,
        tuple(registry.available()),
        config.keep_free_mb << 20,
        config.max_jobs,
        config.user_share,
        config.devices_per_job,
    )


def _cluster(
    config: Config, mailbox: Mailbox, worker_pool: WorkerPool
) -> AbstractContextManager[object]:
    """Follows the devices of the cluster, if one is set. Raises `BadSetting` or `ClusterUnusable`."""
    if not config.ray:
        return nullcontext()
    return Cluster(
        config.ray,
        config.ray_resource,
        lambda present, why: mailbox.put(lambda: worker_pool.set_remote(present, why)),
    )


def _worker_setup(config: Config, probe: bool) -> dict[str, Any]:
    """Returns the settings that each worker process receives."""
    return {
        "models": str(config.models),
        "ocio": config.ocio,
        "probe": probe,
        "pixels": config.max_megapixels * 1_000_000,
        "growth": config.decode_memory_mb << 20,
        "bills": config.bills,
        "sandbox": config.sandbox,
        "spool": str(config.spool.absolute()),
        "cluster": {
            "address": config.ray,
            "resource": config.ray_resource,
            "cache": config.ray_cache,
            "cache_gb": config.ray_cache_gb,
            "by_path": config.ray_by_path,
            "lost_s": config.ray_lost_s,
        },
    }


def _assembled(
    config: Config,
    mailbox: Mailbox,
    router: Router,
    job_service: JobService,
    worker_pool: WorkerPool,
    shares: Shares,
) -> Daemon:
    """Connects the parts of a daemon."""
    spool, epoch = job_service.spool, uuid.uuid4().hex
    io_threads = IoThreads(spool, mailbox.put)
    parser = RequestParser(spool, mailbox.put)
    rate_limit = RateLimit(config.max_upload_mb_s * 1_000_000)
    clients = Clients(router, config.max_clients, job_service.store.is_committed)
    cleanup = Cleanup(job_service, spool, io_threads, _policy(config), clients.is_watched)
    file_import = FileImport(shares, spool, io_threads, epoch, mailbox.put)
    limits = Limits(
        chunk=min(MAX_CHUNK, config.window_mb << 20),
        window=config.window_mb << 20,
        file=config.max_file_mb << 20,
        frames=config.max_frames,
    )
    uploads = Uploads(
        job_service, io_threads, cleanup, limits, rate_limit, file_import, clients.send_bulk
    )
    clients.on_left = uploads.leave
    handlers = Handlers(
        clients,
        job_service,
        worker_pool,
        Submissions(
            clients,
            job_service,
            parser,
            cleanup,
            worker_pool,
            limits,
            config.max_priority,
            config.models,
        ),
        uploads,
        Downloads(job_service, io_threads, limits, clients.unsent, clients.send_bulk),
        file_import,
        Notifications(clients, job_service),
        limits,
        SOFTWARE,
        epoch,
    )
    return Daemon(mailbox, handlers, io_threads, parser, rate_limit)


def _policy(config: Config) -> Policy:
    return Policy(
        keep=config.keep_days * DAY_S,
        unfetched=config.unfetched_days * DAY_S,
        quota=config.spool_gb << 30,
        keep_free=config.keep_free_mb << 20,
    )


def _handle_signals(daemon: _Current, drain_s: float) -> None:
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop(drain_s))
    signal.signal(signal.SIGINT, lambda *_: daemon.stop())
    if hasattr(signal, "SIGHUP"):  # in a terminal it means that the terminal is gone
        hang_up = daemon.stop if sys.stdin.isatty() else daemon.reset_quarantine
        signal.signal(signal.SIGHUP, lambda *_: hang_up())


def _open_files() -> int:
    """Raises the limit of descriptors as far as allowed; each client takes two."""
    if sys.platform == "win32":
        return MOST_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS has further limits
        return soft
    return wanted


@contextmanager
def _watched(daemon: Daemon, port: int) -> Iterator[None]:
    """Serves health and metrics, if a port is set."""
    if not port:
        yield
        return
    from .observe.http import HttpServer

    with HttpServer(port, SOFTWARE) as monitor:
        daemon.report = monitor.publish
        log.info("health and metrics on http://127.0.0.1:%d", monitor.port)
        yield


def _stop_at_end_of_input(daemon: _Current) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    daemon.stop()
