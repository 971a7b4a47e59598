"""Nuke runs this file in every session, with or without a GUI."""

import nuke

nuke.pluginAddPath("./python")
nuke.pluginAddPath("./icons")

import voidbridge_nuke.startup  # noqa: E402

nuke.addOnScriptLoad(voidbridge_nuke.startup.loaded)
nuke.addBeforeRender(voidbridge_nuke.startup.before_render)
