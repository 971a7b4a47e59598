"""The exit codes of `voidbridge`."""

from __future__ import annotations

from voidbridge_protocol.errors import (
    DaemonError,
    JobCancelled,
    ProtocolError,
    RequestError,
    VoidbridgeError,
)

EXIT_DONE, EXIT_REQUEST, EXIT_DAEMON, EXIT_JOB, EXIT_CANCELLED = 0, 2, 3, 4, 5
EXITS = "exit codes: 0 done, 2 bad request, 3 daemon unreachable, 4 job failed, 5 cancelled"


def exit_code(error: VoidbridgeError) -> int:
    """Maps a branch of the error tree to its exit code."""
    if isinstance(error, JobCancelled):
        return EXIT_CANCELLED
    if isinstance(error, RequestError):
        return EXIT_REQUEST
    if isinstance(error, (DaemonError, ProtocolError)):
        return EXIT_DAEMON
    return EXIT_JOB
