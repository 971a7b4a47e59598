"""Assembles a daemon from its settings and runs it until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from voidbridge_backend import config as settings
from voidbridge_backend import log_format
from voidbridge_backend.config import Config
from voidbridge_backend.engines import registry
from voidbridge_protocol import __version__, local_socket
from voidbridge_protocol.messages import MAX_CHUNK, Limits

from .files.rate_limit import RateLimit
from .files.retention import DAY_S, Policy
from .files.shares import Shares
from .files.spool import Spool
from .jobs.salvage import open_store
from .jobs.service import JobService
from .net import allowed_keys
from .net.endpoints import Endpoints
from .net.router import Router
from .server import Daemon
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
SOFTWARE = f"voidbridge {__version__}"


def serve(config: Config, *, until_stdin_closes: bool = False) -> None:
    """Returns after SIGTERM, SIGINT, or, if requested, when standard input ends. SIGHUP ends quarantines.

    Raises `RequestError` if the address or the spool is in use, `BadKey` if the address needs keys.
    """
    log_format.setup(sys.stderr)
    gc.set_threshold(COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_S)
    addresses = Endpoints.of(local_socket.resolved(config.listen))
    auth = allowed_keys.auth_of(addresses, config.keys, config.require_keys)
    devices = settings.devices(config, settings.count_cards())
    policy = Policy(
        keep=config.keep_days * DAY_S,
        unfetched=config.unfetched_days * DAY_S,
        quota=config.spool_gb << 30,
        keep_free=config.keep_free_mb << 20,
    )
    shares = Shares(config.shares, closed=(config.spool, config.keys))
    for folder in shares.missing:
        log.warning("the shared folder %s does not exist: files are uploaded until it does", folder)
    spool = Spool(config.spool)
    store = open_store(config.spool / "jobs.db")
    job_service = JobService(
        *(store, spool, tuple(registry.available())),
        *(policy.keep_free, config.max_jobs, config.user_share),
    )
    job_service.recover()
    setup = {
        "models": str(config.models),
        "ocio": config.ocio,
        "probe": not until_stdin_closes,
        "pixels": config.max_megapixels * 1_000_000,
        "growth": config.decode_memory_mb << 20,
        "bills": config.bills,
    }
    patience = Timeouts(load=config.load_s, step=config.stall_s)
    daemon = Daemon(
        Router(addresses, auth, max_unauthenticated=_open_files() // 4),
        job_service,
        spool,
        lambda tell: WorkerPool(devices, setup, patience, job_service, spool, tell),
        policy,
        Limits(
            chunk=min(MAX_CHUNK, config.window_mb << 20),
            window=config.window_mb << 20,
            file=config.max_file_mb << 20,
            frames=config.max_frames,
        ),
        config.max_clients,
        config.max_priority,
        RateLimit(config.max_upload_mb_s * 1_000_000),
        shares,
        SOFTWARE,
    )
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop(config.drain_s))
    signal.signal(signal.SIGINT, lambda *_: daemon.stop())
    if hasattr(signal, "SIGHUP"):  # in a terminal it means that the terminal is gone
        hang_up = daemon.stop if sys.stdin.isatty() else daemon.reset_quarantine
        signal.signal(signal.SIGHUP, lambda *_: hang_up())
    if until_stdin_closes:
        threading.Thread(target=_stop_at_end_of_input, args=(daemon,), daemon=True).start()
    log.info("devices: %s; spool: %s", ", ".join(devices), config.spool)
    with _watched(daemon, config.http_port):
        daemon.serve()
    store.close()
    log.info("stopped")


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


def _stop_at_end_of_input(daemon: Daemon) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    daemon.stop()
