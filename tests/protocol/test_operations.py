"""An operation says which settings and files a request has; a setting's field says which values it takes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

import pytest

from voidbridge_protocol.errors import BadMessage, BadSetting
from voidbridge_protocol.operations import Operation, Role, operations
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.settings import OperationSettings, described, setting
from voidbridge_protocol.wire.codec import decode_request
from voidbridge_protocol.wire.messages import FrameFile, Request

A = "a" * 64
RUN = {"plate": [1, 2, 3], "matte": [1, 2, 3]}


@dataclass(frozen=True)
class SteadySettings(OperationSettings):
    engine: str = setting("tripod", "what holds the picture still")
    sway: float = setting(0.5, "what is left of the motion", above=0, below=1)
    length: int = setting(9, "frames that are looked at", least=1)
    order: int = setting(1, "how smooth the path is", choices=(1, 2, 3))


STEADY = Operation(
    "steady",
    SteadySettings,
    (Role("plate"), Role("hint", is_required=False, covers_all=False)),
)


def files(frames: dict[str, list[int]]) -> tuple[FrameFile, ...]:
    return tuple(FrameFile(role, f, A, 1) for role, run in sorted(frames.items()) for f in run)


def test_every_operation_is_found_under_its_own_name() -> None:
    assert operations()["remove"].settings is RemoveSettings
    for name, operation in operations().items():
        assert operation.name == name
        assert issubclass(operation.settings, OperationSettings)
        assert fields(operation.settings)[0].default, "an operation without a default engine"


@pytest.mark.parametrize("operation", operations().values(), ids=lambda operation: operation.name)
def test_every_setting_is_described_for_people(operation: Operation) -> None:
    told = {field.name: info for field, info in described(operation.settings)}
    assert set(told) == {field.name for field in fields(operation.settings)}
    assert all(info.help and info.group for info in told.values())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sway": 0.0}, r"sway is 0; it must lie in \]0, 1\["),
        ({"sway": 1.0}, r"sway is 1; it must lie in \]0, 1\["),
        ({"sway": float("nan")}, r"sway is nan; it must lie in \]0, 1\["),
        ({"length": 0}, r"length is 0; it must lie in \[1, ∞\["),
        ({"order": 4}, "order 4 is not one of 1, 2, 3"),
    ],
)
def test_a_value_outside_of_its_field_is_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        SteadySettings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("seed", 2**63), ("seed", -1), ("grow", 4097)])
def test_the_largest_value_is_named_exactly(name: str, value: int) -> None:
    with pytest.raises(
        BadSetting, match=rf"{name} is {value}; it must lie in \[0, (9223372036854775807|4096)\]"
    ):
        RemoveSettings(**{name: value})  # type: ignore[arg-type]


def test_a_role_that_does_not_cover_all_has_any_frames() -> None:
    STEADY.check_frames({"plate": [1, 2, 3], "hint": [2]}, 1, 3)
    STEADY.check_frames({"plate": [1, 2, 3]}, 2, 2)
    with pytest.raises(BadMessage, match="the plate does not cover all of 1-4"):
        STEADY.check_frames({"plate": [1, 2, 3]}, 1, 4)


def test_without_a_covering_role_the_range_is_free() -> None:
    invent = Operation("invent", SteadySettings, (Role("before", False, covers_all=False),))
    invent.check_frames({}, 1001, 1048)
    invent.check_frames({"before": [7]}, 1001, 1048)


def test_a_request_names_an_operation_that_there_is() -> None:
    body = {**asdict(Request(1, 3, RemoveSettings(), files(RUN))), "operation": "bake"}
    with pytest.raises(BadMessage, match=r"unknown operation 'bake'; there are .*remove"):
        decode_request(json.dumps(body).encode())
    with pytest.raises(BadMessage, match="SteadySettings are not settings of remove"):
        Request(1, 3, SteadySettings(), files(RUN))


def test_the_operation_is_part_of_the_jobs_id() -> None:
    body = json.loads(Request(1, 3, RemoveSettings(), files(RUN)).canonical())
    assert body["operation"] == "remove"
