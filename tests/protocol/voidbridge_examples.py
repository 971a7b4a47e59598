"""One message of each kind, a request of a shot, and how they are sent."""

from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.codec import MAGIC
from voidbridge_protocol.wire.messages import (
    CARRIES_PAYLOAD,
    Accepted,
    Cancel,
    Chunk,
    Credit,
    Device,
    Fetched,
    FrameFile,
    Get,
    GetHealth,
    GetMeasurements,
    GetProvenance,
    GetRequest,
    Got,
    Health,
    Hello,
    ImportFile,
    JobRequest,
    JoinBulk,
    Limits,
    Listed,
    ListJobs,
    Measurements,
    Message,
    Missing,
    Nack,
    Offer,
    Ping,
    Pong,
    Provenance,
    Put,
    Query,
    Ready,
    Refused,
    Request,
    ResultFile,
    Status,
    Submit,
    Watch,
    Welcome,
)

A, B = "a" * 64, "0123456789abcdef" * 4
JOB = "1db5f1874dbfa5238f40f7ce"
PAYLOAD = b"\x76\x2f\x31\x01"

ONE_OF_EACH: list[Message] = [
    Hello(1, 1, "5e55", "ana", "voidbridge 0.1.0"),
    Welcome(
        *(1, "voidbridge 0.1.0", "e9", "5578", Limits()),
        (("remove", "echo"), ("remove", "void")),
        "ana",
        shares=("/mnt/shows", "Z:"),
    ),
    JoinBulk("5e55"),
    Ping(),
    Pong(),
    Submit(priority=3, force=True),
    Accepted(JOB, JobState.RECEIVING, "0-99,105", ((0, 2097152), (105, 7))),
    Offer((FrameFile("matte", 1001, A, 34), FrameFile("plate", -5, B, 1)), "remove", "void"),
    Missing("0-99,105", ((0, 2097152), (105, 7))),
    Refused("request.setting", "steps is -1; it must lie in [0, 1000]", "Choose another.", JOB),
    Status(
        job=JOB,
        state=JobState.RUNNING,
        stage="removing",
        step=3,
        of=50,
        seconds_left=12.5,
        ahead=1,
        ready=2,
        frames=100,
        first=1001,
        attempt=2,
        warnings=("the matte covers 60 %",),
        code="job.engine",
        text="it broke",
        hint="Look.",
        user="ana",
        operation="remove",
        engine="void",
        device="cuda:0",
    ),
    Ready(JOB, (ResultFile(1001, A, 34), ResultFile(-5, B, 1))),
    Query(JOB),
    Watch(JOB),
    ListJobs(),
    Listed(7),
    Cancel(JOB),
    GetRequest(JOB),
    JobRequest(JOB),
    GetProvenance(JOB),
    Provenance(JOB),
    Fetched(JOB),
    GetHealth(),
    Health(
        ready=False,
        devices=(
            Device("cuda:0", "busy", "removing", 1.5),
            Device("cuda:1", "quarantined", why="a bus error"),
        ),
        queued=3,
        running=1,
        free=2**40,
        code="daemon.spool-full",
        text="no room",
        hint="Make some.",
    ),
    GetMeasurements("remove", "cleanplate"),
    Measurements("remove", "cleanplate"),
    Put(A, 5000, 4096),
    Credit(2097152),
    Got(A),
    ImportFile(A, 5000, "Z:/shows/plate 1001.exr", B),
    Nack(A, 4096, "protocol.offset", "the next byte should be 4096, not 8192"),
    Get(JOB, 1001, 0, 2097152),
    Get(JOB, 1001, 0, 2097152, verify=True),
    Chunk(JOB, 1001, 0),
]

SHOT = Request(
    1002,
    1003,
    RemoveSettings(engine="void", prompt="a jetty, fog \N{EM DASH} 海", seed=7, steps=30),
    tuple(
        FrameFile(role, frame, B, 34)
        for role in ("affected", "matte", "plate")
        for frame in range(1001, 1005)
    ),
)


def payload_of(message: Message) -> bytes | None:
    return PAYLOAD if type(message) in CARRIES_PAYLOAD else None


def said(text: str, payload: bytes | None = None) -> list[bytes]:
    return [MAGIC, text.encode(), *([payload] if payload is not None else [])]
