"""Prints the answers of the host-free modules as JSON, for a comparison of every Python that Nuke has.

Not a test itself. The first argument is an empty folder, the second the folder of the package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
sys.dont_write_bytecode = True

from voidbridge_nuke import cache, group, job, knobs, migrate, request  # noqa: E402
from voidbridge_nuke.job_status import line  # noqa: E402

FOLDER = Path(sys.argv[1]).as_posix()
CHILD = """
import json, os, sys
print(json.dumps({"event": "accepted", "job": "j1"}), flush=True)
print("no JSON")
print(json.dumps({"event": "status", "state": "running", "stage": "pass 1", "step": 12, "of": 30,
                  "seconds_left": 40.0}), flush=True)
print(json.dumps({"event": "error", "code": "job.engine", "text": "ungl\\u00fcck", "hint": "h", "exit": 4}))
sys.stderr.write("PYTHONHOME" in os.environ and "leaked" or "clean")
sys.exit(4)
"""

values = {knob.name: knob.default for knob in knobs.with_values()}
values["prompt"] = "--eine Straße"
scene = request.Scene((1001, 1100), True, True, False, ("main",), "linear")
asked = request.resolve(values, scene)
version = cache.begin(FOLDER + "/é 1", [FOLDER + "/é 1"], asked)
said = []
status, errors = job.follow(
    job.Child([sys.executable, "-c", CHILD], fed=True),
    lambda: False,
    lambda status: said.append(line(status)),
)
answers = {
    "command": request.command(["voidbridge"], asked, "/c", "main"),
    "differences": request.differences(request.described(asked), {}),
    "same": cache.read(version.folder) == version,
    "missing": len(cache.missing(version)),
    "discarded": cache.discard(version),
    "said": said,
    "end": [status.phase, line(status), errors],
    "group": group.text(),
    "plan": [knob.name for knob in migrate.plan(0, {"seed"}).add][:3],
}
sys.stdout.write(json.dumps(answers, sort_keys=True))
