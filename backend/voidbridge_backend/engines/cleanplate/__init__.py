"""The default engine: finds the background where other frames show it."""

from .engine import Cleanplate

__all__ = ["Cleanplate"]
