"""Captions of clips without a prompt, by a language model. `save` shows all that is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voidbridge_backend.client.training.show_file import Show
from voidbridge_backend.engines.void import options
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import frames_for
from voidbridge_backend.tools.ask.answer import WrongForm, unfenced
from voidbridge_backend.tools.ask.ask import write_files
from voidbridge_backend.tools.ask.endpoint import Endpoint
from voidbridge_backend.tools.ask.pictures import sampled, scene_jpegs
from voidbridge_backend.tools.ask.question import chat_request, repaired
from voidbridge_protocol.errors import BadAnswer

PICTURES = 3
"""Frames of a clip that are sent, spread over those that its pairs have."""
MOST_TEXT = 500
"""Letters of a caption; the text encoder reads 226 tokens."""
REQUEST, CAPTIONS = "request.json", "captions.json"
SYSTEM = f"""\
You describe a film shot for the training of a video model. Answer with JSON of the given schema only.
The pictures show frames of the shot in order.
caption: one or two sentences, at most {MOST_TEXT} letters, that describe place, things, light and camera.
Name no person."""
QUESTION = "Describe this shot."


@dataclass(frozen=True)
class CaptionQuestion:
    """All that would leave the machine for one clip: its frames as JPEG, beside a fixed text."""

    clip: str
    """As the file of the show spells it."""
    pictures: Sequence[bytes]


def questions(show: Show, models: Path, heartbeat: Callable[[], None]) -> list[CaptionQuestion]:
    """Draws the pictures of every clip without a prompt: clean plates, and approved clean plates.

    `heartbeat` is called for each clip and may raise. Raises what a clip that cannot be read raises.
    """
    most = options.from_folder(models).window
    spaces = {table.clip: table.color_space for table in show.plates if not table.prompt}
    spaces |= {table.clean: table.color_space for table in show.approved if not table.prompt}
    found = []
    for clip, space in spaces.items():
        heartbeat()
        plate = find(show.path(clip))
        frames = sampled(frames_for(plate, None)[:most], PICTURES)
        pictures = scene_jpegs(plate, list(dict.fromkeys(frames)), space or show.color_space)
        found.append(CaptionQuestion(clip, pictures))
    return found


def file_names(asked: Sequence[CaptionQuestion], sends: bool) -> list[str]:
    """Names of the files that `save` writes, and `captioned` if `sends`."""
    pictures = [name for names in _picture_names(asked) for name in names]
    return [*pictures, REQUEST, *([CAPTIONS] if sends else [])]


def save(asked: Sequence[CaptionQuestion], folder: Path) -> list[Path]:
    """Writes the pictures and the requests as they would be sent, pictures by their names. Returns the files."""
    files: dict[str, bytes] = {}
    requests = []
    for question, names in zip(asked, _picture_names(asked), strict=True):
        files |= dict(zip(names, question.pictures, strict=True))
        request = _body("MODEL", ())
        request["messages"][1]["content"] += [{"picture": name} for name in names]
        requests.append({"clip": question.clip, "request": request})
    files[REQUEST] = _json(requests)
    write_files(folder, files)
    return [folder / name for name in files]


def captioned(
    show: Show,
    asked: Sequence[CaptionQuestion],
    endpoint: Endpoint,
    folder: Path,
    heartbeat: Callable[[], None],
) -> Show:
    """Asks once for each clip, writes `captions.json`, and returns the show with the captions as prompts.

    A prompt begins with the show's name, the word that the LoRA listens to. An answer of another form is sent
    back once. Raises `EndpointFailed`, `BadAnswer`; then nothing is written.
    """
    captions = {}
    for question in asked:
        heartbeat()
        captions[question.clip] = f"{show.name}, {_answered(question, endpoint)}"
    write_files(folder, {CAPTIONS: _json({"model": endpoint.model, "prompts": captions})})
    return replace(
        show,
        plates=tuple(
            replace(table, prompt=table.prompt or captions[table.clip]) for table in show.plates
        ),
        approved=tuple(
            replace(table, prompt=table.prompt or captions[table.clean]) for table in show.approved
        ),
    )


def caption_in(text: str) -> str:
    """The caption in an answer, on one line. Raises `WrongForm`."""
    try:
        found = json.loads(unfenced(text))
    except (ValueError, RecursionError) as error:
        raise WrongForm(f"this is not JSON: {str(error)[:120]}") from error
    if not isinstance(found, dict) or not isinstance(found.get("caption"), str):
        raise WrongForm("the answer is not a JSON object with the text caption")
    caption = re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", found["caption"]).strip()
    if not 0 < len(caption) <= MOST_TEXT:
        raise WrongForm(f"caption has {len(caption)} letters; from 1 to {MOST_TEXT} are possible")
    return caption


def _answered(question: CaptionQuestion, endpoint: Endpoint) -> str:
    request = _body(endpoint.model, question.pictures)
    said = endpoint.ask(request)
    try:
        return caption_in(said)
    except WrongForm as error:
        request = repaired(request, said, str(error))
    try:
        return caption_in(endpoint.ask(request))
    except WrongForm as error:
        raise BadAnswer(
            f"{endpoint.model} answered twice in another form about {question.clip}: {error}",
            'Ask again, name a more capable model, or write prompt = "..." for the clip.',
        ) from error


def _body(model: str, pictures: Sequence[bytes]) -> dict[str, Any]:
    schema: Mapping[str, Any] = {
        "type": "object",
        "properties": {"caption": {"type": "string"}},
        "required": ["caption"],
        "additionalProperties": False,
    }
    return chat_request(model, SYSTEM, QUESTION, pictures, "caption", schema)


def _picture_names(asked: Sequence[CaptionQuestion]) -> list[list[str]]:
    return [
        [f"clip.{clip:03d}.{number}.jpg" for number in range(len(question.pictures))]
        for clip, question in enumerate(asked, 1)
    ]


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
