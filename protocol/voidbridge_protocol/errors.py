"""Every error that Voidbridge raises on purpose. Each branch names the place where the problem can be solved.

* VoidbridgeError
  x ProtocolError            client and daemon do not understand each other
    + BadMessage, VersionMismatch, IllegalTransition
    + UnknownSession         the daemon does not know this connection, because it restarted: reconnect
    + WrongOffset, TransferFailed  bytes do not continue those that are there, or differ from those announced
    + NotHere                a file for import by path has to be uploaded
  x DaemonError              the daemon as a whole cannot help now
    + DaemonDraining, SpoolFull, NoDevice, UnknownKey, WrongDaemon, KeysDiffer
    + DaemonUnavailable      no daemon answers
    + NoProgress             the connection is lost again and again without progress
    + TooMany                a limit of the daemon for one user, or for all, is reached
    + ClusterUnusable        the Ray cluster cannot be reached, or is open to everybody
  x RequestError             the request cannot be carried out as it is
    + BadSetting, BadPattern, MissingFrames, UnreadableFrame, BadColorSpace, UnknownJob,
      OutputFormat, OutputUnwritable
    + FrameMismatch          plate, matte and range do not fit together
    + UnsupportedFrame       readable, but cannot be written back unchanged
    + UnclearLayer           several layers or channels could be meant, or none has the name that was given
    + BadMatte
      - FullMatte            it covers the whole picture in every frame
    + BadLora, BadPair, BadSurvey  a LoRA, a pair of a dataset or a survey is unreadable, or made for another
    + OverwritesSource, OutputExists  a result would replace a file that it is made from, or that is none
    + NotArchived            a version cannot be archived, or a copy of it differs
    + BadKey                 a file with a key, or a key as it was typed
    + PathNotAllowed         the page was asked for a file outside the named folders
    + NoEndpoint             no language model was named, so nothing is sent
  x JobError                 the request is fine, this run of it is not
    + JobCancelled, Preempted, EngineFailed, ModelMissing, OutOfMemory, DiskFull, EndpointFailed,
      BadAnswer, TermsNotAccepted, PaidUse
    + DeviceFailed, DeviceAway  the device or its driver failed; its node, or the way to it, was lost
    + NoScreen               the plate shows no screen that could be keyed
    + DamagedFile            a file changed on the daemon's disk after it had arrived
    + WorkerDied
      - WorkerHung           the worker was alive but made no progress

Every class has a dotted `code`, which is part of the protocol, and a `hint`, which the artist sees unchanged.
`docs/errors.md` has a heading for each code.
"""

from __future__ import annotations

from typing import ClassVar


class VoidbridgeError(Exception):
    """Base of all errors. `text` names the problem and the value; `hint` names the next step."""

    code: ClassVar[str] = "error"
    hint: str = "See the log for details."

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
    hint = "Something other than this release of Voidbridge answers at this address."


class VersionMismatch(ProtocolError):
    code = "protocol.version"
    hint = "Update the client and the daemon to the same release."


class UnknownSession(ProtocolError):
    code = "protocol.unknown-session"
    hint = "The daemon restarted; the client reconnects automatically."


class IllegalTransition(ProtocolError):
    code = "protocol.transition"


class WrongOffset(ProtocolError):
    code = "protocol.offset"
    hint = "The client continues from the daemon's position automatically."


class TransferFailed(ProtocolError):
    code = "protocol.transfer"
    hint = "The file changed during the upload, or the network damages data; run the job again."


class NotHere(ProtocolError):
    code = "protocol.not-here"
    hint = "The client uploads the file instead. No action needed."


class DaemonError(VoidbridgeError):
    code = "daemon"
    hint = "Ask the daemon's administrator; `voidbridge doctor --daemon ADDRESS` shows more."


class DaemonUnavailable(DaemonError):
    code = "daemon.unavailable"
    hint = "Start it on that machine with: voidbridge serve"


class NoProgress(DaemonError):
    code = "daemon.no-progress"
    hint = (
        "Check in the daemon's log if this job crashes it; otherwise check the network. "
        "Received files are kept: the same command continues from there."
    )


class DaemonDraining(DaemonError):
    code = "daemon.draining"
    hint = "The daemon is stopping and accepts no new jobs; try again after its restart."


class SpoolFull(DaemonError):
    code = "daemon.spool-full"
    hint = "Free space on the daemon's disk, or set `spool` to a folder on a larger disk."


class NoDevice(DaemonError):
    code = "daemon.no-device"
    hint = "The job keeps its place; the daemon retries its devices every five minutes."


class ClusterUnusable(DaemonError):
    code = "daemon.cluster"
    hint = "Start Ray on this machine with the cluster's token; docs/farm.md shows the commands."


class UnknownKey(DaemonError):
    code = "daemon.unknown-key"
    hint = (
        "Show your public key with `voidbridge keys show` and ask the daemon's owner to allow it: "
        "voidbridge keys allow USER KEY"
    )


class WrongDaemon(DaemonError):
    code = "daemon.wrong-key"
    hint = (
        "Ask the daemon's owner for the output of `voidbridge keys show daemon`. If that is the key "
        "you gave, another program answers at this address."
    )


class KeysDiffer(DaemonError):
    code = "daemon.keys"
    hint = "Make a key with `voidbridge keys make`, and give the daemon's key with --server-key."


class TooMany(DaemonError):
    code = "daemon.too-many"
    hint = "Wait until some of your jobs are done, then try again."


class RequestError(VoidbridgeError):
    code = "request"
    hint = "Change the request and try again."


class BadSetting(RequestError):
    code = "request.setting"
    hint = "`voidbridge COMMAND --help` lists every setting with its range."


class BadPattern(RequestError):
    code = "request.pattern"
    hint = "Name a sequence as plate.%04d.exr or plate.####.exr, or one file as plate.1001.exr."


class BadTimeline(RequestError):
    code = "request.timeline"
    hint = "Correct the list; docs/generate.md describes tables of shots and timelines."


class MissingFrames(RequestError):
    code = "request.missing-frames"
    hint = "Render the missing frames, or choose a range without them with --frames."


class FrameMismatch(RequestError):
    code = "request.mismatch"
    hint = "Render plate and matte from the same script at the same format and range."


class UnreadableFrame(RequestError):
    code = "request.unreadable"
    hint = "Render the frame again, and open it in a viewer: its file is damaged, or cut off."


class UnsupportedFrame(RequestError):
    code = "request.unsupported"
    hint = "Write the plate as a flat scanline or tiled OpenEXR with R, G and B of one size."


class BadMatte(RequestError):
    code = "request.matte"
    hint = "A matte is 0 outside and 1 on the object; a quadmask has the codes 0, 63, 127 and 255."


class UnclearLayer(RequestError):
    code = "request.layer"
    hint = "Name the plate's layer with --layer, a matte's channel with --matte-channel."


class FullMatte(BadMatte):
    code = "request.matte.full"
    hint = (
        "Give the matte of the object alone, invert it, or choose --matte-kind quadmask if black marks the "
        "object; --allow-full-matte continues."
    )


class BadColorSpace(RequestError):
    code = "request.color-space"
    hint = "Give the plate's color space with --color-space, as the OpenColorIO config spells it."


class BadLora(RequestError):
    code = "request.lora"
    hint = "Use a safetensors file that was trained on the models in the daemon's models folder."


class BadPair(RequestError):
    code = "request.pair"
    hint = "Make the dataset again with `voidbridge dataset`."


class BadSurvey(RequestError):
    code = "request.survey"
    hint = "Make it again with `voidbridge survey` and the options of this job."


class UnknownJob(RequestError):
    code = "request.unknown-job"
    hint = "`voidbridge status` lists the jobs that the daemon knows."


class BadKey(RequestError):
    code = "request.key"
    hint = "`voidbridge keys --help` explains how to make, show and allow keys."


class PathNotAllowed(RequestError):
    code = "request.path"
    hint = "Start the page with that folder too: voidbridge web --folder FOLDER"


class NoEndpoint(RequestError):
    code = "request.no-endpoint"
    hint = (
        "Name a server with --endpoint or VOIDBRIDGE_ASK_URL, and its model with --model or "
        "VOIDBRIDGE_ASK_MODEL."
    )


class OverwritesSource(RequestError):
    code = "request.overwrites-source"
    hint = "Choose another name or folder with -o. A source is never overwritten, not even with --overwrite."


class OutputExists(RequestError):
    code = "request.output-exists"
    hint = "Choose another name or folder with -o, or add --overwrite to replace these files."


class NotArchived(RequestError):
    code = "request.not-archived"
    hint = "Nothing of this version was deleted. Mend the named fault, then repeat the command."


class OutputFormat(RequestError):
    code = "request.output-format"
    hint = "Results are OpenEXR files: let their name end in .exr, or name a folder with a / at its end."


class OutputUnwritable(RequestError):
    code = "request.output-unwritable"
    hint = "Choose another folder with -o, or check that folder's permissions and that its disk is mounted."


class JobError(VoidbridgeError):
    code = "job"
    hint = "See the daemon's log for details under this job's id."


class JobCancelled(JobError):
    code = "job.cancelled"
    hint = "Start the job again to run it; finished results are kept."


class Preempted(JobError):
    code = "job.preempted"
    hint = "The job goes on by itself. Nothing is lost."


class EngineFailed(JobError):
    code = "job.engine"


class DeviceFailed(JobError):
    code = "job.device"
    hint = "The daemon's log has the driver's message; `nvidia-smi` and `dmesg` show more."


class DeviceAway(JobError):
    code = "job.device-away"
    hint = "Check the node and its network; the daemon uses it again by itself once it is back."


class ModelMissing(JobError):
    code = "job.model-missing"
    hint = "`voidbridge models` lists the needed files and how to get them."


class EndpointFailed(JobError):
    code = "job.endpoint"
    hint = "Check the address, the model's name, the key and the server's log; nothing is sent a second time."


class BadAnswer(JobError):
    code = "job.answer"
    hint = "Ask again, name a more capable model, or draw the affected areas yourself."


class NoScreen(JobError):
    code = "job.no-screen"
    hint = "Give the screen's color with --screen-color, or check the plate and its color space."


class TermsNotAccepted(JobError):
    code = "job.terms-not-accepted"
    hint = "Accept them once where the daemon runs: voidbridge models accept NAME"


class PaidUse(JobError):
    code = "job.paid-use"
    hint = "Choose another engine; the terms of this one's weights forbid paid use."


class OutOfMemory(JobError):
    code = "job.out-of-memory"
    hint = "Choose fewer frames or a smaller region, or run it on a larger device."


class DiskFull(JobError):
    code = "job.disk-full"
    hint = "Free space on the disk that the message names, then submit the job again."


class DamagedFile(JobError):
    """`files` are the SHA-256 names of the damaged files, where they are known."""

    code = "job.damaged-file"
    hint = "Submit the same job again: only the damaged files are sent."

    def __init__(self, text: str, hint: str | None = None, files: tuple[str, ...] = ()) -> None:
        super().__init__(text, hint)
        self.files = files


class WorkerDied(JobError):
    code = "job.worker-died"
    hint = "The job was tried several times; the daemon's log says how the worker ended."


class WorkerHung(WorkerDied):
    code = "job.worker-died.hung"
    hint = (
        "The device, a disk or the engine hung; see the daemon's log. If single steps take that "
        "long, increase the setting `stall_s`."
    )


def _tree(root: type[VoidbridgeError]) -> dict[str, type[VoidbridgeError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


BY_CODE: dict[str, type[VoidbridgeError]] = _tree(VoidbridgeError)
"""Every error class by its code."""


def from_code(code: str, text: str, hint: str | None = None) -> VoidbridgeError:
    """Returns the error that a peer named, or its nearest ancestor that this version knows."""
    while code not in BY_CODE and "." in code:
        code = code.rpartition(".")[0]
    return BY_CODE.get(code, VoidbridgeError)(text, hint or None)
