"""Every command with its summary, in the order of `voidbridge --help`.

The options of a command are imported only when it is used, which halves the time of its start.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class CommandEntry:
    """One command."""

    name: str
    summary: str
    """Its line in `voidbridge --help`."""
    module: str
    """The module in `parsers/` with its function `add_NAME`."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds the options of the command, and the function that runs it."""
        add: Callable[[argparse.ArgumentParser], None] = getattr(
            import_module(f"voidbridge_backend.cli.parsers.{self.module}"),
            f"add_{self.name.replace('-', '_')}",
        )
        add(parser)


COMMANDS = (
    CommandEntry("run", "remove an object from a shot and wait for the result", "remove"),
    CommandEntry("survey", "look at a whole shot once, for later jobs of its ranges", "remove"),
    CommandEntry("submit", "send a shot to a daemon and print the job's id", "remove"),
    CommandEntry("farm", "write a job bundle for a farm: one task for each shot", "farm"),
    CommandEntry(
        "mask",
        "track an object from clicks, a box or a few key mattes, and write its mattes",
        "operations",
    ),
    CommandEntry("key", "unmix a green or blue screen into foreground and alpha", "operations"),
    CommandEntry(
        "key-report",
        "measure a key from its files, and against a true alpha if there is one",
        "operations",
    ),
    CommandEntry(
        "generate",
        "make new frames: between two clips, beyond a clip, or again inside one",
        "operations",
    ),
    CommandEntry("train", "train a LoRA for a show from its dataset", "operations"),
    CommandEntry(
        "estimate",
        "estimate time and memory of a job from earlier jobs, before it is sent",
        "jobs",
    ),
    CommandEntry("serve", "run the daemon", "daemon"),
    CommandEntry("status", "show the jobs of a daemon, or one of them", "jobs"),
    CommandEntry("fetch", "wait for a job and write its results", "jobs"),
    CommandEntry("cancel", "stop a job", "jobs"),
    CommandEntry(
        "web", "serve a page for the browser: queue, jobs, player, clicks, new jobs", "tools"
    ),
    CommandEntry(
        "demo",
        "render a small shot with known truth, remove its object, report and draw a picture",
        "tools",
    ),
    CommandEntry(
        "mask-ask",
        "ask a vision language model which areas an object affects; sends only with --send",
        "tools",
    ),
    CommandEntry(
        "report", "measure a result from its files, around its hole and against a truth", "tools"
    ),
    CommandEntry("doctor", "check the installation, with a tiny round trip", "tools"),
    CommandEntry(
        "support-bundle",
        "write versions, settings, health, jobs and log into one file, without names and paths",
        "tools",
    ),
    CommandEntry(
        "scrub",
        "check every file of a stopped daemon's spool against its hash, and repair it",
        "daemon",
    ),
    CommandEntry("models", "list, check and fetch the files of engines that have weights", "tools"),
    CommandEntry("dataset", "make the pairs for `train` from the clips of a show", "tools"),
    CommandEntry(
        "archive",
        "copy or move versions of a host's results to another place, with a manifest",
        "tools",
    ),
    CommandEntry("keys", "make and show keys, and list the keys that a daemon allows", "daemon"),
    CommandEntry("install", "write the plug-in of a host", "tools"),
    CommandEntry("selftest", "write a script that tests the plug-in in a real host", "tools"),
    CommandEntry("config", "show every setting, its value and its origin", "daemon"),
)
