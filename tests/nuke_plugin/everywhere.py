"""Prints the answers of the host-free modules as JSON, for a comparison of every Python that Nuke has.

Not a test itself. The first argument is an empty folder, the second the folder of the package.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
sys.dont_write_bytecode = True

from voidbridge_nuke import (  # noqa: E402
    cache,
    child_environment,
    group,
    job,
    knobs,
    migrate,
    operations,
    request,
)
from voidbridge_nuke.job_status import line  # noqa: E402

FOLDER = Path(sys.argv[1]).as_posix()
CHILD = """
import json, os, sys, time
def put(**fields):
    with open(sys.argv[1] + ".tmp", "w") as file:
        file.write(json.dumps(dict(fields, alive=time.time())))
    os.replace(sys.argv[1] + ".tmp", sys.argv[1])
put(phase="working", text="pass 1 12 of 30, about 40 s left", fraction=0.4)
sys.stdin.readline()
sys.stdout.write("PYTHONHOME" in os.environ and "leaked" or "clean")
put(phase="failed", text="ungl\\u00fcck", hint="h", code="job.engine")
sys.exit(4)
"""

values = {knob.name: knob.default for knob in knobs.with_values(operations.REMOVE.knobs)}
values["prompt"] = "--eine Straße"
scene = request.Scene((1001, 1100), {"plate": "", "matte": ""}, ("main",), "linear")
asked = request.resolve(values, scene)
version = cache.begin(FOLDER + "/é 1", [FOLDER + "/é 1"], asked)
said = []
files = job.ChildFiles(version.folder + "/status.main.json", version.folder + "/output.main.txt")
environment = child_environment.child_environment(
    dict(os.environ, PYTHONHOME="/of/the/host"), "", child_environment.rules()
)
child = job.Child([sys.executable, "-c", CHILD, files.status], files, environment, fed=True)


def on_status(status):
    said.append(line(status))
    child.write_line("1001-1002")


status, errors = job.follow(files, child, lambda: False, on_status)
said.append(line(status))
answers = {
    "command": request.command(["voidbridge"], asked, "/c", "main"),
    "differences": request.differences(request.described(asked), {}),
    "same": cache.read(version.folder) == version,
    "missing": len(cache.missing(version)),
    "discarded": cache.discard(version),
    "said": said,
    "end": [status.phase, line(status), errors],
    "group": [group.text(operation=one) for one in operations.OPERATIONS.values()],
    "plan": [knob.name for knob in migrate.plan(0, {"seed"}).add][:3],
}
sys.stdout.write(json.dumps(answers, sort_keys=True))
