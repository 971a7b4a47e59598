"""Read by Nuke when it has a GUI, after init.py."""

import voidbridge_nuke.startup

voidbridge_nuke.startup.menu()
