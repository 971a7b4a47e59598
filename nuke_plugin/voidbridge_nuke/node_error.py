"""The refusal of a node."""

from __future__ import annotations


class NodeError(Exception):
    """The node cannot do this. `text` gives the reason, `hint` the next step."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text + " " + hint)
        self.text = text
        self.hint = hint
