"""The parts of an operation: its settings, the roles of its files, and the checks that follow from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from voidbridge_protocol.errors import BadMessage
from voidbridge_protocol.settings import OperationSettings


@dataclass(frozen=True)
class Role:
    """One use of files in an operation, as the plate or the matte."""

    name: str
    is_required: bool = True
    covers_all: bool = True
    """Its files are one run without gaps, the same for all such roles, and contain the result's range.

    Otherwise it has files for any frames.
    """
    is_within: bool = False
    """Each of its files belongs to a frame of the roles that cover all."""
    is_picture: bool = True
    """Whether its files are frames. Others, such as weights, are only counted by frame numbers."""


@dataclass(frozen=True)
class Operation:
    """A kind of job. Its results are one file a frame, from the request's first to its last."""

    name: str
    settings: type[OperationSettings]
    roles: tuple[Role, ...]
    """The first role that covers all frames is the reference for the others."""
    is_exclusive: bool = False
    """Whether other engines leave the device while a job runs."""
    goes_on: bool = False
    """Whether another attempt goes on where one was stopped."""

    def check_frames(self, frames: Mapping[str, Collection[int]], first: int, last: int) -> None:
        """Checks the frames of each role against the range of the results. Raises `BadMessage`."""
        known = [role.name for role in self.roles]
        if unknown := sorted(set(frames) - set(known)):
            raise BadMessage(
                f"a file for {ascii(unknown[0])[:60]}; the roles of {self.name} are {', '.join(known)}"
            )
        if lacking := [r.name for r in self.roles if r.is_required and not frames.get(r.name)]:
            raise BadMessage(f"{self.name} needs a {lacking[0]}, and no file is one")
        covering = [r.name for r in self.roles if r.covers_all and frames.get(r.name)]
        if not covering:
            return
        reference, *others = covering
        run = set(frames[reference])
        # Counted, not listed: two frames a billion apart must not exhaust memory.
        if max(run) - min(run) + 1 != len(run):
            raise BadMessage(f"the {reference}'s frames are not one run without gaps")
        for role in others:
            if set(frames[role]) != run:
                raise BadMessage(f"the {role} covers different frames than the {reference}")
        for within in (role.name for role in self.roles if role.is_within):
            if outside := sorted(set(frames.get(within, ())) - run):
                raise BadMessage(
                    f"the {within} has frame {outside[0]}, which the {reference} lacks"
                )
        if not (min(run) <= first and last <= max(run)):
            raise BadMessage(f"the {reference} does not cover all of {first}-{last}")
