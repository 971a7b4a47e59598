"""Nobody fills the log, and what was left out is said."""

from __future__ import annotations

from voidbridge_backend.daemon.log_limit import LINES, MINUTE_S, OTHERS, PEERS, LogLimit


def test_a_peer_has_its_lines_and_the_rest_is_counted() -> None:
    ration = LogLimit()
    assert ration.suppressed(MINUTE_S) == []
    assert sum(ration.allows("loud") for _ in range(1000)) == LINES
    assert all(ration.allows("quiet") for _ in range(LINES)), "another has its own"
    assert ration.suppressed(MINUTE_S + 1) == []
    assert ration.suppressed(2 * MINUTE_S) == [("loud", 1000 - LINES)]
    assert ration.suppressed(3 * MINUTE_S) == []
    assert ration.allows("loud"), "a new minute"


def test_many_peers_together_have_an_end_too() -> None:
    ration = LogLimit()
    written = sum(ration.allows(f"peer {n}") for _ in range(3) for n in range(5000))
    assert written == 3 * PEERS + LINES
    (said,) = ration.suppressed(MINUTE_S)
    assert said == (OTHERS, 3 * (5000 - PEERS) - LINES)
