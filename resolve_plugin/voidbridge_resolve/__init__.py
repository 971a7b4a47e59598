"""The tool for Fusion: a macro, a Lua module, scripts. Copied to where Fusion looks; nothing is imported."""
