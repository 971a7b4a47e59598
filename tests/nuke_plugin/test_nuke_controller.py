"""The node in the hands of an artist: what is refused, its other buttons, older and newer nodes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import (
    node_of,
    remove,
    script,
    with_echo,
)

from voidbridge_nuke.knobs import NODE_VERSION


@pytest.mark.parametrize(
    ("more", "changes", "words"),
    [
        ({"matte": False}, {}, "input matte"),
        ({}, {"frame_range": "custom", "first": 5, "last": 4}, "5-4"),
        ({}, {"views_wanted": "left"}, "no view left"),
        ({}, {"cache": "/dev/null/x"}, "/dev/null/x"),
    ],
    ids=["no matte", "range", "view", "cache folder"],
)
def test_what_cannot_be_done_is_one_message_and_nothing_is_rendered(
    host: Any, shot: Any, more: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    node = node_of(host, shot, **more)
    for name, value in changes.items():
        node[name].setValue(value)
    host.stage.press("remove", node)
    (message,) = host.stage.messages
    assert words in message
    assert node["status"].value() in ("", "not rendered")


def test_check_connection_tells_what_it_found(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    host.stage.press("check", node)
    host.stage.until(lambda: host.stage.messages, "the answer")
    assert host.stage.messages == [
        "The connection works: a tiny shot was sent and came back correctly."
    ]


def test_the_report_has_the_knobs_and_the_last_job(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    host.stage.press("report", node)  # this host has no Qt and so no clipboard
    (report,) = host.stage.messages
    for words in ("engine = echo", "last job: ", "13.2v8", daemon.address):
        assert words in report


def made_with(version: int, text: str) -> str:
    return text.replace(f"\n node_version {NODE_VERSION}\n", f"\n node_version {version}\n")


def test_a_node_of_a_later_release_is_left_as_it_is(host: Any, shot: Any) -> None:
    text = made_with(99, script(shot))
    node = host.stage.load(text)[-1]
    assert (node["node_version"].value(), node["node_id"].value()) == (99, "")
    assert "later release" in node["status"].value()


def test_a_node_that_lacks_a_knob_gets_it_with_its_default(host: Any, shot: Any) -> None:
    text = re.sub(r" addUserKnob \{7 grain_amount .*\n grain_amount .*\n", "", script(shot))
    node = host.stage.load(made_with(0, text))[-1]
    assert node["grain_amount"].value() == 1.0
    assert node["node_version"].value() == NODE_VERSION


def test_a_new_node_is_behind_the_selected_one(host: Any, shot: Any) -> None:
    plate = host.stage.load(script(shot))[0]
    host.stage.selected = plate
    exec(host.stage.commands["Voidbridge"], {})
    node = host.stage.root.nodes()[-1]
    assert [node.input(i) for i in range(4)] == [plate, None, None, None]


def test_the_working_space_is_sent_as_a_space_and_not_as_a_role(
    host: Any, shot: Any, daemon: Any
) -> None:
    host.stage.root["workingSpaceLUT"].setValue("scene_linear")
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    version = Path(node["version_record"].value()).read_text()
    assert '"color_space": "scene_linear (ACES - ACEScg)"' in version
    host.stage.root["workingSpaceLUT"].setValue("compositing_log")
    host.stage.press("remove", node)
    assert "compositing_log is a role" in host.stage.messages[-1]


@pytest.mark.parametrize(("key", "name"), [("indie", "Nuke Indie"), ("nc", "Nuke Non-commercial")])
def test_an_edition_in_which_python_sees_ten_nodes_is_refused(
    host: Any, shot: Any, key: str, name: str
) -> None:
    host.env[key] = True
    host.stage.press("remove", node_of(host, shot))
    (message,) = host.stage.messages
    assert message.startswith(f"{name} lets Python see ten nodes")
    assert "voidbridge run" in message


def test_the_menu_makes_a_node(host: Any) -> None:
    exec(host.stage.commands["Voidbridge"], {})
    (node,) = host.allNodes("Group")
    assert node["node_id"].value()


def test_the_thread_of_a_job_that_touches_the_host_would_be_found(host: Any) -> None:
    import threading

    caught: list[BaseException] = []

    def touch() -> None:
        try:
            host.root()
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    assert "outside of the main thread" in str(caught[0])
    with pytest.raises(RuntimeError, match="hang"):
        host.executeInMainThread(print)
    with pytest.raises(AttributeError):
        _ = host.no_such_function
    with pytest.raises(NotImplementedError):
        _ = host.selectedNode


def test_the_stand_in_has_only_functions_of_types_nuke(host: Any) -> None:
    functions = {
        name
        for name, value in vars(host).items()
        if callable(value) and name[0].islower() and hasattr(value, "__wrapped__")
    }
    own = {"checked"}
    assert len(functions) > 15
    assert functions - own <= host.NAMES


def test_the_job_is_opened_in_the_browser_by_the_daemons_page(
    host: Any, shot: Any, daemon: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voidbridge_nuke import controller as conduct
    from voidbridge_nuke import support

    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(
        f'#!/bin/sh\ncat "${{1#file://}}" > "{opened}.tmp"; mv "{opened}.tmp" "{opened}"\n'
    )
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    job = conduct.LAST.pop(node["node_id"].value()).status.job
    host.stage.press("browse", node)
    host.stage.until(lambda: opened.exists() and opened.read_text(), "the browser")
    assert job
    assert job in opened.read_text()
    node["daemon"].setValue("tcp://127.0.0.1:9")
    (child,) = support.PAGES
    host.stage.press("browse", node)
    assert child.exit_code() is not None
    assert host.stage.messages == []
    support._close_pages()


def test_a_job_without_a_daemon_has_no_page(host: Any, shot: Any) -> None:
    node = node_of(host, shot)
    host.stage.press("browse", node)
    assert "has no page" in host.stage.messages[0]
