"""The entry point of the command `voidbridge`.

It parses the arguments, runs the function of the command, and turns an error into a text and an exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from voidbridge_backend.client.openjd.view import show_failure
from voidbridge_backend.client.progress import show_error
from voidbridge_backend.worker import malloc
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import BadSetting, JobCancelled, VoidbridgeError

from .argument_parser import Parser
from .command_table import COMMANDS
from .exits import EXIT_CANCELLED, EXIT_DONE, EXITS, exit_code

WEB_PACKAGES = ("starlette", "uvicorn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    malloc.keep_large_blocks()
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = argparse.Namespace(json="--json" in words)
    try:
        options = parser().parse_args(words)
        run: Callable[[argparse.Namespace], int | None] = options.run
        return run(options) or EXIT_DONE
    except VoidbridgeError as error:
        return _fail(options, error)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("voidbridge"):
            raise
        extra = "backend,web" if error.name in WEB_PACKAGES else "backend"
        missing = BadSetting(
            f"this needs the package {error.name}, which is not installed",
            f"Install the needed packages with: pip install 'voidbridge[{extra}]'",
        )
        return _fail(options, missing)
    except KeyboardInterrupt:
        return _fail(options, JobCancelled("stopped"))
    except BrokenPipeError:
        _discard_output()
        return EXIT_CANCELLED


def _fail(options: argparse.Namespace, error: VoidbridgeError) -> int:
    """Prints an error and returns its exit code, even if nobody reads the text."""
    code = exit_code(error)
    try:
        show_error(getattr(options, "json", False), error, code)
        if getattr(options, "openjd", False):
            show_failure(error)
    except BrokenPipeError:
        _discard_output()
    return code


def _discard_output() -> None:
    """Discards output that nobody reads any more. Python would fail again when it flushes the rest at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands. Each command adds its options when it is used."""
    top = Parser(
        prog="voidbridge",
        description="Removes an object, and its shadow or reflection, from a film plate.",
        epilog="`voidbridge COMMAND --help` shows its options. `voidbridge @FILE` reads arguments from a file, "
        "one per line. " + EXITS,
        fromfile_prefix_chars="@",
    )
    top.add_argument("--version", action="version", version=__version__)
    subparsers = top.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.add_options = command.add_options
    return top
