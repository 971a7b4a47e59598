"""The parsers of the commands that run the other operations: mask, key, key-report, generate, train."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from voidbridge_backend.cli import options
from voidbridge_backend.cli.commands import generate, jobs, key, mask, mask_frames, train
from voidbridge_backend.cli.common_options import add_daemon_options
from voidbridge_backend.cli.exits import EXITS
from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.submission import Submission


def add_mask(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: (
            mask_frames.run(o, mask.typed_prompts(o), options.client(o))
            if o.one_file
            else mask.mask(mask.mask_options(o), options.client(o), o.json, o.overwrite)
        )
    )
    parser.epilog = f"{mask.EPILOG}\n\n{EXITS}"
    mask.add_mask_options(parser)
    mask_frames.add_options(parser)
    add_daemon_options(parser, local=True)


def add_key(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: jobs.run(
            lambda *_: key.key_submission(o),
            options.client(o),
            o.output,
            o.json,
            o.status_file,
            o.frames_from_stdin,
            o.overwrite,
        )
    )
    parser.epilog = f"{key.SHAPE}\n\n{EXITS}"
    key.add_key_options(parser)
    add_daemon_options(parser, local=True)


def add_key_report(parser: Any) -> None:
    parser.set_defaults(run=key.key_report)
    key.add_report_options(parser)


def add_generate(parser: Any) -> None:
    parser.set_defaults(run=lambda o: _generate(o, options.client(o)))
    parser.epilog = f"{generate.SHAPE}\n\n{EXITS}"
    generate.add_generate_options(parser)
    add_daemon_options(parser, local=True)


def _generate(parsed: argparse.Namespace, client_options: ClientOptions) -> None:
    if parsed.shots:
        generate.generate_shots(parsed, client_options)
        return

    def submission(*_: Any) -> Submission:
        if parsed.frames_from_stdin:
            generate.wait_for_frames(sys.stdin.buffer)
        return generate.generate_submission(parsed)

    jobs.run(
        submission,
        client_options,
        parsed.output,
        parsed.json,
        parsed.status_file,
        overwrite=parsed.overwrite,
    )


def add_train(parser: Any) -> None:
    parser.set_defaults(run=lambda o: train.train(o, options.client(o)))
    parser.epilog = EXITS
    train.add_train_options(parser)
    add_daemon_options(parser, local=True)
