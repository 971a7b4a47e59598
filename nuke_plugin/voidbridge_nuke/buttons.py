"""The action for each button of a node."""

from __future__ import annotations

from typing import Any, Callable

from . import asking, controller, extras, host, old_versions, planning, support
from .request import NodeError


def preview(node: Any) -> None:
    """Switches to the quadmask, and back to the result."""
    there = host.values(node)["output"] == "quadmask"
    host.put(node, {"output": host.operation(node).outputs[0] if there else "quadmask"})


def next_take(node: Any) -> None:
    """Raises the seed by one, and starts the job. Raises `NodeError` for an engine without a seed."""
    values = host.values(node)
    if values["engine"] == "morph":
        raise NodeError(
            "morph has no seed, so it has no other take.", "Choose ltx, or another motion."
        )
    host.set_value(node, "seed", int(values["seed"]) + 1)
    controller.start(node)


def _button(action: Callable[..., Any], *more: Any) -> Callable[[Any], None]:
    return lambda node: controller.answering(node, lambda it: action(it, *more))


BUTTONS: dict[str, Callable[[Any], None]] = {
    "remove": controller.begin,
    "key": controller.begin,
    "track": controller.begin,
    "generate": controller.begin,
    "next_take": _button(next_take),
    "again": controller.track_again,
    "ask": _button(asking.ask),
    "use": _button(extras.use_mattes),
    "add_point": _button(extras.add_prompt, "point"),
    "add_not": _button(extras.add_prompt, "not"),
    "add_box": _button(extras.add_prompt, "box"),
    "add_noun": _button(extras.add_noun),
    "undo_prompt": extras.drop_prompt,
    "cancel": controller.cancel,
    "preview": preview,
    "check": _button(lambda node: support.check(str(host.values(node)["daemon"]).strip())),
    "test_frame": controller.test_frame,
    "make_read": _button(extras.make_read),
    "purge": _button(old_versions.purge),
    "archive": _button(old_versions.archive),
    "estimate": _button(planning.estimate),
    "submit": _button(planning.submit),
    "reveal": _button(extras.reveal),
    "browse": _button(lambda node: extras.browse(node, controller.work_of(node))),
    "report": lambda node: extras.report(node, controller.work_of(node)),
}
