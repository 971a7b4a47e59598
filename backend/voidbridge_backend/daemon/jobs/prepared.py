"""Prepares a request on another thread, so that the daemon's own thread does not have to.

A job of 20,000 frames names 60,000 files: parsing, hashing and looking for them takes a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from voidbridge_backend.daemon.store.spool import Spool, UserFile
from voidbridge_protocol.errors import RequestError
from voidbridge_protocol.wire.messages import Request

MANY = 500
"""From so many files on the whole folder is listed, instead of a lookup for each file."""


@dataclass(frozen=True)
class Prepared:
    """A parsed request and its files in the spool at that moment. Made on any thread."""

    user: str
    request: Request
    job: str
    canonical: bytes
    files: list[UserFile]
    """The files of the request, in the order of `request.files`."""
    sizes: Mapping[UserFile, int]
    """Each file once, with its size in bytes."""
    names: list[str]
    """The hashes of these files, sorted."""
    lacking: Mapping[UserFile, int]
    """Those of `sizes` that are not complete in the spool."""
    partial: Mapping[UserFile, int]
    """Bytes in the spool of those that are not complete."""
    generation: int

    @classmethod
    def of(cls, user: str, request: Request, spool: Spool) -> Prepared:
        """Raises `RequestError` when one file is announced with two sizes."""
        generation = spool.generation
        files = [UserFile(user, file.sha256) for file in request.files]
        sizes: dict[UserFile, int] = {}
        for file, announced in zip(files, request.files, strict=True):
            if sizes.setdefault(file, announced.size) != announced.size:
                raise RequestError(
                    f"the file {file.sha256[:12]} is announced with {sizes[file]} and with "
                    f"{announced.size} bytes",
                    "Hash the files again: one of the two is wrong.",
                )
        there, partial = _found(user, sizes, spool)
        canonical = request.canonical()
        key = hashlib.sha256(user.encode() + b"\0" + canonical).hexdigest()[:24]
        names = sorted(file.sha256 for file in sizes)
        lacking = {file: size for file, size in sizes.items() if file not in there}
        return cls(user, request, key, canonical, files, sizes, names, lacking, partial, generation)


def _found(
    user: str, sizes: Mapping[UserFile, int], spool: Spool
) -> tuple[set[UserFile], dict[UserFile, int]]:
    if len(sizes) < MANY:
        there = {file for file, size in sizes.items() if spool.has(file, size)}
        lacks = sizes.keys() - there
        return there, {file: have for file in lacks if (have := spool.partial(file))}
    whole = spool.all_of(user)
    there = {file for file, size in sizes.items() if whole.get(file) == size}
    parts = spool.parts_of(user)
    return there, {file: parts[file] for file in parts.keys() & sizes.keys() if parts[file]}
