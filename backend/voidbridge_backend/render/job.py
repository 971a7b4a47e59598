"""One job as a renderer sees it, whatever its operation, and the record that its results carry.

A renderer is the function `run(job, engine, context, announce)` of a module in this folder; the module has the name
of the operation. It writes FRAME.exr into `job.folder` for every frame of the request and returns the provenance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from voidbridge_backend.engines.base import JobContext, LendsDevices
from voidbridge_backend.exr import seal
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import DamagedFile, JobCancelled
from voidbridge_protocol.request import FrameFile, Request
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.wire.values import ResultFile

from .decode_limits import UNBOUNDED, DecodeLimits

READ_SIZE = 1 << 20
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC NewsCodes, "Digital Source Type"."""
MODEL = "io.voidbridge.model"
"""Parameter of the action: which weights made the frames."""
WEIGHTS = ("network", "revision", "models")
"""Entries of a trained engine: its name, the published revision, and the fingerprint of each file."""
Announce = Callable[[ResultFile], None]
"""Receives each result once it is on disk, in any order, from any thread."""


@dataclass(frozen=True)
class RenderJob:
    """The work, the paths of the files by their hash, and the folder for the results."""

    job: str
    request: Request
    source: Callable[[str], Path]
    folder: Path
    ocio: str = ""
    allowance: DecodeLimits = UNBOUNDED
    cancelled_future: Future[None] = field(default_factory=Future)
    """Set when the job should stop, so that code that waits for other events can wait for this as well."""

    def raise_if_cancelled(self) -> None:
        """Raises `JobCancelled` if the job should stop."""
        if self.cancelled_future.done():
            raise JobCancelled("stopped while results were written")


def check_files(
    job: RenderJob, on_file: Callable[[int, int], None], roles: Collection[str] = ()
) -> None:
    """Raises `DamagedFile` if a file is missing or not what its hash says; files of these roles only, if any."""
    found = damaged_files(job, on_file, roles)
    if found:
        names = ", ".join(f"{file.role} frame {file.frame}" for file in found[:3])
        more = f" and {len(found) - 3} others" if len(found) > 3 else ""
        raise DamagedFile(
            f"{names}{more} changed on the daemon's disk after arrival",
            files=tuple({file.sha256 for file in found}),
        )


def damaged_files(
    job: RenderJob, on_file: Callable[[int, int], None], roles: Collection[str] = ()
) -> list[FrameFile]:
    """Returns the files, all or those of `roles`, that are missing or not what their hash says.

    `on_file` hears of each.
    """
    found, files = [], [file for file in job.request.files if not roles or file.role in roles]
    for done, file in enumerate(files):
        on_file(done, len(files))
        try:
            with job.source(file.sha256).open("rb") as data:
                is_right = _sha256(data) == file.sha256
        except OSError:
            is_right = False
        if not is_right:
            found.append(file)
    return found


def _sha256(data: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := data.read(READ_SIZE):
        digest.update(block)
    return digest.hexdigest()


class Describes(Protocol):
    """The abilities of every engine, for any operation."""

    def describe(self) -> dict[str, Any]:
        """Returns the engine's entry in the provenance of a result: version, model hashes, options."""


class NotedContext:
    """A job context that also records its notes and warnings for the provenance."""

    def __init__(self, context: JobContext) -> None:
        self.step = context.step
        self.notes: list[str] = []
        self.lent = context.lent if isinstance(context, LendsDevices) else None
        self._warn = context.warn

    def warn(self, text: str) -> None:
        self.notes.append(text)
        self._warn(text)


def provenance_of(job: RenderJob, engine: Describes) -> dict[str, Any]:
    """Returns how the result was made. It holds no times or machine names, so the same job gives the same bytes."""
    request = job.request
    return {
        "generator": "voidbridge",
        "version": __version__,
        "job": job.job,
        "operation": request.operation,
        "frames": [request.pictures[0], request.pictures[-1]],
        "engine": engine.describe(),
        "settings": asdict(request.settings),
        "preview": request.settings.is_preview,
        "sources": {file.role + "/" + str(file.frame): file.sha256 for file in request.files},
    }


def write_provenance(job: RenderJob, provenance: Mapping[str, Any]) -> None:
    """Writes the record that the client fetches, as `provenance.json` beside the results."""
    write_whole(job.folder / "provenance.json", _json(provenance).encode())


def credentials(
    request: Request, engine: Mapping[str, Any], seen: str, results: Mapping[int, ResultFile]
) -> dict[str, Any]:
    """A manifest's claims about these results, without a signature.

    Terms: C2PA Technical Specification 2.2, "Actions" (c2pa.actions.v2) and "Ingredient" (c2pa.ingredient.v3).
    `engine` is its entry of the provenance, which has the key `network` if it is a trained one. `seen` is empty if
    the engine saw no frame. `results` are by frame.
    """
    trained = "network" in engine
    kind = "algorithmicMedia"
    if trained:
        kind = "compositeWithTrainedAlgorithmicMedia" if seen else "trainedAlgorithmicMedia"
    action: dict[str, Any] = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE + kind,
        "softwareAgent": {"name": f"Voidbridge {engine['engine']}", "version": __version__},
        "description": "generated by a trained model" if trained else "generated from motion",
    }
    if trained:
        action["parameters"] = {MODEL: {key: engine[key] for key in WEIGHTS if engine.get(key)}}
    return {
        "claim_generator": f"Voidbridge/{__version__}",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
        "ingredients": [
            {
                "label": "c2pa.ingredient.v3",
                "relationship": "inputTo",
                "title": f"{file.role} {file.frame}",
                "sha256": file.sha256,
            }
            for file in request.files
            if seen
        ],
        "assets": {str(frame): results[frame].sha256 for frame in sorted(results)},
        "signature": None,
    }


def header_attributes(provenance: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, str]:
    """Returns the string attributes of a result, enough to tell generated pixels from photographed ones.

    `keys` are the entries of the provenance that go into the header of every frame. `seal.sealed` fills in the
    checksum.
    """
    return {
        "voidbridge/version": provenance["version"],
        seal.ATTRIBUTE: seal.BLANK,
        "voidbridge/job": provenance["job"],
        "voidbridge/provenance": _json({key: provenance[key] for key in keys}),
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
