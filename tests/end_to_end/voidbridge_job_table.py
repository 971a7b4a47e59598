"""How a job stands by the files of its child: one table, which both hosts' tests run.

Loaded under the name `voidbridge_job_table` by their `conftest.py`.
"""

from __future__ import annotations

import json
from typing import Any


def working(text: str = "removing 3 of 9", alive: float = 1000.0) -> str:
    return json.dumps({"phase": "working", "text": text, "hint": "", "alive": alive})


ERROR = json.dumps(
    {"event": "error", "code": "request.x", "text": "no 1004", "hint": "Do.", "exit": 2}
)

JOBS: list[tuple[dict[str, Any], str, str]] = [
    ({"started": True}, "working", "starting"),
    ({"status": working(), "started": True}, "working", "removing 3 of 9"),
    ({"status": working()[:20], "started": True}, "working", "starting"),
    ({"status": working(alive=900.0)}, "lost", "100 s old: removing 3 of 9"),
    ({"status": working(), "code": 137, "said": "a\nKilled\n"}, "failed", "ended with 137: Killed"),
    ({"started": True, "code": 2, "said": ""}, "failed", "ended with 2: no output"),
    (
        {"started": True, "code": 2, "said": ERROR + "\nvoidbridge: no 1004\n  Do.\n"},
        "failed", "failed: no 1004. Do.",
    ),
    (
        {"started": True, "code": 5, "said": ERROR.replace('"exit": 2', '"exit": 5')},
        "cancelled", "cancelled",
    ),
    ({"status": json.dumps({"phase": "done", "text": "done"}), "code": 0}, "done", "done"),
    ({"status": json.dumps({"phase": "cancelled", "text": "x"})}, "cancelled", "cancelled"),
    (
        {"status": json.dumps({"phase": "failed", "text": "no 1004", "hint": "Render it."})},
        "failed", "failed: no 1004. Render it.",
    ),
]  # fmt: skip
"""Seen files with `now` at 1000 s, the phase, and words of the line for the artist."""
