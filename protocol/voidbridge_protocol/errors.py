"""Everything Voidbridge raises on purpose. Branches say who can do something about it.

* VoidbridgeError
  x ProtocolError            the conversation broke down
    + BadMessage
    + VersionMismatch
    + UnknownSession         the daemon does not know this connection (it restarted): begin again
    + IllegalTransition
    + WrongOffset            a piece of a file that does not continue what is there
    + TransferFailed         bytes arrived other than they were announced
    + NotHere                a file that was handed over by its path has to be sent
  x DaemonError              the daemon as a whole cannot help now
    + DaemonUnavailable      nobody answered
    + NoProgress             it answers, and is lost again before anything comes of it
    + DaemonDraining
    + SpoolFull
    + UnknownKey             the daemon does not let this client's key in
    + WrongDaemon            what answers has another key than the daemon that was named
    + KeysDiffer             one side talks with keys, the other without
    + TooMany                a limit of the daemon's on how much one user, or all, may have
    + NoDevice               no device works
  x RequestError             what was asked for cannot be done as asked
    + BadSetting
    + BadPattern
    + MissingFrames
    + FrameMismatch          plate, matte and range do not fit together
    + UnreadableFrame
    + UnsupportedFrame       readable, but not something that can be given back whole
    + BadMatte
    + BadColorSpace
    + UnknownJob
    + OverwritesSource       a result would replace a file that it is made from
    + OutputExists           a result would replace a file that is no result
    + BadKey                 a file with a key, or a key as it was typed
  x JobError                 the request is fine, this run of it is not
    + JobCancelled
    + EngineFailed
    + DeviceFailed           the device, or its driver, gave up
    + ModelMissing
    + OutOfMemory
    + DiskFull
    + WorkerDied
      - WorkerHung           it lived and did nothing

Every class has a dotted `code`, which is part of the protocol, and a `hint`, which is shown to the artist as
it stands. `docs/errors.md` has a heading for each code.
"""

from __future__ import annotations

from typing import ClassVar


class VoidbridgeError(Exception):
    """`text` says what was wrong with which value; `hint` says what to do next."""

    code: ClassVar[str] = "error"
    hint: str = "Look at the log for the whole story."

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        if hint is not None:
            self.hint = hint

    def __reduce__(self) -> tuple[type[VoidbridgeError], tuple[str, str]]:
        return type(self), (self.text, self.hint)


class ProtocolError(VoidbridgeError):
    code = "protocol"
    hint = "Client and daemon do not understand each other; update both to the same release."


class BadMessage(ProtocolError):
    code = "protocol.bad-message"
    hint = "Something that is no Voidbridge of this release talks on this address."


class VersionMismatch(ProtocolError):
    code = "protocol.version"
    hint = "Update the client and the daemon to the same release."


class UnknownSession(ProtocolError):
    code = "protocol.unknown-session"
    hint = "The daemon was restarted; the client connects again by itself."


class IllegalTransition(ProtocolError):
    code = "protocol.transition"


class WrongOffset(ProtocolError):
    code = "protocol.offset"
    hint = "The client goes on from where the daemon stands by itself."


class TransferFailed(ProtocolError):
    code = "protocol.transfer"
    hint = "The file changed while it was sent, or the network damages data; run the job again."


class NotHere(ProtocolError):
    code = "protocol.not-here"
    hint = "The client sends the file by itself; nothing is to be done."


class DaemonError(VoidbridgeError):
    code = "daemon"
    hint = "Ask whoever runs the render box; `voidbridge doctor --daemon ADDRESS` says more."


class DaemonUnavailable(DaemonError):
    code = "daemon.unavailable"
    hint = "Start it there with: voidbridge serve"


class NoProgress(DaemonError):
    code = "daemon.no-progress"
    hint = (
        "The log of the daemon says whether it dies of this job; else look at the network. "
        "What has arrived is kept: the same command goes on from there."
    )


class DaemonDraining(DaemonError):
    code = "daemon.draining"
    hint = "The daemon is stopping and takes no new jobs; try again when it is back."


class SpoolFull(DaemonError):
    code = "daemon.spool-full"
    hint = "Free space on the daemon's disk, or point its setting `spool` to a larger one."


class NoDevice(DaemonError):
    code = "daemon.no-device"
    hint = "The job keeps its place; the daemon tries its devices again every five minutes."


class UnknownKey(DaemonError):
    code = "daemon.unknown-key"
    hint = (
        "Show your public key with `voidbridge keys show` and have the daemon's owner allow it: "
        "voidbridge keys allow USER KEY"
    )


class WrongDaemon(DaemonError):
    code = "daemon.wrong-key"
    hint = (
        "Ask the daemon's owner for the output of `voidbridge keys show daemon`. If that is the key "
        "you named, somebody else answers at this address."
    )


class KeysDiffer(DaemonError):
    code = "daemon.keys"
    hint = "Make a key with `voidbridge keys make`, and name the daemon's with --server-key."


class TooMany(DaemonError):
    code = "daemon.too-many"
    hint = "Wait until some of it is done, and try again."


class RequestError(VoidbridgeError):
    code = "request"
    hint = "Change the request and try again."


class BadSetting(RequestError):
    code = "request.setting"
    hint = "`voidbridge run --help` lists every setting with its range."


class BadPattern(RequestError):
    code = "request.pattern"
    hint = "Name a sequence as plate.%04d.exr or plate.####.exr, or one file as plate.1001.exr."


class MissingFrames(RequestError):
    code = "request.missing-frames"
    hint = "Render the missing frames, or choose a range without them with --frames."


class FrameMismatch(RequestError):
    code = "request.mismatch"
    hint = "Render plate and matte from the same script at the same format and range."


class UnreadableFrame(RequestError):
    code = "request.unreadable"
    hint = "Render the frame again; its file is damaged or no OpenEXR."


class UnsupportedFrame(RequestError):
    code = "request.unsupported"
    hint = "Write the plate as a flat scanline or tiled OpenEXR with R, G and B of one size."


class BadMatte(RequestError):
    code = "request.matte"
    hint = "A matte is 0 outside and 1 on the object; a quadmask has the codes 0, 63, 127 and 255."


class BadColorSpace(RequestError):
    code = "request.color-space"
    hint = "Name the plate's color space with --color-space, as the OpenColorIO config spells it."


class UnknownJob(RequestError):
    code = "request.unknown-job"
    hint = "`voidbridge status` lists the jobs that the daemon knows."


class BadKey(RequestError):
    code = "request.key"
    hint = "`voidbridge keys --help` says how keys are made, shown and allowed."


class OverwritesSource(RequestError):
    code = "request.overwrites-source"
    hint = "Choose another name or folder with -o. A source is never overwritten, not even with --overwrite."


class OutputExists(RequestError):
    code = "request.output-exists"
    hint = "Choose another name or folder with -o, or add --overwrite to replace these files."


class JobError(VoidbridgeError):
    code = "job"
    hint = "The log of the daemon has the whole story under this job's id."


class JobCancelled(JobError):
    code = "job.cancelled"
    hint = "Submit it again to run it."


class EngineFailed(JobError):
    code = "job.engine"


class DeviceFailed(JobError):
    code = "job.device"
    hint = (
        "The log of the daemon has the driver's words; on NVIDIA `nvidia-smi` and `dmesg` say more."
    )


class ModelMissing(JobError):
    code = "job.model-missing"
    hint = "`voidbridge models` lists what is needed and how to get it."


class OutOfMemory(JobError):
    code = "job.out-of-memory"
    hint = "Choose fewer frames or a smaller region, or run it on a larger device."


class DiskFull(JobError):
    code = "job.disk-full"
    hint = "Free space on the disk that the message names and submit the job again."


class WorkerDied(JobError):
    code = "job.worker-died"
    hint = "The job was tried several times; the log of the daemon says how the worker ended."


class WorkerHung(WorkerDied):
    code = "job.worker-died.hung"
    hint = (
        "Something hung: the device, a disk or the engine; the daemon's log says more. Where steps are that "
        "long, raise its setting `stall_s`."
    )


def _tree(root: type[VoidbridgeError]) -> dict[str, type[VoidbridgeError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


BY_CODE: dict[str, type[VoidbridgeError]] = _tree(VoidbridgeError)
"""Every error class by its code."""


def from_code(code: str, text: str, hint: str | None = None) -> VoidbridgeError:
    """The error that a peer named, or the nearest ancestor that this version knows."""
    while code not in BY_CODE and "." in code:
        code = code.rpartition(".")[0]
    return BY_CODE.get(code, VoidbridgeError)(text, hint or None)
