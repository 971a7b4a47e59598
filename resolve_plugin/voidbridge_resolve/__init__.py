"""The tool for Fusion: a macro, a Lua module, scripts. It is copied into Fusion's folders; no code imports it."""
