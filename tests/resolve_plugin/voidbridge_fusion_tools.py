"""Tools of a small Fusion for tests: inputs, links, pictures. `NAMES` lists the parts that Lua may see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from lupa.luajit21 import lua_type
from voidbridge_shots import channels_of

from voidbridge_backend.exr.new.file import new_file

# Those that we use; test_fusion_oracle.py holds them against the public listing of Fusion's class browser.
NAMES = {
    "Composition": {
        *("GetAttrs", "GetToolList", "StartUndo", "EndUndo", "Lock", "Unlock", "IsLocked", "Render"),
        *("MapPath", "ReverseMapPath", "Paste", "AddTool", "RunScript"),
    },
    "Operator": {
        *("ID", "Name", "ParentTool", "TileColor", "Comp", "GetAttrs", "SetAttrs", "GetChildrenList"),
        *("GetData", "SetData", "GetInput", "SetInput", "FindMainInput", "FindMainOutput", "Clip1"),
    },
    "PlainInput": {"GetConnectedOutput", "ConnectTo"},
    "Output": {"GetTool"},
    "LoaderInput": {"OpenEXRFormat", "RedName", "GetAttrs"},
    "Fusion": {"GetEnv", "SetClipboard", "Version"},
}  # fmt: skip
COLORS = ("Red", "Green", "Blue", "Alpha")
BMD = {"wait", "readfile", "createdir", "executebg"}
"""Of the library that scripts have; it stands in no class."""

Image = dict[str, Any]
"""Channels R, G, B and A, [height, width] each, in the depth of the image."""


def plain(value: Any) -> Any:
    """A table of Lua as a dict, or a list where its keys are 1, 2, 3."""
    if lua_type(value) != "table":
        return value
    found = {key: plain(item) for key, item in value.items()}
    if found and set(found) == set(range(1, len(found) + 1)):
        return [found[i] for i in range(1, len(found) + 1)]
    return found


class Thing:
    """Something of Fusion's: `kind` names its class."""

    kind = ""
    stage: Any
    proxy: Any = None


class Tool(Thing):
    kind = "Operator"

    def __init__(self, stage: Any, comp: Any, id: str, name: str) -> None:
        self.stage, self.comp, self.ID, self.Name = stage, comp, id, name
        self.ParentTool: Tool | None = None
        self.TileColor: Any = None
        self.children: list[Tool] = []
        self.inputs: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}
        """The inputs as a render sees them."""
        self.links: dict[str, Tool] = {}
        self.published: dict[str, tuple[Tool, str]] = {}
        self.outputs: dict[int, Tool] = {}
        self.controls: dict[str, Any] = {}
        self.data: dict[str, Any] = {}
        self.animated: dict[tuple[str, float], Any] = {}
        """Values at a time, of an input that is not the same at all times."""
        self.passed = False
        self.cooked: tuple[Any, Image | None] = (None, None)
        """The last picture, and the values and pictures that it was made of."""

    def Comp(self) -> Any:
        return self.comp

    def GetAttrs(self) -> Any:
        found: dict[str, Any] = {"TOOLB_PassThrough": self.passed, "TOOLS_Name": self.Name}
        if self.ID == "Loader" and self.inputs.get("Clip"):
            found["TOOLIT_Clip_Length"] = {1: float(len(self.sequence()))}
        if self.ID == "ChangeDepth" and self.links:  # of the last picture that it made
            height, width = next(iter(self.image(self.comp.first).values())).shape  # type: ignore[union-attr]
            found |= {"TOOLI_ImageWidth": float(width), "TOOLI_ImageHeight": float(height)}
        return found

    def SetAttrs(self, attributes: Any) -> None:
        for name, value in plain(attributes).items():
            self.stage.wrote(self, name)
            if name == "TOOLS_Name":
                self.Name = value
                continue
            assert name == "TOOLB_PassThrough", name
            self.passed = value

    @property
    def Clip1(self) -> LoaderInput | None:
        return LoaderInput(self) if self.ID == "Loader" else None

    def GetChildrenList(self, selected: bool) -> Any:
        assert selected is False
        hidden = 1 if self.stage.wrong == "children" else None
        return dict(enumerate(self.children[:hidden], 1))

    def GetData(self, name: str) -> Any:
        return self.data.get(name)

    def SetData(self, name: str, value: Any) -> None:
        self.data[name] = plain(value)

    def GetInput(self, id: str, time: float | None = None) -> Any:
        tool, inner = self.published.get(id, (self, id))
        return tool.animated.get((inner, time), tool.inputs.get(inner))

    def SetInput(self, id: str, value: Any) -> None:
        tool, inner = self.published.get(id, (self, id))
        if inner not in tool.inputs:
            raise KeyError(f"{tool.Name} has no input {inner}")
        tool.stage.wrote(tool, inner)
        tool.set(inner, value)
        tool.changed(inner)

    def set(self, id: str, value: Any) -> None:
        if self.ID == "Loader" and id == "Clip":
            self.forget(value)
        elif id == "GlobalIn" and value > self.inputs["GlobalOut"]:
            return
        elif id == "GlobalOut" and value < self.inputs["GlobalIn"]:
            return
        elif id == "GlobalIn":  # moving the start of a clip trims it
            moved = self.inputs["ClipTimeStart"] + value - self.inputs["GlobalIn"]
            self.store("ClipTimeStart", max(moved, 0.0))
            self.store("HoldFirstFrame", max(-moved, 0.0))
        self.store(id, value)

    def store(self, id: str, value: Any) -> None:
        if type(value) is int:
            value = float(value)  # as every number of Lua
        self.inputs[id] = value
        if not self.comp.locks or self.comp.undo:
            self.seen[id] = value

    def changed(self, id: str) -> None:
        script = self.controls.get(id, {}).get("INPS_ExecuteOnChange")
        if script:
            self.stage.run(script, self)

    def FindMainInput(self, number: int) -> Input | None:
        if self.ID == "GroupOperator":
            found = self.published.get(f"MainInput{number:.0f}")
            return Input(*found) if found else None
        if self.ID == "Custom":
            return Input(self, f"Image{number:.0f}") if number <= 3 else None
        return Input(self, "Input") if number == 1 else None

    def FindMainOutput(self, number: int) -> Output:
        return Output(self.outputs.get(int(number), self))

    # -- pictures -----------------------------------------------------------------------------------

    def image(self, frame: int) -> Image | None:
        """Returns the tool's picture at a frame of the comp, or None."""
        if self.ID == "Loader":
            return self.loaded(frame)
        main = self.links.get({"Custom": "Image1"}.get(self.ID, "Input"))
        below = main.image(frame) if main else None
        if self.passed or self.ID == "Saver":
            return below
        if self.ID == "ChangeDepth":
            assert self.seen["Depth"] == 4
            return {n: p.astype(np.float32) for n, p in below.items()} if below else None
        assert self.ID == "Custom", self.ID
        return self.cached(frame)

    def cached(self, frame: int) -> Image | None:
        """Passive inputs do not affect the rendered result, so a picture is not made again for them.

        Source: VFXPedia, Input attributes, INP_Passive and INP_InteractivePassive.
        """
        images = [
            self.links[f"Image{i}"].image(frame) if f"Image{i}" in self.links else None
            for i in (1, 2, 3)
        ]
        passive = {
            id
            for id, control in self.controls.items()
            if control.get("INP_Passive") or control.get("INP_InteractivePassive")
        }
        made_of = (
            frame,
            {id: value for id, value in self.seen.items() if id not in passive},
            [{n: p.tobytes() for n, p in image.items()} for image in images if image],
        )
        kept = self.stage.wrong == "cache" and self.cooked[1] is not None
        if self.cooked[0] != made_of and not kept:
            self.cooked = made_of, self.computed(images, frame)
        return self.cooked[1]

    def computed(self, images: list[Image | None], frame: int) -> Image | None:
        first = images[0]
        if first is None:
            return None
        names: dict[str, Any] = {f"n{i}": self.seen.get(f"NumberIn{i}", 0.0) for i in range(1, 5)}
        names["time"] = 0.0 if self.stage.wrong == "time" else float(frame)
        for i, image in enumerate(images, 1):
            for channel in "RGBA":
                plane = image[channel] if image else np.zeros_like(first["R"])
                names[f"{channel.lower()}{i}"] = plane.astype(np.float32)
        colors = ("Red", "Green", "Blue", "Alpha")
        return {
            channel: np.broadcast_to(
                value_of(self.seen[f"{color}Expression"], names), first["R"].shape
            ).astype(first["R"].dtype)
            for channel, color in zip("RGBA", colors, strict=True)
        }

    # -- Loader ---------------------------------------------------------------------------------------

    def sequence(self) -> list[Path]:
        """The files of a Loader, from the one that it names on."""
        path = Path(self.comp.mapped(self.inputs["Clip"]))
        found = re.fullmatch(r"(.*?)(\d+)(\.\w+)", path.name)
        if not found:
            return [path] if path.is_file() else []
        files = []
        number, width = int(found[2]), len(found[2])
        while (file := path.with_name(f"{found[1]}{number:0{width}d}{found[3]}")).is_file():
            files.append(file)
            number += 1
        return files

    def forget(self, clip: str) -> None:
        """As Fusion does when a clip is changed."""
        self.store("Clip", clip)
        count = len(self.sequence())
        for id, value in {
            "ClipTimeStart": 0.0, "ClipTimeEnd": count - 1.0, "HoldFirstFrame": 0.0, "HoldLastFrame": 0.0,
            "Reverse": 0.0, "Loop": 0.0, "Depth": 0.0, "KeyCode": "", "TimeCodeOffset": 0.0,
            "GlobalIn": float(self.comp.first), "GlobalOut": float(self.comp.first + count - 1),
        }.items():  # fmt: skip
            self.store(id, value)
        for color in ("Red", "Green", "Blue", "Alpha"):
            self.store(f"Clip1.OpenEXRFormat.{color}Name", color[0])

    def loaded(self, frame: int) -> Image | None:
        """Outside of its clip and its held frames a Loader gives no picture, and the render is aborted.

        Source: DaVinci Resolve 18.6 manual, Loader: Hold First Frame / Hold Last Frame, Missing Frames.
        """
        seen = self.seen
        if not seen.get("Clip"):
            return None
        if self.stage.wrong == "outside":
            frame = int(min(max(frame, seen["GlobalIn"]), seen["GlobalOut"]))
        if not seen["GlobalIn"] <= frame <= seen["GlobalOut"]:
            raise RuntimeError(f"{self.Name} has no picture at time {frame}")
        first = seen["GlobalIn"] + seen["HoldFirstFrame"]
        last = seen["GlobalOut"] - seen["HoldLastFrame"]
        number = min(max(frame, first), last) - first + seen["ClipTimeStart"]
        assert number <= seen["ClipTimeEnd"], f"{self.Name} shows frames behind its clip's end"
        files = self.sequence()
        if number >= len(files):
            assert self.seen.get("MissingFrames", 0) == 0
            raise RuntimeError(f"{self.Name}: frame {number:.0f} of the clip is not there")
        planes = channels_of(files[int(number)])
        some = next(iter(planes.values()))
        absent = {"A": np.ones_like(some)}
        named = {color[0]: seen[f"Clip1.OpenEXRFormat.{color}Name"] for color in COLORS}
        if self.stage.wrong == "layers":
            named = {n: n for n in named}
        return {n: planes.get(named[n], absent.get(n, np.zeros_like(some))) for n in "RGBA"}

    # -- Saver ------------------------------------------------------------------------------------------

    def write(self, frame: int) -> None:
        seen = self.seen
        assert seen["OutputFormat"] == "OpenEXRFormat"
        kind = {1: np.float16, 2: np.float32}[int(seen["OpenEXRFormat.Depth"])]
        image = self.image(frame)
        if image is None:
            raise RuntimeError(f"{self.Name} failed at time {frame}")
        colors = {"R": "Red", "G": "Green", "B": "Blue", "A": "Alpha"}
        planes = {
            n: p.astype(kind)
            for n, p in image.items()
            if seen.get(f"OpenEXRFormat.{colors[n]}Enable", 1) == 1
        }
        path = saved_as(seen["Clip"], frame)
        if seen["CreateDir"] == 1:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(new_file(planes))


def saved_as(clip: str, frame: int) -> Path:
    """A Saver's number replaces digits at the end of the name, else it comes behind: four digits at least."""
    path = Path(clip)
    stem = re.sub(r"\d+$", "", path.stem)
    return path.with_name(f"{stem}{frame:04d}{path.suffix}")


class LoaderInput(Thing):
    """The input RedName of a Loader, which lists the channels of the file.

    Source: public scripts that ask `tool.Clip1.OpenEXRFormat.RedName` for `INPIDT_ComboControl_ID`, as those of
    Cryptomatte for Fusion; saved comps that set `Clip1.OpenEXRFormat.RedName` to a `FuID`.
    """

    kind = "LoaderInput"

    def __init__(self, loader: Tool) -> None:
        self.stage, self.loader = loader.stage, loader
        self.OpenEXRFormat = self.RedName = self

    def GetAttrs(self) -> Any:
        files = self.loader.sequence()
        names = channels_of(files[0]) if files else ()
        return {"INPIDT_ComboControl_ID": dict(enumerate(names, 1))}


class Input(Thing):
    kind = "PlainInput"

    def __init__(self, tool: Tool, id: str) -> None:
        self.stage, self.tool, self.id = tool.stage, tool, id

    def GetConnectedOutput(self) -> Output | None:
        found = self.tool.links.get(self.id)
        return Output(found) if found else None

    def ConnectTo(self, output: Output) -> bool:
        self.tool.links[self.id] = output.tool
        return True


class Output(Thing):
    kind = "Output"

    def __init__(self, tool: Tool) -> None:
        self.stage, self.tool = tool.stage, tool

    def GetTool(self) -> Tool:
        return self.tool


def value_of(text: str, names: dict[str, Any]) -> Any:
    """A Custom tool's expression: if(condition, one, other), arithmetic, comparisons, && and ||."""
    for found in re.findall(r"[A-Za-z_]\w*", text):
        assert found in names or found in ("if", "abs", "e"), f"{found} in {text}"
    python = re.sub(r"\bif\(", "where(", text).replace("&&", "&").replace("||", "|")
    with np.errstate(invalid="ignore"):
        return eval(python, {"where": np.where, "abs": np.abs, "__builtins__": {}}, names)
