"""Prepares the question to a language model, sends it if that is wanted, and writes what the answer means."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voidbridge_backend.exr import seal
from voidbridge_backend.exr.multi_part import split
from voidbridge_backend.exr.new.parts import new_parts
from voidbridge_backend.exr.part import Part
from voidbridge_backend.imaging.grid import cells
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import BadAnswer
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.transfer.hashing import digest_of, sha256_of

from . import areas, question
from .answer import Answer, Grid, WrongForm, parsed
from .endpoint import Endpoint
from .pictures import Drawer, sampled

REQUEST, ANSWER, PROMPTS, SCENE = "request.json", "answer.json", "prompts.json", "scene.txt"
"""Names of the files beside `affected.####.exr`. `SCENE` is a prompt for the engine `void`."""
WRITTEN = "ask.voidbridge.json"
"""Name of the list of these files with their SHA-256. It tells an unchanged one from a file of the artist."""


@dataclass(frozen=True)
class Question:
    """All that would leave the machine: a text, and pictures as JPEG."""

    text: str
    pictures: Sequence[bytes]
    layout: areas.GridLayout
    like: Part

    def save(self, folder: Path) -> list[Path]:
        """Writes the pictures and the request as they would be sent, pictures by their names. Returns the files."""
        files = self._files()
        write_files(folder, files)
        return [folder / name for name in files]

    @property
    def digest(self) -> str:
        """Of exactly these pictures and this request, to tell them from those that somebody looked at."""
        return digest_of(self._files().values())

    def _files(self) -> dict[str, bytes]:
        names = picture_names(len(self.pictures))
        request = question.body("MODEL", self.text, ())
        request["messages"][1]["content"] += [{"picture": name} for name in names]
        return {**dict(zip(names, self.pictures, strict=True)), REQUEST: _json(request)}


def picture_names(count: int) -> list[str]:
    """Names of the files of the pictures."""
    return [f"picture.{number:02d}.jpg" for number in range(count)]


def prepared(
    drawer: Drawer,
    frames: Sequence[int],
    instruction: str,
    most: int,
    heartbeat: Callable[[], None],
) -> Question:
    """Draws the pictures: the first frame with the object in red, and frames spread over the shot.

    `heartbeat` is called for each picture and may raise. Raises what a file that cannot be read raises.
    """
    like = drawer.part(frames[0])
    height, width = like.data_window.height, like.data_window.width
    rows, columns = cells(height, width)
    chosen = [frames[0], *sampled(frames, most)]
    pictures = []
    for number, frame in enumerate(chosen):
        heartbeat()
        pictures.append(drawer.jpeg(frame, marks_object=number == 0))
    layout = areas.GridLayout(chosen, rows, columns, height, width)
    return Question(question.text(instruction, rows, columns, chosen), pictures, layout, like)


def answered(asked: Question, endpoint: Endpoint) -> Answer:
    """The checked answer. An answer of another form is sent back once. Raises `EndpointFailed`, `BadAnswer`."""
    request = question.body(endpoint.model, asked.text, asked.pictures)
    said = endpoint.ask(request)
    try:
        return parsed(said, _grid(asked))
    except WrongForm as error:
        request = question.repaired(request, said, str(error))
    try:
        return parsed(endpoint.ask(request), _grid(asked))
    except WrongForm as error:
        raise BadAnswer(f"{endpoint.model} answered twice in another form: {error}") from error


def write(answer: Answer, asked: Question, folder: Path) -> None:
    """Writes the answer, prompts for `mask --prompts`, and the scene without the object."""
    files = {
        ANSWER: _json(areas.described(answer)),
        PROMPTS: _json(areas.prompts(answer, asked.layout)),
        SCENE: (answer.scene + "\n").encode(),
    }
    write_files(folder, files)


def mattes(
    answer: Answer, asked: Question, frames: Sequence[int], model: str
) -> Iterator[tuple[int, bytes]]:
    """(frame, sealed OpenEXR file with channel A) of the affected area, in the plate's windows."""
    attributes = {
        "voidbridge/version": __version__,
        seal.ATTRIBUTE: seal.BLANK,
        "voidbridge/provenance": json.dumps({"operation": "mask", "asked": model}),
    }
    for frame in frames:
        mask = areas.affected(answer, asked.layout, frame).astype(np.float16)
        data = new_parts({"affected": {"A": mask}}, asked.like, asked.like.data_window, attributes)
        [(_, file)] = split(data)
        yield frame, file


def _grid(asked: Question) -> Grid:
    return Grid(len(asked.pictures), asked.layout.rows, asked.layout.columns)


def is_written(path: Path) -> bool:
    """Returns True if the folder's list has this file, and nobody changed it since."""
    try:
        return _hashes(path.parent).get(path.name) == sha256_of(path)[0]
    except OSError:
        return False


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files by their names, and first their hashes."""
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    listed = {"generator": "voidbridge", "files": {**_hashes(folder), **hashes}}
    write_whole(folder / WRITTEN, _json(listed))
    for name, data in files.items():
        write_whole(folder / name, data)


def _hashes(folder: Path) -> dict[str, str]:
    """By name, of the files that were written to a folder; empty without a list."""
    try:
        return dict(json.loads((folder / WRITTEN).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
