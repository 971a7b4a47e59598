"""The pages and the code say the same: commands, options, settings, events, exit codes, examples and links."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from voidbridge_generated import CONTROLS, controls, generated
from voidbridge_generated import pages as generated_pages
from voidbridge_message_patterns import patterns

from voidbridge_backend import cli
from voidbridge_backend.config import Config
from voidbridge_backend.quality.no_reference import FrameFigures
from voidbridge_backend.quality.reference import ReferenceScores
from voidbridge_backend.tools.archive import ArchivedVersion
from voidbridge_backend.tools.estimate import Estimate
from voidbridge_backend.tools.report.key_report import KeyReport
from voidbridge_backend.tools.report.report import QualityReport
from voidbridge_protocol.wire.messages import Status

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CLI = ROOT / "docs/cli.md"
SPREAD = {
    "status": Status,
    "report": ReferenceScores,
    "quality": QualityReport,
    "frame-quality": FrameFigures,
    "key-quality": KeyReport,
    "estimate": Estimate,
    "archived": ArchivedVersion,
}
"""Events whose fields come from a dataclass."""


def sections(page: Path) -> dict[str, str]:
    """The text below each heading of any level, by the heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    parts = re.split(r"^#+ (.+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, without heads and rulers."""
    cells = [
        [cell.replace(r"\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    rulers = {i for i, row in enumerate(cells) if all(set(cell) <= set("-: ") for cell in row)}
    rulers = {i for i in rulers if any(cells[i])}
    return [row for i, row in enumerate(cells) if i not in rulers and i + 1 not in rulers]


def anchor(heading: str) -> str:
    """As code hosts make it."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def commands() -> dict[str, argparse.ArgumentParser]:
    for action in cli.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                command.format_help()  # which adds the options
            return dict(action.choices)
    raise AssertionError("the parser has no commands")


def visible(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]


def described(command: str) -> dict[str, str]:
    """Default by option: those in the command's own table and in the sections that it names."""
    page = sections(CLI)
    anchors = {anchor(heading): text for heading, text in page.items()}
    groups = re.findall(r"\[the \w+\]\(#(the-\w+)\)", page[command])
    found: dict[str, str] = {}
    for text in [page[command], *(anchors[group] for group in groups)]:
        for option, default, *_ in rows(text):
            words = re.sub("`", "", option)
            found[re.findall(r"--[\w-]+|^\w+", words)[0]] = default.strip("`")
    return found


def name_of(action: argparse.Action) -> str:
    long = [option for option in action.option_strings if option.startswith("--")]
    return long[0] if long else str(action.metavar)


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_command_is_described_with_exactly_its_options(command: str) -> None:
    assert set(described(command)) == {name_of(a) for a in visible(commands()[command])}


@pytest.mark.parametrize("command", sorted(commands()))
def test_defaults_are_the_described_ones(command: str) -> None:
    defaults = {
        name_of(action): f"{action.default:g}"
        if isinstance(action.default, float)
        else str(action.default)
        for action in visible(commands()[command])
        if action.default not in (None, "", False) or type(action.default) in (int, float)
    }
    said = described(command)
    if command == "serve":
        assert said.pop("--listen") == Config().listen
    assert {name: default for name, default in said.items() if default} == defaults


def test_commands_are_listed_with_the_words_of_the_help() -> None:
    listed = {
        re.sub(r"[\[\]`]|\(.*\)", "", row[0]): row[1]
        for row in rows(CLI.read_text())
        if row[0].startswith("[`")
    }
    assert set(listed) == set(commands())
    for name, what in listed.items():
        assert what.lower() == (commands()[name].description or "").lower().rstrip(".")


def test_values_to_choose_from_are_listed() -> None:
    text = CLI.read_text().replace(r"\|", "|")
    for parser in commands().values():
        for action in visible(parser):
            if action.choices:
                assert f"{name_of(action)} {'|'.join(map(str, action.choices))}`" in text


def test_every_setting_has_a_heading_and_its_default() -> None:
    page = sections(ROOT / "docs/configuration.md")
    headings = {heading.strip("`") for heading in page if heading.startswith("`")}
    assert headings == {field.name for field in fields(Config)}
    for field in fields(Config):
        default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
        said = re.match(r"\s*Default: (.+)\n", page[f"`{field.name}`"])
        assert said, field.name
        assert said[1].strip("`") == (str(default) or "empty")


def emitted() -> dict[str, set[str]]:
    """The fields of every event in the code, by the event's name."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "backend").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "event"):
                continue
            (name,) = (arg.value for arg in call.args if isinstance(arg, ast.Constant))
            names = {keyword.arg for keyword in call.keywords if keyword.arg}
            if any(keyword.arg is None for keyword in call.keywords):
                names |= {field.name for field in fields(SPREAD[name])}
            found.setdefault(name, set()).update(names)
    return found


def test_every_event_is_described_with_every_field() -> None:
    said = {
        heading.split("`")[1]: {
            name for row in rows(text) for name in re.findall(r"`(\w+)`", row[0])
        }
        for heading, text in sections(CLI).items()
        if heading.startswith("event ")
    }
    assert said == emitted()


@pytest.mark.parametrize("path", CONTROLS, ids=lambda path: path.parts[-3])
def test_both_hosts_have_the_settings_as_they_are(path: Path) -> None:
    assert path.read_text("utf-8") == controls(), "make docs"


@pytest.mark.parametrize("page", generated_pages(), ids=lambda page: page.name)
def test_what_is_made_from_the_settings_is_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == generated(text), "make docs"


def test_exit_codes_are_the_described_ones() -> None:
    said = {int(code) for code, _ in rows(sections(CLI)["Exit codes"])}
    assert said == {value for name, value in vars(cli).items() if name.startswith("EXIT_")}


def modules(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob("*.py") if not path.stem.startswith("__")}


def named_in(heading: str, column: int = 0) -> set[str]:
    table = rows(sections(ROOT / "docs/architecture.md")[heading])
    return {name for row in table for name in re.findall(r"`([\w/]+)`", row[column])}


def test_every_module_of_the_protocol_has_its_place() -> None:
    package = "protocol/voidbridge_protocol"
    inside = {
        f"{room}/{name}"
        for room in ("wire", "transfer", "testing")
        for name in modules(f"{package}/{room}")
    }
    assert named_in("The protocol") == modules(package) | inside | {"operations/"}
    table = rows(sections(ROOT / "docs/architecture.md")["The protocol"])
    (operations,) = (row[1] for row in table if row[0] == "`operations/`")
    assert set(re.findall(r"`(\w+)`", operations)) == modules(f"{package}/operations")


def test_every_module_of_an_engine_has_its_place() -> None:
    engines = ROOT / "backend/voidbridge_backend/engines"
    rooms = {path.parent for path in engines.glob("*/**/__init__.py")}
    found = {
        f"{room.relative_to(engines).as_posix()}/": names
        for room in rooms
        if (names := modules(room.relative_to(ROOT).as_posix()))
    }
    table = rows(sections(ROOT / "docs/architecture.md")["The engines"])
    assert {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in table} == found


def test_every_room_and_module_of_the_backend_has_its_place() -> None:
    backend = ROOT / "backend/voidbridge_backend"
    rooms = {f"{path.parent.name}/" for path in backend.glob("*/__init__.py")}
    assert named_in("The backend") == rooms | modules("backend/voidbridge_backend")
    table = rows(sections(ROOT / "docs/architecture.md")["The backend"])
    for row in table:
        room = row[0].strip("`")
        if room.endswith("/") and room != "daemon/":
            inside = {f"{path.parent.name}/" for path in (backend / room).glob("*/__init__.py")}
            said = set(re.findall(r"`([\w/]+)`", row[1]))
            assert said == inside | modules(f"backend/voidbridge_backend/{room}"), room


def test_every_module_of_the_daemon_has_its_place() -> None:
    daemon = ROOT / "backend/voidbridge_backend/daemon"
    found = {path.relative_to(daemon).with_suffix("").as_posix() for path in daemon.rglob("*.py")}
    assert named_in("The daemon") == {name for name in found if not name.endswith("__init__")}


@pytest.mark.parametrize("package", ["protocol", "backend", "backend.daemon"])
def test_the_rooms_are_stacked_as_the_linter_has_them(package: str) -> None:
    config = (ROOT / "pyproject.toml").read_text()
    contract = re.search(
        rf"containers = \[\"voidbridge_{re.escape(package)}\"\]\nlayers = (\[.*?\])\n", config, re.S
    )
    assert contract
    layers = ast.literal_eval(contract[1])
    page = (ROOT / "docs/architecture.md").read_text()
    drawn = re.search(rf"^{package.split('.')[-1]}  +(.*?)\n(?:\n|```)", page, re.M | re.S)
    assert drawn
    assert [line.strip() for line in drawn[1].splitlines()] == layers


def test_every_folder_has_an_import_contract_that_names_all_of_its_modules() -> None:
    config = (ROOT / "pyproject.toml").read_text()
    contracts = re.findall(
        r"^containers = \[\"([\w.]+)\"\]\nlayers = \[(?:.*?)\]\nexhaustive = true$",
        config,
        re.M | re.S,
    )
    names = set()
    for part in ("protocol", "backend"):
        for path in (ROOT / part).rglob("__init__.py"):
            if len(modules(path.parent.relative_to(ROOT).as_posix())) > 1:
                names.add(".".join(path.parent.relative_to(ROOT / part).parts))
    assert sorted(names - set(contracts)) == []


def shell_lines() -> list[tuple[str, str]]:
    """(page, line) of every shell example; lines that go on are one."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                found.append((page.name, line.partition(" # ")[0].strip()))
    return found


def parses(words: list[str]) -> bool:
    try:
        cli.parser().parse_args(words)
    except SystemExit as end:
        return end.code == 0  # --help and --version end there
    return True


def test_every_example_of_the_command_can_be_parsed() -> None:
    parsed = 0
    for page, line in shell_lines():
        for example in re.findall(r"(?:^|[(;& /])voidbridge( [^|)&;>]*)", line):
            assert parses(shlex.split(example)), f"{page}: {line}"
            parsed += 1
    assert parsed >= 20


def test_every_target_of_make_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.M)
    }
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, place = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if place:
            assert place in {anchor(heading) for heading in sections(path)}, target


ONLY_NEWER = {"error", "daemon", "job"}
"""Codes of branches that this release never raises: only a newer daemon has texts for them."""


def examples() -> dict[str, str]:
    """The example of each code in docs/errors.md, in one line."""
    found = {}
    for heading, text in sections(ROOT / "docs/errors.md").items():
        quoted = re.findall(r"^> ?(.*)$", text, re.M)
        if quoted and heading.strip("`") not in ONLY_NEWER:
            found[heading.strip("`")] = " ".join(quoted)
    return found


def test_every_example_of_an_error_is_a_text_that_the_code_can_say() -> None:
    files = [*(ROOT / "protocol").rglob("*.py"), *(ROOT / "backend").rglob("*.py")]
    known = list(patterns(files))
    said = examples()
    assert len(said) > 30
    never = {code: text for code, text in said.items() if not any(p.fullmatch(text) for p in known)}
    assert never == {}
