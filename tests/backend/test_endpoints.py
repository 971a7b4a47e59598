import pytest

from voidbridge_backend.daemon.net.endpoints import Endpoints
from voidbridge_protocol.errors import RequestError


def test_the_bulk_socket_stands_beside_the_control_socket() -> None:
    assert Endpoints.of("tcp://127.0.0.1:5577") == Endpoints(
        "tcp://127.0.0.1:5577", "tcp://127.0.0.1:5578", "5578"
    )
    assert Endpoints.of("ipc:///run/vb/ctl").bulk == "ipc:///run/vb/ctl.bulk"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"])
def test_this_machine_may_listen_to_itself(host: str) -> None:
    assert Endpoints.of(f"tcp://{host}:7000").announced == "7001"
    assert not Endpoints.of(f"tcp://{host}:7000").is_open


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "*",
        "10.0.0.5",
        "box.studio.lan",
        "[::]",
        "eth0",
        "[::ffff:10.0.0.5]",
        "localhost.",
    ],
)
def test_an_address_that_others_can_reach_is_known_as_such(host: str) -> None:
    assert Endpoints.of(f"tcp://{host}:5577").is_open


@pytest.mark.parametrize(
    "text",
    ["", "5577", "tcp://127.0.0.1", "tcp://127.0.0.1:0", "ipc://", "tcp://:5577", "udp://*:1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        Endpoints.of(text)
