"""A farm task: nuke -t voidbridge_farm.py shot.nk --node=Voidbridge1

Needs the folder of this file on NUKE_PATH. The script comes first, because Nuke reads a bare number at the end
as a frame range.
"""

import sys

from voidbridge_nuke.farm import main

sys.exit(main(sys.argv[1:]))
