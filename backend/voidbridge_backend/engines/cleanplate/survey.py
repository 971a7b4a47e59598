"""The survey of a shot as a file, so that the ranges of a shot look at all of its frames only once.

A NumPy archive without pickle, nothing in it compressed. `head` is JSON as bytes. The rows of the other arrays
belong to what it lists, in order.
"""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Clip
from voidbridge_backend.sequences.patterns import compact
from voidbridge_protocol.errors import BadSurvey

from .geometry import FrameBox, Homography
from .motion.analyze_camera import Shot
from .motion.camera import Camera, Mix
from .motion.plan import reduced_size
from .tone import Tone

FORMAT = "voidbridge survey 3"
UNREADABLE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(StopIteration, SyntaxError, TypeError, ValueError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""Errors of a file that is no archive of arrays, is encrypted, or lies about what is in it."""


@dataclass(frozen=True)
class ShotSurvey:
    """The picture inside its bars, and the shot in it; None without a hole."""

    box: FrameBox
    shot: Shot | None


def packed(survey: ShotSurvey, fits: Mapping[str, str]) -> bytes:
    """Returns the survey as a file. `fits` has the values on which it depends, by name."""
    box = survey.box
    sides = [box.left, box.top, box.right, box.bottom]
    head: dict[str, Any] = {"format": FORMAT, "fits": dict(fits), "box": sides}
    arrays: dict[str, NDArray[Any]] = {}
    if survey.shot is not None:
        _add(survey.shot, head, arrays)
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # Of a fixed date: the same shot has the same file.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return file.getvalue()


def unpacked(data: bytes, fits: Mapping[str, str]) -> ShotSurvey:
    """Returns the survey in a file, every bit as it was. Raises `BadSurvey` if it was made with other values."""
    try:
        arrays = _arrays(data)
        head = json.loads(arrays["head"].tobytes())
        said, found = head["format"], head["fits"]
        differing = [name for name in fits if said == FORMAT and found.get(name) != fits[name]]
    except UNREADABLE as error:
        raise BadSurvey(f"the survey cannot be read: {str(error)[:200]}") from error
    if said != FORMAT:
        raise BadSurvey("the survey was made by another version of Voidbridge")
    if differing:
        raise BadSurvey(f"the survey differs from this job in: {', '.join(differing)}")
    try:
        box = FrameBox(*map(int, head["box"]))
        return ShotSurvey(box, _shot(head, arrays) if "frames" in head else None)
    except UNREADABLE as error:
        raise BadSurvey(f"the survey is damaged: {str(error)[:200]}") from error


def check_clip(survey: ShotSurvey, clip: Clip) -> None:
    """Raises `BadSurvey`, which says what differs, if the survey is of another clip.

    The values that it was made with may agree all the same: of a file that was made by hand or damaged in its head.
    """
    box, shot = survey.box, survey.shot
    size = f"{clip.width}x{clip.height}"
    if not FrameBox(0, 0, clip.width, clip.height).holds(box) or min(box.width, box.height) < 1:
        raise BadSurvey(
            f"the survey's picture goes from {box[:2]} to {box[2:]}, the plate's is {size}"
        )
    if shot is None:
        return
    if list(shot.holes) != list(clip.frames):
        raise BadSurvey(
            f"the survey's shot has the frames {compact(shot.holes)}, this job's {compact(clip.frames)}"
        )
    camera = shot.camera
    if (camera.width, camera.height) != (box.width, box.height):
        raise BadSurvey(
            f"the survey's camera saw {camera.width}x{camera.height}, of a picture of {box.width}x{box.height}"
        )
    hole, wanted = next(iter(shot.holes.values())).shape, reduced_size(box.height, box.width)
    if hole != wanted:
        raise BadSurvey(
            f"the survey's holes are {hole[1]}x{hole[0]}, this shot's {wanted[1]}x{wanted[0]}"
        )
    placed = camera._place.keys() & camera._scene.keys()
    mixed = {
        frame
        for frame, mix in camera.mixes.items()
        if {mix.before, mix.behind} <= placed and frame in camera._scene
    }
    if lost := [frame for frame in shot.holes if frame not in placed | mixed]:
        raise BadSurvey(
            f"the survey does not say where the camera was in {len(lost)} of {len(shot.holes)} frames: "
            f"{compact(lost)}"
        )


def is_survey(path: Path) -> bool:
    """Returns True if the file is a survey, of whatever version."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("head.npy") as head:
            return b'"format": "voidbridge survey ' in head.read(4096)
    except UNREADABLE:
        return False


def _add(shot: Shot, head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    camera, layers, tracks = shot.camera, shot.camera.layers._place, shot.camera.tracks._at
    frames, holes = list(shot.holes), list(shot.holes.values())
    head |= {
        "size": [camera.height, camera.width],
        "exposure": shot.tone.exposure,
        "frames": frames,
        "repeats": sorted(shot.repeats),
        "cuts": camera.cuts_found,
        "scenes": list(camera._scene.items()),
        "placed": list(camera._place),
        "mixes": [
            [frame, mix.before, mix.behind, mix.share] for frame, mix in camera.mixes.items()
        ],
        "layers": [[frame, layer] for frame, ways in layers.items() for layer in ways],
        "tracked": [[frame, len(ids)] for frame, (ids, _) in tracks.items()],
        "hole": list(holes[0].shape),
    }
    arrays["holes"] = np.packbits(np.stack(holes))
    for name, told in (("sharpness", shot.sharpness), ("contrast", shot.contrast)):
        arrays[name] = np.array([told[frame] for frame in frames], np.float64)
    arrays["places"] = _rows(camera._place.values(), (3, 3), np.float64)
    both = (way for mix in camera.mixes.values() for way in (mix.from_before, mix.from_behind))
    arrays["mixed"] = _rows(both, (3, 3), np.float64)
    arrays["ways"] = _rows(
        (w for ways in layers.values() for w in ways.values()), (3, 3), np.float64
    )
    arrays["ids"] = np.concatenate([_rows((), (), np.int32), *(ids for ids, _ in tracks.values())])
    arrays["points"] = np.concatenate(
        [_rows((), (2,), np.float32), *(points for _, points in tracks.values())]
    )


def _rows(found: Iterable[NDArray[Any]], shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """One array of the type `kind`, a row for each of `found`, maybe none."""
    rows = list(found)
    return np.array(rows, kind).reshape(len(rows), *shape)


def _shot(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Shot:
    frames, (height, width) = [int(frame) for frame in head["frames"]], head["size"]
    camera = Camera(int(height), int(width))
    camera.cuts_found = list(map(int, head["cuts"]))
    camera._scene = {int(frame): int(scene) for frame, scene in head["scenes"]}
    camera._place = dict(zip(head["placed"], _copies(arrays["places"]), strict=True))
    mixed = iter(_copies(arrays["mixed"]))
    camera.mixes = {
        frame: Mix(before, behind, next(mixed), next(mixed), float(share))
        for frame, before, behind, share in head["mixes"]
    }
    for (frame, layer), way in zip(head["layers"], _copies(arrays["ways"]), strict=True):
        camera.layers._place.setdefault(frame, {})[layer] = way
    begin = 0
    for frame, count in head["tracked"]:
        end = begin + count
        ids, points = arrays["ids"][begin:end].copy(), arrays["points"][begin:end].copy()
        camera.tracks._at[frame] = ids, points
        begin = end
    if begin != len(arrays["ids"]) or begin != len(arrays["points"]):
        raise ValueError("its points are not all there")
    if any((np.diff(ids) <= 0).any() for ids, _ in camera.tracks._at.values()):
        raise ValueError("its points are in no order")
    high, wide = head["hole"]
    if len(arrays["holes"]) != -(-len(frames) * high * wide // 8):
        raise ValueError("its holes are not all there")
    bits = np.unpackbits(arrays["holes"], count=len(frames) * high * wide).astype(bool)
    holes = [hole.copy() for hole in bits.reshape(len(frames), high, wide)]
    sharpness, contrast = (
        dict(zip(frames, arrays[name].tolist(), strict=True)) for name in ("sharpness", "contrast")
    )
    exposure = float(head["exposure"])
    if not 0 < exposure < np.inf:
        raise ValueError(f"its exposure is {exposure:g}")
    return Shot(
        Tone(exposure),
        camera,
        dict(zip(frames, holes, strict=True)),
        frozenset(map(int, head["repeats"])),
        sharpness,
        contrast,
    )


def _copies(rows: NDArray[np.float64]) -> Sequence[Homography]:
    if rows.shape[1:] != (3, 3) or rows.dtype != np.float64 or not np.isfinite(rows).all():
        raise ValueError("its motions are no finite 3 x 3 matrices")
    np.linalg.inv(rows)  # raises for a motion that cannot be reversed
    return [row.copy() for row in rows]


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Returns the arrays of an archive. None of them is larger than the archive. Raises what NumPy raises."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return {name: np.asarray(found[name]) for name in found.files}
