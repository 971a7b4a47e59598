"""Random and damaged messages raise typed errors only."""

import json
import random
from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st
from voidbridge_examples import ONE_OF_EACH, SHOT, payload_of, said

from voidbridge_protocol.errors import (
    ProtocolError,
    RequestError,
)
from voidbridge_protocol.wire.codec import decode, decode_request, encode
from voidbridge_protocol.wire.messages import KINDS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = sorted({name for message in ONE_OF_EACH for name in asdict(message)})


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6),
    st.none() | st.binary(max_size=8),
)
def test_no_header_raises_anything_but_a_protocol_error(
    kind: str, values: dict[str, object], payload: bytes | None
) -> None:
    try:
        decode(said(json.dumps({"kind": kind, **values}), payload))
    except ProtocolError:
        pass


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["first", "last", "settings", "files", "x"]), JSON))
def test_no_request_raises_anything_but_what_is_told_to_the_client(
    values: dict[str, object],
) -> None:
    body = {**json.loads(SHOT.canonical()), **values}
    try:
        decode_request(json.dumps(body).encode())
    except (ProtocolError, RequestError):
        pass


def test_no_damaged_bytes_raise_anything_but_a_protocol_error() -> None:
    rng = random.Random(0)
    seeds = [[bytes(f) for f in encode(m, payload_of(m))] for m in ONE_OF_EACH]
    read = 0
    for _ in range(8000):
        frames = [bytearray(frame) for frame in rng.choice(seeds)]
        for _ in range(rng.randint(0, 4)):
            frame = rng.choice(frames)
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        try:
            decode([bytes(frame) for frame in frames])
            read += 1
        except ProtocolError:
            pass
    assert 0 < read < 8000


def test_a_damaged_request_raises_nothing_else_either() -> None:
    rng = random.Random(1)
    whole = SHOT.canonical()
    for _ in range(1500):
        body = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        try:
            decode_request(bytes(body))
        except (ProtocolError, RequestError):
            pass
