"""Frames in other formats than OpenEXR, as if they had come in one."""
