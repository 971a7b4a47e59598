"""A farm's task: nuke -t voidbridge_farm.py shot.nk --node=Voidbridge1

Needs the folder of this file on NUKE_PATH. The script is named first, because Nuke takes a bare number at the
end for a frame range.
"""

import sys

from voidbridge_nuke.farm import main

sys.exit(main(sys.argv[1:]))
