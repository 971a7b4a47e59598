"""Another Nuke, in a process of its own, which presses Remove and then dies or quits. Not a test itself.

Arguments: JSON with plugin, folder, shot, daemon, when, how, steps, views.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [
    str(HERE),
    str(HERE.parent / "end_to_end"),
    str(HERE.parent / "backend"),
    str(HERE / "stand_in"),
    *(str(ROOT / name) for name in ("protocol", "backend", "nuke_plugin")),
]


def main(given: dict[str, Any]) -> None:
    import nuke
    import voidbridge_scripts as scripts
    from voidbridge_shots import Shot

    folder = Path(given["folder"])
    nuke.stage.start(Path(given["plugin"]), folder)
    nuke.stage.views = given["views"]

    def end() -> None:
        if given["how"] == "crashes":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(0)

    shot = Shot(Path(given["shot"]), scripts.FRAMES)
    daemon = type("Daemon", (), {"address": given["daemon"]})
    node = scripts.with_echo(
        scripts.node_of(nuke, shot), daemon, cache=folder.as_posix(), steps=given["steps"]
    )
    (folder / "node_id").write_text(node["node_id"].value())
    when = given["when"]
    if when == "rendering":
        nuke.stage.before_frame = lambda frame: end() if frame == 1002 else None
    nuke.stage.press("remove", node)
    if when == "fetching":
        nuke.stage.until(lambda: list(folder.rglob("result.*.exr")), "the first result")
    elif when != "sent":
        nuke.stage.until(lambda: when in node["status"].value(), when)
    end()


main(json.loads(sys.argv[1]))
