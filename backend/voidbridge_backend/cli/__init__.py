"""The command line. `main` is the entry point."""

from .exits import (
    EXIT_CANCELLED,
    EXIT_DAEMON,
    EXIT_DONE,
    EXIT_JOB,
    EXIT_REQUEST,
    exit_code,
)
from .main import main, parser

__all__ = [
    "EXIT_CANCELLED",
    "EXIT_DAEMON",
    "EXIT_DONE",
    "EXIT_JOB",
    "EXIT_REQUEST",
    "exit_code",
    "main",
    "parser",
]
