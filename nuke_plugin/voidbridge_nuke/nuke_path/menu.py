"""Nuke runs this file in a session with a GUI, after init.py."""

import voidbridge_nuke.startup

voidbridge_nuke.startup.menu()
