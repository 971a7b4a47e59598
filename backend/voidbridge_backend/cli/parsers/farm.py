"""The parser of the command `farm`."""

from __future__ import annotations

from typing import Any

from voidbridge_backend.cli.commands import farm
from voidbridge_backend.cli.common_options import add_json_option, add_overwrite_option
from voidbridge_backend.cli.exits import EXITS

from .remove import SHAPE, add_shot_options


def add_farm(parser: Any) -> None:
    parser.set_defaults(run=farm.farm)
    parser.epilog = f"{SHAPE}\n{farm.SHAPE}\n\n{EXITS}"
    add_shot_options(parser, needs_matte=False, needs_plate=False)
    parser.add_argument("-o", "--output", metavar="RESULT", help="result sequence or folder")
    parser.add_argument(
        "--bundle", required=True, metavar="FOLDER", help="folder for the job's files"
    )
    parser.add_argument("--shots", metavar="TABLE", help="a CSV file of many shots")
    parser.add_argument(
        "--chunk",
        type=int,
        metavar="N",
        help="frames of each task; a task sees the whole plate and makes the same pixels; not for void",
    )
    parser.add_argument("--name", metavar="NAME", help="name of the job on the farm")
    parser.add_argument(
        "--for",
        dest="farm",
        choices=farm.FARMS,
        default=farm.FARMS[0],
        help="the farm that takes the files (default openjd)",
    )
    parser.add_argument(
        "--task",
        action="append",
        metavar="COMMAND",
        help="a command instead of shots, as the task of a Nuke node; repeatable",
    )
    parser.add_argument(
        "--then",
        metavar="COMMAND",
        default="",
        help='a command that waits for all shots, as "nuke -x comp.nk 1001,1100"',
    )
    parser.add_argument(
        "--send",
        metavar="COMMAND",
        default="",
        help="command of your site that sends the files, run in their folder; own: the farm's own command",
    )
    parser.add_argument(
        "--service",
        default="voidbridge",
        help="service that Tractor's blades offer (default voidbridge)",
    )
    parser.add_argument(
        "--show", default="voidbridge", help="show that OpenCue knows (default voidbridge)"
    )
    add_overwrite_option(parser)
    needs = parser.add_argument_group("the farm's machines")
    needs.add_argument("--gpus", type=int, metavar="N", help="cards (default: 1 for void, else 0)")
    needs.add_argument("--vcpus", type=int, default=2, metavar="N", help="cores (default 2)")
    needs.add_argument("--memory-gb", type=int, default=8, metavar="N", help="memory (default 8)")
    add_json_option(parser)
