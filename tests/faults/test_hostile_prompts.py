"""Prompts that no client of ours would send are refused, and the daemon goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from voidbridge_raw_client import RawClient
from voidbridge_stage import Daemon, daemon

from voidbridge_protocol.operations.mask import MaskSettings
from voidbridge_protocol.wire.messages import FrameFile, Ping, Pong, Refused, Request, Submit

GOOD = {"name": "ball", "points": [{"frame": 1001, "x": 1, "y": 1}]}
LARGE = 2 << 20
"""Bytes of a request that the daemon reads on another thread."""


@pytest.fixture(scope="module")
def box() -> Iterator[Daemon]:
    with daemon() as made:
        yield made


def request_with(objects: str, padding: int = 0) -> bytes:
    """A request for a mask whose prompts are this text; `padding` files make it large."""
    files = [
        FrameFile("plate", frame, f"{frame:064x}", 10) for frame in range(1001, 1003 + padding)
    ]
    settings = MaskSettings(objects=json.dumps([GOOD]))
    last = 1002 + padding
    made = json.loads(Request(1001, last, settings, tuple(files), "mask").canonical())
    made["settings"]["objects"] = objects
    return json.dumps(made).encode()


@pytest.mark.parametrize("padding", [0, 10_000])
@pytest.mark.parametrize(
    "point",
    ['{"frame": 1e999, "x": 1, "y": 1}', '{"frame": 1001, "x": 1' + "0" * 400 + ', "y": 1}',
     '{"frame": 1001, "x": 1, "y": 1, "label": -1e999}'],
)  # fmt: skip
def test_a_number_without_bound_is_refused_and_others_are_served(
    box: Daemon, point: str, padding: int
) -> None:
    payload = request_with(f'[{{"name": "ball", "points": [{point}]}}]', padding)
    with RawClient(box.address, f"hostile {padding}") as client:
        client.say(Submit(), payload)
        assert client.until(client.control, Refused).code == "request.setting"
        client.say(Ping())
        client.until(client.control, Pong)
    with RawClient(box.address, "other", "other") as client:
        client.say(Submit(), request_with("[]", 10_000))
        assert client.until(client.control, Refused).code == "request.setting"
