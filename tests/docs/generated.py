"""The parts of pages that are made from the fields of the settings. `make docs` writes them, a test compares.

In a page such a part stands between `<!-- settings: OPERATION GROUP -->` (or `<!-- fields: OPERATION -->`, for
the protocol) and `<!-- end -->`. `<!-- hosts: NAME -->` stands before the table of the
reports that sites sent back from `voidbridge selftest NAME`.

It also writes the texts that users paste into a host: Groups for Nuke, and macros for Fusion.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, get_type_hints

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("protocol", "backend", "nuke_plugin")]

from voidbridge_backend.cli.setting_options import option  # noqa: E402
from voidbridge_protocol.operations import operation  # noqa: E402
from voidbridge_protocol.settings import EFFORT, SettingInfo, described, grouped  # noqa: E402

PART = re.compile(r"(<!-- (settings|fields|hosts): (\w+) ?([^\n]*?) ?-->\n).*?(<!-- end -->)", re.S)
KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def options_table(name: str, group: str) -> str:
    """The options of one group, as docs/cli.md has them."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    types = get_type_hints(operation(name).settings)
    for field, info in grouped(operation(name).settings)[group]:
        if not info.is_option:
            continue
        words = option(field.name)
        if types[field.name] is not bool:
            words += " " + (r"\|".join(map(str, info.choices)) or info.metavar)
        default = f"{field.default:g}" if types[field.name] is float else str(field.default)
        shown = f"`{default}` " if default and types[field.name] is not bool else ""
        rows.append(f"| `{words}` | {shown}| {info.help}{_range(info)} |")
    return "\n".join(rows) + "\n"


def fields_table(name: str) -> str:
    """The settings as they are on the wire, as docs/protocol.md has them."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    types = get_type_hints(operation(name).settings)
    for field, info in described(operation(name).settings):
        kind = KINDS.get(types[field.name], "list")
        choices = ", ".join(f"`{choice}`" for choice in info.choices)
        meaning = f"{choices}: {info.help}" if choices else info.help + _range(info)
        rows.append(f"| `{field.name}` | {kind} | `{json.dumps(field.default)}` | {meaning} |")
    return "\n".join(rows) + "\n"


def _sentence(info: SettingInfo) -> str:
    """The help as a tooltip. A value that it begins with keeps its spelling."""
    first = info.text[0] if info.help.startswith("`") else info.text[0].upper()
    return f"{first}{info.text[1:]}{_range(info)}."


def _range(info: SettingInfo) -> str:
    return f" ({info.range_words})" if info.range_words else ""


REPORTS = ROOT / "docs/host-reports"
"""The reports of self-tests, one JSON file each."""


def hosts_table(host: str, folder: Path = REPORTS) -> str:
    """The reports of one host, by version. A report comes from outside: its texts are shown as plain words."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    reports = sorted((r for r in found if r["host"] == host), key=lambda r: str(r["version"]))
    if not reports:
        return "None yet.\n"
    rows = ["| version | system | points that hold | points that fail |", "|---|---|---|---|"]
    for report in reports:
        points = report["points"]
        failed = [_plain(point["point"]) for point in points if point["verdict"] != "ok"]
        said = ", ".join(f"`{name}`" for name in failed) or "none"
        holds = f"{len(points) - len(failed)} of {len(points)}"
        rows.append(
            f"| {_plain(report['version'])} | {_plain(report.get('system', ''))} | {holds} | {said} |"
        )
    return "\n".join(rows) + "\n"


def _plain(text: object) -> str:
    return re.sub(r"[^\w .,:()/+-]+", " ", str(text), flags=re.ASCII).strip()[:80]


CONTROLS = (
    ROOT / "nuke_plugin/voidbridge_nuke/controls.json",
    ROOT / "resolve_plugin/voidbridge_resolve/Modules/Lua/voidbridge/controls.json",
)
"""The files that both hosts read: a copy each, because each is installed alone."""
HOSTED = ("remove", "key", "mask", "generate")
"""The operations that have a node for Nuke and a tool for Fusion."""


def controls() -> str:
    """The settings by operation and name, as both hosts show them."""
    return (
        json.dumps({name: _controls(name) for name in HOSTED}, indent=1, ensure_ascii=False) + "\n"
    )


def _controls(name: str) -> dict[str, Any]:
    settings = operation(name).settings
    types = get_type_hints(settings)
    made = {}
    for field, info in described(settings):
        kind = "choice" if info.choices else KINDS[types[field.name]]
        default = str(field.default) if info.choices else field.default
        low = info.least if info.least is not None else info.above
        high = info.most if info.most is not None else info.below
        made[field.name] = {
            "option": option(field.name),
            "kind": kind,
            "label": info.label or field.name.replace("_", " "),
            "tip": _sentence(info),
            "default": default,
            **({"choices": list(map(str, info.choices))} if info.choices else {}),
            **({"effort": True} if field.name in EFFORT else {}),
            **({"least": low} if low is not None and not info.choices else {}),
            **({"most": high} if high is not None and not info.choices else {}),
        }
    return made


def pasted_texts() -> dict[Path, str]:
    """The Groups of Nuke and the macros of Fusion, by their files. They contain the tooltips of `controls`."""
    from lupa.luajit21 import LuaRuntime  # type: ignore[import-not-found]

    from voidbridge_nuke import group
    from voidbridge_nuke.operations import OPERATIONS

    tool = ROOT / "resolve_plugin/voidbridge_resolve"
    lua = LuaRuntime()
    lua.globals().package.path = str(tool / "Modules/Lua/?.lua")
    text = lua.eval("require('voidbridge.setting').text")
    macro = lua.eval("function(name) return require('voidbridge.operations')[name].macro end")
    texts = {tool / f"Macros/Voidbridge/{macro(name)}.setting": text(name) for name in HOSTED}
    nodes = ROOT / "nuke_plugin/voidbridge_nuke/nuke_path"
    return texts | {nodes / f"{made.node}.nk": group.pasted(made) for made in OPERATIONS.values()}


def generated(page: str) -> str:
    """The page with every part as it should be."""

    def part(match: re.Match[str]) -> str:
        _, kind, name, group, _ = match.groups()
        if kind == "hosts":
            return match[1] + hosts_table(name) + match[5]
        table = options_table(name, group) if kind == "settings" else fields_table(name)
        return match[1] + table + match[5]

    return PART.sub(part, page)


def pages() -> list[Path]:
    return [path for path in sorted(ROOT.glob("docs/*.md")) if PART.search(path.read_text("utf-8"))]


if __name__ == "__main__":
    for _path in CONTROLS:
        _path.write_text(controls(), "utf-8")
    for _path, _text in pasted_texts().items():
        _path.write_text(_text, "utf-8")
    for _path in pages():
        _path.write_text(generated(_path.read_text("utf-8")), "utf-8")
        print(f"{_path.relative_to(ROOT)} written")
