"""A small Fusion for tests: compositions and the application, seen from LuaJIT as Fusion shows them.

A name that is not in `NAMES` raises. Savers write real OpenEXR files. Loaders read them, and forget their trim when
their clip changes. Custom tools compute. A value that was set in a locked comp outside of an Undo is not rendered.
`Stage` controls it from the test.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime, lua_type
from voidbridge_fusion_tools import BMD, NAMES, Image, Thing, Tool, plain

UNSET = -1000000000
MACROS = {
    "remove": ("Voidbridge", ("plate", "matte", "affected", "clean")),
    "key": ("VoidbridgeKey", ("plate", "hint", "screen")),
    "mask": ("VoidbridgeMask", ("plate", "seed")),
    "generate": ("VoidbridgeGenerate", ("plate", "tail", "reference")),
}
"""The file of each operation's macro, and its inputs."""

SHIM = """
local get, set = ...
local handles = setmetatable({}, {__mode = "k"})
local mt = {}
function mt.__index(self, name)
    local is_method, value = get(handles[self], name)
    if not is_method then
        return value
    end
    return function(me, ...)
        assert(handles[me] == handles[self], name .. " was called with a dot")
        return value(...)
    end
end
function mt.__newindex(self, name, value)
    set(handles[self], name, value)
end
return function(handle)
    local proxy = setmetatable({}, mt)
    handles[proxy] = handle
    return proxy
end, function(proxy)
    return handles[proxy]
end
"""

READ_SETTING = """
return function(text)
    local made = assert(loadstring("return " .. text))
    local order = 0
    local function tagged(kind)
        return function(of)
            of.__class, order = kind, order + 1
            of.__order = order
            return of
        end
    end
    setfenv(made, setmetatable({ordered = function() return function(of) return of end end}, {
        __index = function(_, kind) return tagged(kind) end,
    }))
    return made()
end
"""

RUN = """
return function(text, tool, comp)
    local chunk = assert(loadstring(text))
    setfenv(chunk, setmetatable({tool = tool, comp = comp}, {__index = _G}))
    return chunk()
end
"""


RESOLVE = """
local wrong = ...
local item = {
    GetStart = function() return 100 end,
    GetEnd = function() return wrong() == "clip ends" and 123 or 124 end,
    GetDuration = function() return 24 end,
}
local function gives(name, value)
    return { [name] = function() return value end }
end
return gives("GetProjectManager", gives("GetCurrentProject", gives("GetCurrentTimeline",
    gives("GetItemListInTrack", { item }))))
"""
"""Ends are exclusive: davinci-resolve-mcp, issue 82, measured on Studio 21.0."""


class Composition(Thing):
    kind = "Composition"

    def __init__(self, stage: Stage, first: int, last: int, file: str = "") -> None:
        self.stage, self.first, self.last, self.file = stage, first, last, file
        self.render_range: tuple[float, float] = (UNSET, UNSET)
        self.time = first
        """The frame that is shown."""
        self.hair = 0.0
        """The error that a fractional frame rate leaves beside each frame."""
        self.tools: list[Tool] = []
        self.selection: list[Tool] = []
        self.locks = self.undo = 0
        self.undone: list[str] = []
        self.rendered: list[dict[str, Any]] = []
        self.stop_render_at: int | None = None

    def GetAttrs(self) -> Any:
        return {
            "COMPN_GlobalStart": self.first + self.hair, "COMPN_GlobalEnd": self.last - self.hair,
            "COMPN_RenderStart": self.render_range[0], "COMPN_RenderEnd": self.render_range[1],
            "COMPN_CurrentTime": float(self.time), "COMPS_FileName": self.file,
        }  # fmt: skip

    def GetToolList(self, selected: bool) -> Any:
        return dict(enumerate(self.selection if selected else self.tools, 1))

    def AddTool(self, id: str) -> Tool:
        return self.stage.loader(self, self.stage.free(self, id + "1"), "")

    def RunScript(self, path: str) -> None:
        """Starts a script of its own, beside the one that asks; here it gets its turn when that one waits."""
        if self.stage.wrong == "scripts":
            raise RuntimeError("RunScript is not available")
        self.stage.scripts.append((Path(path).read_text(encoding="utf-8"), self))

    def StartUndo(self, what: str) -> None:
        self.undo += 1
        self.undone.append(what)

    def EndUndo(self, keep: bool) -> None:
        assert keep is True
        self.undo -= 1

    def Lock(self) -> None:
        self.locks += 1

    def Unlock(self) -> None:
        self.locks -= 1

    def IsLocked(self) -> bool:
        return self.locks > 0

    def mapped(self, path: str) -> str:
        return path.replace("Comp:", str(Path(self.file).parent)) if self.file else path

    def MapPath(self, path: str) -> str:
        return self.mapped(path)

    def ReverseMapPath(self, path: str) -> str:
        folder = f"{Path(self.file).parent}/"
        return path.replace(folder, "Comp:/") if self.file and path.startswith(folder) else path

    def Paste(self, settings: Any) -> bool:
        self.stage.paste(self, settings)
        return True

    def Render(self, settings: Any) -> bool | None:
        wanted = plain(settings)
        saver = settings["Tool"]
        wanted["Tool"] = tool = self.stage.handle_of(saver)
        assert wanted["Wait"] is True
        assert tool.ID == "Saver"
        self.rendered.append(wanted)
        if tool.passed or (self.stage.wrong == "savers in groups" and tool.ParentTool):
            return None
        try:
            for frame in range(int(wanted["Start"]), int(wanted["End"]) + 1):
                if frame == self.stop_render_at:
                    return None
                tool.write(frame)
        except RuntimeError as error:
            self.stage.console.append(str(error))
            return None
        return True


class Application(Thing):
    kind = "Fusion"
    Version = 19.1

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def GetEnv(self, name: str) -> str:
        return self.stage.environment.get(name, os.environ.get(name, ""))

    def SetClipboard(self, text: str) -> bool:
        self.stage.clipboard = text
        return True


class Stage:
    """Everything that a test does to this Fusion, and everything that it heard."""

    def __init__(self, plugin: Path, folder: Path, *, without: tuple[str, ...] = ()) -> None:
        """`plugin` is Fusion's folder for users; `without`: ffi, executebg, popen."""
        self.plugin, self.folder = plugin, folder
        self.environment = {"HOME": str(folder)}
        self.clipboard = ""
        self.console: list[str] = []
        self.mistakes: list[str] = []
        self.locked_writes: list[str] = []
        self.loose_writes: list[str] = []
        self.background: list[str] = []
        self.scripts: list[tuple[str, Composition]] = []
        self.wrong = ""
        """A rule of a real Fusion that this one breaks, so that a test sees whether the self-test notices."""
        self.lua = LuaRuntime(unpack_returned_tuples=True, register_builtins=False)
        self._wrap, self._unwrap = self.lua.execute(SHIM, self._get, self._set)
        self._read_setting = self.lua.execute(READ_SETTING)
        self._run = self.lua.execute(RUN)
        scope = self.lua.globals()
        scope.package.path = f"{plugin}/Modules/Lua/?.lua"
        scope.fusion = scope.fu = self.proxy_of(Application(self))
        scope.print = lambda *texts: self.console.append(" ".join(map(str, texts)))
        scope.resolve = self.lua.execute(RESOLVE, lambda: self.wrong)
        scope.bmd = self.lua.table_from(self._bmd("executebg" not in without))
        if "ffi" in without:
            self.lua.execute(
                "package.loaded.ffi = nil; package.preload.ffi = function() error('no ffi') end"
            )
        if "popen" in without:
            self.lua.execute("io.popen = function() error(\"'popen' not supported\") end")

    def _bmd(self, executes: bool) -> dict[str, Callable[..., Any]]:
        found: dict[str, Callable[..., Any]] = {
            "wait": self._wait,
            "readfile": lambda path: self._read_setting(Path(path).read_text(encoding="utf-8")),
            "createdir": lambda path: Path(path).mkdir(parents=True, exist_ok=True),
        }
        if executes:
            found["executebg"] = self._execute
        assert set(found) <= BMD
        return found

    def _wait(self, seconds: float) -> None:
        self.turn()
        time.sleep(seconds)

    def turn(self) -> None:
        """Runs the scripts that were started beside the present one."""
        while self.scripts:
            text, comp = self.scripts.pop(0)
            self.run_in(comp, text)

    def _execute(self, command: str, wait: bool) -> None:
        self.background.append(command)
        os.system(f"{command} > /dev/null 2>&1 < /dev/null &")

    # -- between Lua and here ---------------------------------------------------------------------------

    def proxy_of(self, thing: Thing) -> Any:
        if thing.proxy is None:
            thing.proxy = self._wrap(thing)
        return thing.proxy

    def handle_of(self, proxy: Any) -> Any:
        return self._unwrap(proxy)

    def _to_lua(self, value: Any) -> Any:
        if isinstance(value, Thing):
            return self.proxy_of(value)
        if isinstance(value, (dict, list)):
            items = value.items() if isinstance(value, dict) else enumerate(value, 1)
            return self.lua.table_from({key: self._to_lua(item) for key, item in items})
        return value

    def _from_lua(self, value: Any) -> Any:
        if lua_type(value) == "table":
            return self._unwrap(value) or value
        return value

    def _get(self, thing: Thing, name: str) -> tuple[bool, Any]:
        if self.wrong == "names" and name == "ReverseMapPath":
            raise AttributeError(name)
        if name not in NAMES[thing.kind]:
            self.mistakes.append(f"no {thing.kind} has {name}")
            raise AttributeError(self.mistakes[-1])
        value = getattr(thing, name)
        if not callable(value):
            return False, self._to_lua(value)

        def call(*args: Any) -> Any:
            try:
                return self._to_lua(value(*map(self._from_lua, args)))
            except (AssertionError, KeyError, TypeError) as error:
                self.mistakes.append(f"{thing.kind}.{name}: {error!r}")
                raise

        return True, call

    def _set(self, thing: Thing, name: str, value: Any) -> None:
        if name not in NAMES[thing.kind]:
            self.mistakes.append(f"no {thing.kind} has {name}")
            raise AttributeError(self.mistakes[-1])
        setattr(thing, name, plain(value))

    def wrote(self, tool: Tool, name: str) -> None:
        if tool.comp.locks:
            self.locked_writes.append(f"{tool.Name}.{name}")
        if not tool.comp.undo:
            self.loose_writes.append(f"{tool.Name}.{name}")

    def run(self, script: str, tool: Tool) -> Any:
        return self._run(script, self.proxy_of(tool), self.proxy_of(tool.comp))

    def run_in(self, comp: Composition, script: str) -> Any:
        """Runs a script of the menu Comp."""
        return self._run(script, None, self.proxy_of(comp))

    def module(self, name: str) -> Any:
        return self.lua.eval(f"require('{name}')")

    # -- compositions ---------------------------------------------------------------------------------------

    def comp(self, first: int = 0, last: int = 2, file: str = "") -> Composition:
        return Composition(self, first, last, file)

    def loader(self, comp: Composition, name: str, clip: Path | str) -> Tool:
        """A Loader whose clip begins where the comp does."""
        made = Tool(self, comp, "Loader", name)
        made.inputs["MissingFrames"] = made.seen["MissingFrames"] = 0.0
        made.forget(str(clip))
        comp.tools.append(made)
        return made

    def paste(self, comp: Composition, settings: Any) -> list[Tool]:
        """The tools of a setting; their names are made unique, as Fusion does."""
        groups = []
        for name, text in settings["Tools"].items():
            if text["__class"] != "GroupOperator":
                comp.tools.append(self._built(comp, self.free(comp, name), text))
                continue
            group = Tool(self, comp, "GroupOperator", self.free(comp, name))
            inner = {
                key: self._built(comp, key, item)
                for key, item in sorted(text["Tools"].items(), key=lambda p: p[1]["__order"])
            }
            for key, item in text["Tools"].items():
                for id, given in item["Inputs"].items():
                    if given["SourceOp"]:
                        inner[key].links[id] = inner[given["SourceOp"]]
            for made in inner.values():
                made.Name, made.ParentTool = self.free(comp, made.Name), group
                comp.tools.append(made)
            group.children = list(inner.values())
            for id, item in text["Inputs"].items():
                assert item["__class"] == "InstanceInput"
                group.published[id] = inner[item["SourceOp"]], item["Source"]
            for id, item in text["Outputs"].items():
                assert item["__class"] == "InstanceOutput"
                group.outputs[int(id.removeprefix("MainOutput"))] = inner[item["SourceOp"]]
            comp.tools.append(group)
            groups.append(group)
        return groups

    def free(self, comp: Composition, name: str) -> str:
        taken = {tool.Name for tool in comp.tools}
        return next(
            free for free in (name, *(f"{name}_{i}" for i in range(1, 99))) if free not in taken
        )

    def _built(self, comp: Composition, name: str, text: Any) -> Tool:
        made = Tool(self, comp, text["__class"], name)
        made.passed = bool(text["PassThrough"])
        made.data = plain(text["CustomData"]) or {}
        made.controls = {
            id: {key: item for key, item in control.items() if isinstance(key, str)}
            for id, control in (text["UserControls"] or {}).items()
        }
        if made.ID == "Loader":
            made.inputs["Clip"] = ""
            made.forget("")
        if made.ID == "Saver":
            made.inputs["Clip"] = made.seen["Clip"] = ""
        for id, given in text["Inputs"].items():
            if given["SourceOp"]:
                continue
            value = given["Value"]
            if lua_type(value) == "table":  # an identifier, or the two numbers of a point
                value = value[1] if value["__class"] else [value[1], value[2], 0.0]
            made.inputs[id] = made.seen[id] = value
        return made

    # -- an artist ----------------------------------------------------------------------------------------

    def new_tool(self, comp: Composition, operation: str = "remove", **sources: Tool) -> Tool:
        """A Voidbridge, dragged from the list of macros and connected. `sources` by the roles of inputs."""
        name, roles = MACROS[operation]
        path = self.plugin / f"Macros/Voidbridge/{name}.setting"
        (group,) = self.paste(comp, self._read_setting(path.read_text(encoding="utf-8")))
        for i, role in enumerate(roles, 1):
            if role in sources:
                tool, id = group.published[f"MainInput{i}"]
                tool.links[id] = sources[role]
        return group

    def press(self, group: Tool, button: str) -> None:
        tool, id = group.published[f"Vb{button}"]
        self.run(tool.controls[id]["BTNCS_Execute"], tool)

    def choose(self, group: Tool, **values: Any) -> None:
        """Sets controls as an artist does: by the names of controls.lua and in their words."""
        controls = self.module("voidbridge.controls")
        plate = next(tool for tool in group.children if tool.data["Voidbridge"] == "plate")
        operation = self.module("voidbridge.operations")[plate.data["VoidbridgeOperation"]]
        for name, value in values.items():
            control = operation["by_name"][name]
            tool, id = group.published["Vb" + "".join(p.capitalize() for p in name.split("_"))]
            tool.set(id, controls.held(control, value))
            tool.changed(id)

    def drag(self, group: Tool, name: str, values: range) -> None:
        """Drags a slider. INPS_ExecuteOnChange runs for each value on the way (VFXPedia, Input attributes)."""
        for value in values:
            self.choose(group, **{name: value})

    def status(self, group: Tool) -> str:
        return str(group.GetInput("VbStatus"))

    def shown(self, group: Tool, frame: int, output: int = 1) -> Image:
        image = group.outputs[output].image(frame)
        assert image is not None
        return image

    def until(self, group: Tool, question: Callable[[str], bool], seconds: float = 120.0) -> str:
        """Presses Fetch until the status is as asked for."""
        deadline = time.monotonic() + seconds
        while True:
            self.press(group, "Fetch")
            if question(self.status(group)):
                return self.status(group)
            assert time.monotonic() < deadline, (self.status(group), self.console[-3:])
            time.sleep(0.1)
