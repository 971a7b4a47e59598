"""The engine: one session of the network for each object, frames streamed, memory bounded by the network's own.

Pictures are stretched to the network's square. Coordinates are pixels of that square. A box is two points with the
labels 2 and 3 before the clicks, as in the prompt encoder's training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from voidbridge_backend.engines.mask_base import (
    Clicks,
    Matte,
    Picture,
    Pictures,
    Prompts,
    Tracked,
)
from voidbridge_protocol.errors import OutOfMemory

MEMORY = 16
"""Frames whose features the memory may still use: the object pointers' reach, more than the masks'."""
OBJECT = 1
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of sRGB from 0 to 1, as the image encoder of SAM 2 was trained."""
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""As the image encoder of SAM 3 was trained."""
Normal = tuple[tuple[float, float, float], tuple[float, float, float]]
BOX_LABELS = (2, 3)


class SamTracker:
    """Tracks objects with a network that has the interface of `Sam2VideoModel`."""

    def __init__(
        self,
        name: str,
        network: Any,
        session: type[Any],
        device: str,
        checkpoint: str,
        normal: Normal = IMAGENET,
    ) -> None:
        self.name = name
        self._network = network
        self._session = session
        self._device = torch.device(device)
        self._checkpoint = checkpoint
        self._mean, self._deviation = np.array(normal, np.float32)
        self._side = _side(network.config.image_size)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """See `Masker.size`. The longer side is at most the network's square."""
        factor = min(1.0, self._side / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def describe(self) -> dict[str, Any]:
        return {
            "engine": self.name,
            "checkpoint": self._checkpoint,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        }

    def track(
        self,
        pictures: Pictures,
        frames: Sequence[int],
        prompts: Prompts,
        heartbeat: Callable[[], None],
    ) -> Iterator[Tracked]:
        """See `Masker.track`. Key mattes are given back as they are; on their frames clicks are not used."""
        places = {frame: place for place, frame in enumerate(frames)}
        session = self._session(
            video=None,
            video_height=self._side,
            video_width=self._side,
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=torch.float32,
        )
        session.processed_frames = StreamedFrames(self.prepared, pictures, frames)
        session.obj_id_to_idx(OBJECT)
        prompted = sorted({*prompts.clicks, *prompts.keys})
        found: dict[int, Tracked] = {}
        for frame in prompted:
            heartbeat()
            found[frame] = self._prompted(session, places[frame], frame, pictures, prompts)
        yield from found.values()
        first = places[prompted[0]]
        ways = (range(first + 1, len(frames)), False), (range(first - 1, -1, -1), True)
        for way, reverse in ways:
            for place in way:
                heartbeat()
                if frames[place] not in found:
                    yield self._stepped(session, place, frames[place], pictures, reverse)
                _forget(session, place, reverse)

    def _prompted(
        self, session: Any, place: int, frame: int, pictures: Pictures, prompts: Prompts
    ) -> Tracked:
        """Adds the frame's prompt and runs it at once: the network takes one new prompt at a time."""
        if frame in prompts.keys:
            key = prompts.keys[frame]
            square = cv2.resize(key, (self._side, self._side), interpolation=cv2.INTER_AREA)
            inside = torch.from_numpy((square > 0.5).astype(np.float32))[None, None]
            session.add_mask_inputs(0, place, inside)
        else:
            height, width = pictures(frame).shape[:2]
            inputs = _points(prompts.clicks[frame], self._side / width, self._side / height)
            session.add_point_inputs(0, place, inputs)
        session.obj_with_new_inputs = [OBJECT]
        tracked = self._stepped(session, place, frame, pictures, False)
        return Tracked(frame, prompts.keys[frame], 1.0) if frame in prompts.keys else tracked

    def _stepped(
        self, session: Any, place: int, frame: int, pictures: Pictures, reverse: bool
    ) -> Tracked:
        try:
            with torch.inference_mode():
                output = self._network(session, frame_idx=place, reverse=reverse)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"{self.name} on frame {frame}: {str(error)[:120]}") from error
        logits = output.pred_masks.reshape(output.pred_masks.shape[-2:]).float().cpu().numpy()
        present = float(output.object_score_logits.reshape(-1)[0])
        matte = soft(logits, pictures(frame))
        if present <= 0:
            matte = np.zeros_like(matte)
        return Tracked(frame, matte, round(float(1 / (1 + np.exp(-np.clip(present, -30, 30)))), 4))

    def prepared(self, picture: Picture) -> torch.Tensor:
        """[3, side, side], normalized."""
        square = cv2.resize(picture, (self._side, self._side), interpolation=cv2.INTER_LINEAR)
        values = (square.astype(np.float32) / 255 - self._mean) / self._deviation
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


class StreamedFrames(dict[int, torch.Tensor]):
    """The shot as a session's frames: each is made when it is asked for, and not kept."""

    def __init__(
        self,
        prepared: Callable[[Picture], torch.Tensor],
        pictures: Pictures,
        frames: Sequence[int],
    ) -> None:
        super().__init__()
        self._prepared, self._pictures, self._numbers = prepared, pictures, frames

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> torch.Tensor:
        return self._prepared(self._pictures(self._numbers[place]))


def soft(logits: NDArray[np.float32], picture: Picture) -> Matte:
    """A network's logits of any size as a matte of the picture's size."""
    height, width = picture.shape[:2]
    large = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + np.exp(-np.clip(large, -30, 30))), np.float32)


def _side(image_size: Any) -> int:
    return int(image_size if isinstance(image_size, int) else image_size[0])


def _points(clicks: Clicks, across: float, down: float) -> dict[str, torch.Tensor]:
    """The prompt encoder's points: coordinates (1, 1, P, 2) and labels (1, 1, P)."""
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    if clicks.box is not None:
        left, top, right, bottom = clicks.box
        points += [(left, top), (right, bottom)]
        labels += BOX_LABELS
    points += [*clicks.positive, *clicks.negative]
    labels += [1] * len(clicks.positive) + [0] * len(clicks.negative)
    scaled = np.array(points, np.float32) * np.array([across, down], np.float32)
    return {
        "point_coords": torch.from_numpy(scaled)[None, None],
        "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None],
    }


def _forget(session: Any, place: int, reverse: bool) -> None:
    """Drops everything that the memory cannot reach any more, and full masks, which are used only once."""
    for outputs in session.output_dict_per_obj.values():
        tracked = outputs["non_cond_frame_outputs"]
        for old in [n for n in tracked if (n > place + MEMORY if reverse else n < place - MEMORY)]:
            del tracked[old]
        for output in (*tracked.values(), *outputs["cond_frame_outputs"].values()):
            output.pop("high_res_masks", None)
