"""A Nuke without a GUI, as a farm starts one: -t SCRIPT.py WORDS..., or -x SHOT.nk FIRST,LAST. Not a test itself.

Arguments: the plug-in's folder, one for its own files, the init.py of the site, then those of Nuke.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [
    str(HERE.parent / "end_to_end"),
    str(HERE.parent / "backend"),
    str(HERE / "stand_in"),
    *(str(ROOT / name) for name in ("protocol", "backend")),
]


def main(plugin: str, folder: str, init: str, flag: str, script: str, *words: str) -> None:
    import nuke

    nuke.GUI = False
    nuke.stage.start(Path(plugin), Path(folder))
    runpy.run_path(init)
    if flag == "-t":
        sys.argv = [script, *words]
        runpy.run_path(script)
        return
    nuke.scriptOpen(script)
    first, last = (int(word) for word in words[0].split(","))
    writes = [node for node in nuke.allNodes("Write") if not node["disable"].value()]
    try:
        nuke.executeMultiple(writes, ((first, last, 1),), nuke.views())
    except RuntimeError as error:
        sys.exit(str(error))
    finally:
        print("\n".join(nuke.stage.said))


main(*sys.argv[1:])
