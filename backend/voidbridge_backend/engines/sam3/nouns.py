"""Objects that a noun names: the detector looks at every frame, and the tracker follows what it finds.

N. Carion et al., "SAM 3: Segment anything with concepts", 2025. The network is that of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voidbridge_backend.engines.mask_base import Picture, Pictures, Tracked
from voidbridge_backend.engines.sam2.engine import MEMORY, StreamedFrames, soft
from voidbridge_protocol.errors import BadSetting, OutOfMemory

from .components import use_own_kernels

TOKENS = 32
"""Of a noun, with the marks of its begin and end, as the text encoder was trained."""
MOST = 64
"""Objects of one noun that are followed at once."""
NOTHING = -10.0
"""A logit of what is surely not the object."""


class NounTracker:
    """Finds and follows with a network that has the interface of `Sam3VideoModel`."""

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        prepared: Callable[[Picture], torch.Tensor],
        device: torch.device,
    ) -> None:
        use_own_kernels()
        self._network = network
        self._network.max_num_objects = min(network.max_num_objects, MOST)
        self._tokenizer = tokenizer
        self._prepared = prepared
        self._device = device

    def track(
        self, noun: str, pictures: Pictures, frames: Sequence[int], heartbeat: Callable[[], None]
    ) -> Iterator[Tracked]:
        """All objects of this noun as one matte, each frame once, in order.

        The first frames come late: an object that the detector does not confirm soon is left out from its start.
        Raises `BadSetting` for a noun of too many tokens.
        """

        def picture(frame: int) -> Picture:
            heartbeat()
            return pictures(frame)

        session = self._session(noun, StreamedFrames(self._prepared, picture, frames))
        going = self._network.propagate_in_video_iterator(session, start_frame_idx=0)
        try:
            for output in going:
                place = output.frame_idx
                yield _tracked(output, session, frames[place], pictures(frames[place]))
                _forget(session, place, self._network.tracker_model.config.max_cond_frame_num)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"sam3 looking for {noun!r}: {str(error)[:120]}") from error

    def _session(self, noun: str, frames: StreamedFrames) -> Any:
        from transformers import Sam3VideoInferenceSession

        words = self._tokenizer(noun, padding="max_length", max_length=TOKENS, return_tensors="pt")
        tokens = words["input_ids"].shape[-1]
        if tokens > TOKENS:
            raise BadSetting(
                f"the noun {noun!r} has {tokens} tokens, and sam3 reads {TOKENS}",
                "Write fewer words.",
            )
        session = Sam3VideoInferenceSession(
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=torch.float32,
        )
        session.processed_frames = frames
        prompt = session.add_prompt(noun)
        session.prompt_input_ids[prompt] = words["input_ids"].to(self._device)
        session.prompt_attention_masks[prompt] = words["attention_mask"].to(self._device)
        return session


def _tracked(output: Any, session: Any, frame: int, picture: Picture) -> Tracked:
    """The matte of all objects that are shown on this frame. The score is that of the least sure one."""
    hidden = {*(output.suppressed_obj_ids or ()), *session.hotstart_removed_obj_ids}
    shown = [number for number in output.obj_id_to_mask if number not in hidden]
    logits = [output.obj_id_to_mask[number].amax(0).float().cpu().numpy() for number in shown]
    there = [found.max() > 0 for found in logits]
    if not any(there):
        return Tracked(frame, np.zeros(picture.shape[:2], np.float32), 0.0)
    joined: NDArray[np.float32] = np.maximum.reduce(logits).clip(NOTHING)
    scores = [
        output.obj_id_to_tracker_score.get(number, output.obj_id_to_score.get(number, 0.0))
        for number, is_there in zip(shown, there, strict=True)
        if is_there
    ]
    return Tracked(frame, soft(joined, picture), round(float(np.clip(min(scores), 0, 1)), 4))


def _forget(session: Any, place: int, conditioning: int) -> None:
    """Drops everything that the memory cannot reach any more.

    The tracker uses the nearest `conditioning` of the frames on which the detector confirmed an object.
    """
    for outputs in session.output_dict_per_obj.values():
        tracked = outputs["non_cond_frame_outputs"]
        for old in [number for number in tracked if number < place - MEMORY]:
            del tracked[old]
        confirmed = outputs["cond_frame_outputs"]
        for old in sorted(confirmed)[:-conditioning]:
            del confirmed[old]
        for output in (*tracked.values(), *confirmed.values()):
            output.pop("high_res_masks", None)
    for inputs in session.mask_inputs_per_obj.values():
        inputs.clear()
    for by_frame in (session.obj_id_to_tracker_score_frame_wise, session.suppressed_obj_ids):
        for old in [number for number in by_frame if number < place - MEMORY]:
            del by_frame[old]
