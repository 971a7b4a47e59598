"""Messages arrive as they were sent, invalid ones are refused, and old bytes stay readable."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voidbridge_examples import JOB, ONE_OF_EACH, PAYLOAD, SHOT, A, payload_of, said

from voidbridge_protocol.errors import (
    BadMessage,
    BadSetting,
    VersionMismatch,
)
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.codec import (
    MAGIC,
    MAX_HEADER,
    decode,
    decode_request,
    encode,
    indices,
    ranges,
)
from voidbridge_protocol.wire.messages import (
    CARRIES_PAYLOAD,
    KINDS,
    MAX_CHUNK,
    Cancel,
    FrameFile,
    Hello,
    Message,
    Offer,
    Request,
    Status,
)

GOLDEN = Path(__file__).with_name("protocol_1.jsonl")


@pytest.mark.parametrize("prompt", ["", 'x","files":[],"y', '{"files":[],"first":1}', "é\n\\"])
def test_the_canonical_bytes_are_those_of_json(prompt: str) -> None:
    request = replace(SHOT, settings=RemoveSettings(prompt=prompt))
    plain = json.dumps(asdict(request), sort_keys=True, separators=(",", ":"))
    assert request.canonical() == plain.encode()


def test_no_message_is_forgotten_here() -> None:
    assert {type(message) for message in ONE_OF_EACH} == set(KINDS.values())


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda m: m.kind)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert decode(encode(message, payload_of(message))) == (message, payload_of(message))


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda m: m.kind)
def test_what_is_said_in_this_release_is_among_the_golden_bytes(message: Message) -> None:
    golden = GOLDEN.read_bytes().splitlines()
    assert bytes(encode(message)[1]) in golden, "append the new bytes, and leave the old ones"


def test_every_release_of_protocol_1_can_still_be_read() -> None:
    lines = GOLDEN.read_bytes().splitlines()
    kinds = set()
    for line in lines:
        payload = PAYLOAD if KINDS[json.loads(line)["kind"]] in CARRIES_PAYLOAD else None
        message, _ = decode([b"VOIDBRIDGE/1", line, *([payload] if payload else [])])
        kinds.add(message.kind)
    assert kinds == set(KINDS)


def test_a_request_survives_the_wire() -> None:
    assert decode_request(SHOT.canonical()) == SHOT


def test_the_same_request_has_the_same_id_in_every_release() -> None:
    """A stored job is found again after an update; a new setting makes new ids, and a new line here."""
    assert SHOT.key("ana") == "b573957fd84d693933fee43b"
    assert SHOT.key("ben") != SHOT.key("ana")


def test_fields_from_a_newer_peer_are_ignored() -> None:
    newer = {"kind": "cancel", "job": JOB, "reason": "lunch", "more": [{"deep": None}]}
    assert decode(said(json.dumps(newer))) == (Cancel(JOB), None)


def test_fields_that_an_older_peer_does_not_say_have_their_defaults() -> None:
    assert decode(said('{"kind": "status", "job": "j", "state": "queued"}')) == (
        Status("j", JobState.QUEUED),
        None,
    )


def test_a_setting_from_a_newer_client_is_refused_by_name() -> None:
    body = asdict(SHOT)
    body["settings"]["make_it_pop"] = 11
    with pytest.raises(BadSetting, match="make_it_pop") as refusal:
        decode_request(json.dumps(body).encode())
    assert "update the daemon" in refusal.value.hint


def test_another_framing_names_both() -> None:
    with pytest.raises(VersionMismatch, match=r"VOIDBRIDGE/2.*VOIDBRIDGE/1"):
        decode([b"VOIDBRIDGE/2", b"\x93\x01"])


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([], "not a Voidbridge message"),
        ([MAGIC], "not a Voidbridge message"),
        ([MAGIC, b"{}", b"", b""], "not a Voidbridge message"),
        ([b"GET / HTTP/1.1", b"Host: x"], "not a Voidbridge message"),
        ([MAGIC, b""], "unreadable header"),
        ([MAGIC, b"\xff\xfe{\x00}\x00"], "unreadable header"),
        (said("[" * 100_000), "unreadable header"),
        (said('"hello"'), "not a JSON object"),
        (said("{}"), "unknown kind"),
        (said('{"kind": "shout"}'), "unknown kind .*shout"),
        (said('{"kind": ["query"]}'), "unknown kind"),
        (said('{"kind": "query"}'), "incomplete"),
        (said('{"kind": "query", "job": 7}'), "job should be str"),
        (said('{"kind": "query", "job": null}'), "job should be str"),
        (said('{"kind": "query", "job": "\\ud800"}'), "not Unicode text"),
        (said('{"kind": "query", "job": "j"}', b"x"), "has no payload"),
        (said('{"kind": "submit"}'), "needs a payload"),
        (said('{"kind": "submit", "force": 1}', b"x"), "force should be bool"),
        (said('{"kind": "submit", "priority": true}', b"x"), "priority should be int"),
        (said(f'{{"kind": "submit", "priority": {10**400}}}', b"x"), "more than 63 bits"),
        (said('{"kind": "status", "job": "j", "state": "asleep"}'), "asleep"),
        (said('{"kind": "status", "job": "j", "state": []}'), "a list is unknown"),
        (
            said('{"kind": "status", "job": "j", "state": "done", "seconds_left": NaN}'),
            "not a number",
        ),
        (
            said('{"kind": "status", "job": "j", "state": "done", "seconds_left": 1e999}'),
            "not a number",
        ),
        (said('{"kind": "accepted", "job": "j", "state": "done", "partial": [[1]]}'), "2 items"),
        (said('{"kind": "accepted", "job": "j", "state": "done", "partial": {}}'), "a list"),
        (said('{"kind": "ready", "job": "j", "results": [7]}'), "should be an object"),
        (said('{"kind": "credit", "amount": -1}'), "credit of -1"),
        (said('{"kind": "get", "job": "j", "frame": 1, "offset": 0, "length": 0}'), "0 bytes"),
        (
            said('{"kind": "get", "job": "j", "frame": 1, "offset": 0, "length": 2097153}'),
            "2097153 bytes",
        ),
        (
            said(
                '{"kind": "get", "job": "j", "frame": 1, "offset": 9, "length": 9, "verify": true}'
            ),
            "a check at 9",
        ),
        (said(json.dumps({"kind": "query", "job": "j" * MAX_HEADER})), "header of"),
        (
            said(
                json.dumps({"kind": "put", "sha256": A, "size": 2**40, "offset": 0}),
                bytes(MAX_CHUNK + 1),
            ),
            f"payload of {MAX_CHUNK + 1}",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_have_been_said_is_refused(frames: list[bytes], what: str) -> None:
    with pytest.raises(BadMessage, match=what):
        decode(frames)


@pytest.mark.parametrize(
    "name",
    ["../../../../tmp/" + "0" * 48, "/home/ana/.ssh/authorized_keys", "0" * 63, "A" * 64, ""],
)
def test_only_a_hash_names_a_file(name: str) -> None:
    with pytest.raises(BadMessage, match="not a SHA-256"):
        decode(said(json.dumps({"kind": "put", "sha256": name, "size": 1, "offset": 0}), b"x"))


@pytest.mark.parametrize(("size", "offset"), [(0, 0), (10, -1), (10, 11), (-1, 0)])
def test_a_piece_lies_inside_its_file(size: int, offset: int) -> None:
    with pytest.raises(BadMessage):
        decode(said(json.dumps({"kind": "put", "sha256": A, "size": size, "offset": offset}), b""))


def files(**frames: list[int]) -> tuple[FrameFile, ...]:
    return tuple(FrameFile(role, f, A, 1) for role, run in sorted(frames.items()) for f in run)


@pytest.mark.parametrize(
    ("first", "last", "given", "what"),
    [
        (2, 1, files(plate=[1, 2], matte=[1, 2]), "ends before it begins"),
        (1, 2, files(), "remove needs a plate"),
        (1, 2, files(plate=[1, 2]), "remove needs a matte"),
        (1, 2, files(plate=[1], matte=[1], beard=[1]), "the roles of remove are plate, matte"),
        (1, 3, files(plate=[1, 3], matte=[1, 3]), "without gaps"),
        (0, 10**15, files(plate=[0, 10**15], matte=[0, 10**15]), "without gaps"),
        (1, 2, files(plate=[1, 2], matte=[1]), "different frames than the plate"),
        (1, 2, files(plate=[1, 2], matte=[1, 2], affected=[2]), "different frames than the plate"),
        (
            1,
            2,
            files(plate=[1, 2], matte=[1, 2], clean=[3]),
            "clean has frame 3, which the plate lacks",
        ),
        (1, 3, files(plate=[1, 2], matte=[1, 2]), "does not cover all"),
        (1, 1, files(plate=[1], matte=[1])[::-1], "not sorted"),
        (1, 1, files(plate=[1], matte=[1, 1]), "one for each"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_is_not_one_shot_is_refused(
    first: int, last: int, given: tuple[FrameFile, ...], what: str
) -> None:
    body = {"first": first, "last": last, "settings": {}, "files": [asdict(f) for f in given]}
    with pytest.raises(BadMessage, match=what):
        decode_request(json.dumps(body).encode())


def test_handles_are_files_beyond_the_range() -> None:
    run = list(range(990, 1011))
    request = Request(1001, 1001, RemoveSettings(), files(plate=run, matte=run))
    assert decode_request(request.canonical()) == request


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("matte_kind", "guess"),
        ("threshold", -0.5),
        ("threshold", 1.5),
        ("grow", -1),
        ("soften", 4097),
        ("seed", -1),
        ("steps", 1001),
        ("passes", 3),
        ("quality", "best"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_value(setting: str, value: object) -> None:
    body = {**asdict(SHOT), "settings": {setting: value}}
    with pytest.raises(BadSetting, match=str(value)):
        decode_request(json.dumps(body).encode())


@given(st.sets(st.integers(0, 400)))
def test_indices_undo_ranges(chosen: set[int]) -> None:
    assert indices(ranges(sorted(chosen)), 401) == sorted(chosen)


@pytest.mark.parametrize(
    "text", ["x", "1-", "-1", "3-2", "5", "0-99999999999999999999", "1--2", "²", "2,1", "1,1"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        indices(text, 5)


def test_names_are_short() -> None:
    for words in (
        ("s" * 257, "ana", "test"),
        ("s", "a" * 150_000, "test"),
        ("s", "ana", "t" * 257),
    ):
        with pytest.raises(BadMessage, match="256 at most"):
            Hello(1, 1, *words)
    with pytest.raises(BadMessage, match="256 at most"):
        Offer((), engine="e" * 150_000)
    with pytest.raises(BadMessage, match="8192 at most"):
        replace(SHOT, settings=replace(SHOT.settings, prompt="p" * 8193))
