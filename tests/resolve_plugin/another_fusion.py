"""Another Fusion, in a process of its own, which presses Remove and then dies or quits. Not a test itself.

Arguments: JSON with plugin, folder, shot, daemon, when, how, steps. The comp is saved before Remove is pressed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [
    str(HERE),
    str(HERE.parent / "end_to_end"),
    str(HERE.parent / "backend"),
    *(str(ROOT / name) for name in ("protocol", "backend")),
]


def main(given: dict[str, Any]) -> None:
    import voidbridge_fusion as fusion
    import voidbridge_fusion_tools as tools
    from voidbridge_fusion_shots import FILES, tool_of
    from voidbridge_shots import Shot

    folder, when = Path(given["folder"]), given["when"]
    host = fusion.Stage(Path(given["plugin"]), folder)
    shot = Shot(Path(given["shot"]), FILES)
    group = tool_of(host, host.comp(), shot, given["daemon"], steps=given["steps"])
    host.press(group, "Fetch")  # gives the tool its id
    (folder / "saved.json").write_text(json.dumps(group.children[0].data))

    def end() -> None:
        if given["how"] == "crashes":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)  # as a program that quits: no thread of it goes on

    write = tools.Tool.write

    def write_or_end(tool: Any, frame: int) -> None:
        if when == "rendering" and frame == 1:
            end()
        write(tool, frame)

    tools.Tool.write = write_or_end  # type: ignore[method-assign]
    host.press(group, "Remove")
    if when == "fetching":
        while not list(folder.rglob("result.*.exr")):
            time.sleep(0.02)
    elif when != "sending":
        host.until(group, lambda status: status.startswith(when))
    end()


main(json.loads(sys.argv[1]))
