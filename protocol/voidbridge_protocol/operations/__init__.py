"""The operations: each a kind of job, with its settings and the roles of its files.

An operation is a module of this package that defines `OPERATION`; nothing else lists it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from voidbridge_protocol.errors import BadMessage

from .operation import Operation, Role

__all__ = ["Operation", "Role", "operation", "operations"]


@cache
def operations() -> dict[str, Operation]:
    """Every operation by its name."""
    names = (found.name for found in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    found = (getattr(module, "OPERATION", None) for module in modules)
    return {operation.name: operation for operation in found if operation}


def operation(name: str) -> Operation:
    """The operation of this name. Raises `BadMessage`."""
    if name not in operations():
        known = ", ".join(operations())
        raise BadMessage(f"unknown operation {ascii(name)[:60]}; there are {known}")
    return operations()[name]
