"""The question to the model: instructions, and the body of a request to /chat/completions. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from .answer import FATES, MOST_ARTEFACTS, MOST_BELONGINGS, MOST_OBJECTS, schema

SYSTEM = f"""\
You help to remove one object from a film shot. Answer with JSON of the given schema only.
Picture 0 shows the first frame with the object to remove in red. The pictures after it show frames of the
shot in order. Each has a grid; its rows and columns are numbered from 0 at the top left. Name places as
[row, column] cells.

belongings: at most {MOST_BELONGINGS} things that go with the object, such as a hat, a bag or a board.
artefacts: at most {MOST_ARTEFACTS} things that are only seen because of the object: shadow, reflection, wake.
List their cells in each picture where they are seen.
objects: at most {MOST_OBJECTS} physical things that the object touches, with their cells, and a fate of
{", ".join(FATES)}. If the object supports a thing against gravity, the thing moves once the object is gone.
If the object acts on a thing that rests on something else, the thing stays. If a thing moves in the pictures
only because of the object, it should have stayed. For one that moves, give `path`: its cells in 3 to 5 pictures
after the object is gone. For one that should have stayed, give `original_cells`. Otherwise leave both empty.
scene_without: one or two sentences that describe the scene without the object and without its effects.
confidence: from 0 to 1."""


def text(instruction: str, rows: int, columns: int, frames: Sequence[int]) -> str:
    """The user's part of the question."""
    numbered = ", ".join(f"picture {n}: frame {frame}" for n, frame in enumerate(frames))
    wanted = instruction or "Remove the object in red."
    return f"{wanted}\nThe grid has {rows} rows and {columns} columns. {numbered}."


def body(model: str, question: str, pictures: Sequence[bytes]) -> dict[str, Any]:
    """The request for the areas that an object affects."""
    return chat_request(model, SYSTEM, question, pictures, "affected", schema())


def chat_request(
    model: str,
    system: str,
    question: str,
    pictures: Sequence[bytes],
    name: str,
    answer: Mapping[str, Any],
) -> dict[str, Any]:
    """The request with JPEG pictures as data URLs. `answer` is the JSON schema of that `name`."""
    urls = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in pictures]
    content = [
        {"type": "text", "text": question},
        *({"type": "image_url", "image_url": {"url": url}} for url in urls),
    ]
    return {
        "model": model,
        "temperature": 0,
        "stream": False,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": content},
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": name, "strict": True, "schema": answer},
        },
    }


def repaired(request: dict[str, Any], answer: str, reason: str) -> dict[str, Any]:
    """The same request with the model's own answer and the reason why it cannot be used."""
    more = [
        {"role": "assistant", "content": answer},
        {"role": "user", "content": f"{reason}. Answer again with JSON of the schema only."},
    ]
    return {**request, "messages": [*request["messages"], *more]}
