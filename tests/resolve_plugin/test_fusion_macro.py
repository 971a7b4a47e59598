"""The macro's text: that of the controls, whole without the module, and made of names that Fusion has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from voidbridge_fusion_tools import BMD, NAMES
from voidbridge_shots import channels_of, make_shot

from voidbridge_nuke.operations import GENERATE, KEY, MASK, REMOVE
from voidbridge_protocol.operations import operation

ROOT = Path(__file__).resolve().parents[2] / "resolve_plugin/voidbridge_resolve"
OPERATIONS = {"remove": REMOVE, "key": KEY, "mask": MASK, "generate": GENERATE}
EACH = pytest.mark.parametrize("name", OPERATIONS)
RENAMED = {
    "color_space": "pixels at this point are",
    "version_shown": "version",
}
"""Controls whose label is not that of the knob in Nuke."""


def operation_of(host: Any, name: str) -> Any:
    return host.module("voidbridge.operations")[name]


def controls_of(host: Any, name: str) -> list[Any]:
    return list(operation_of(host, name)["controls"].values())


def stored(host: Any, name: str) -> str:
    path = ROOT / f"Macros/Voidbridge/{operation_of(host, name)['macro']}.setting"
    return path.read_text(encoding="utf-8")


def setting_of(host: Any, name: str) -> Any:
    return host._read_setting(stored(host, name))["Tools"][operation_of(host, name)["macro"]]


@EACH
def test_the_stored_macro_is_what_the_module_makes(host: Any, name: str) -> None:
    assert stored(host, name) == host.module("voidbridge.setting").text(name)


@EACH
def test_every_script_in_it_compiles_is_one_line_and_is_guarded(host: Any, name: str) -> None:
    compiles = host.lua.eval("function(text) return loadstring(text) ~= nil end")
    group = host.new_tool(host.comp(), name)
    scripts = [
        value
        for tool in group.children
        for control in tool.controls.values()
        for key, value in control.items()
        if key in ("BTNCS_Execute", "INPS_ExecuteOnChange")
    ]
    assert len(scripts) > 18
    for script in scripts:
        assert compiles(script)
        assert script.startswith("local ok, voidbridge = pcall(require, 'voidbridge') if ok then ")
        assert "\n" not in script
        assert "]]" not in script


def test_without_the_module_the_comp_opens_plays_and_says_so(host: Any, tmp_path: Path) -> None:
    """A result that was made elsewhere is shown by Fusion's own tools."""
    shot = make_shot(tmp_path / "s", range(1, 3))
    made = make_shot(tmp_path / "made", range(1, 3), seed=5)
    host.lua.globals().package.path = ""
    comp = host.comp(0, 1)
    group = host.new_tool(comp, plate=host.loader(comp, "p", shot.file("plate", 1)))
    for child in group.children:
        if child.data["Voidbridge"] == "load_result":
            child.forget(str(made.file("plate", 1)))
        elif child.data["Voidbridge"] == "load_plate":
            child.forget(str(shot.file("plate", 1)))
        elif child.data["Voidbridge"] == "result":
            child.passed = False
            child.store("NumberIn2", 1.0)
    assert host.shown(group, 1)["R"].tobytes() == (
        channels_of(made.file("plate", 2))["R"].astype("f4").tobytes()
    )
    for button in ("Remove", "Fetch", "Cancel", "Check", "Report"):
        host.press(group, button)
        assert host.console[-1].startswith("Voidbridge is not installed here")
    tool, id = group.published["VbGrow"]
    tool.changed(id)


@EACH
def test_savers_fire_for_nobody_else_and_write_exact_files(host: Any, name: str) -> None:
    group = host.new_tool(host.comp(), name)
    savers = [tool for tool in group.children if tool.ID == "Saver"]
    assert len(savers) == len(OPERATIONS[name].inputs)
    for saver in savers:
        assert saver.passed
        assert saver.inputs["OutputFormat"] == "OpenEXRFormat"
        assert saver.inputs["OpenEXRFormat.Depth"] == 1
        assert saver.inputs["OpenEXRFormat.Compression"] == 2  # ZIP on single lines


@EACH
def test_a_missing_frame_of_a_result_is_an_error(host: Any, name: str) -> None:
    group = host.new_tool(host.comp(), name)
    loaders = [tool for tool in group.children if tool.ID == "Loader"]
    assert loaders
    assert {loader.inputs["MissingFrames"] for loader in loaders} == {0}


OUTPUTS = {
    "remove": ["result", "quadmask", "layer", "difference"],
    "key": ["result", "clean screen"],
    "mask": ["mattes", "overlay", "quadmask"],
    "generate": ["result"],
}


@EACH
def test_inputs_are_those_of_the_node_for_nuke_and_outputs_are_published(
    host: Any, name: str
) -> None:
    text = setting_of(host, name)
    inputs = {id: item["Name"] for id, item in text["Inputs"].items() if id.startswith("Main")}
    roles = [spec.role for spec in OPERATIONS[name].inputs]
    assert inputs == {f"MainInput{i}": role for i, role in enumerate(roles, 1)}
    outputs = {id: item["Name"] for id, item in text["Outputs"].items()}
    assert outputs == {f"MainOutput{i}": output for i, output in enumerate(OUTPUTS[name], 1)}


@EACH
def test_every_control_is_published_and_there_under_its_source(host: Any, name: str) -> None:
    text, controls = setting_of(host, name), controls_of(host, name)
    published = {id for id in text["Inputs"] if not id.startswith("Main")}
    assert len(published) == len(controls)
    for id in published:
        item = text["Inputs"][id]
        control = text["Tools"][item["SourceOp"]]["UserControls"][item["Source"]]
        assert control["LINKS_Name"] == item["Name"]
        assert control["INPS_StatusText"]
        assert control["ICS_ControlPage"] == item["Page"]


@EACH
def test_names_and_defaults_are_those_of_the_node_for_nuke(host: Any, name: str) -> None:
    shared = 0
    for control in controls_of(host, name):
        knob = OPERATIONS[name].by_name.get(control["name"])
        if knob is None or control["kind"] == "button":
            continue
        shared += 1
        assert control["label"] == RENAMED.get(control["name"], knob.label)
        if control["name"] in ("color_space", "frame_range", "first", "last", "version_shown"):
            continue  # a choice that has to be made; the frames of a comp
        if control["name"] == "output":
            continue  # the macro has an output of its own for the others
        assert control["default"] == knob.default, control["name"]
        if knob.choices:
            assert list(control["choices"].values()) == list(knob.choices)
    assert shared >= (16 if name == "mask" else 24)


@EACH
def test_defaults_are_those_of_the_command(host: Any, name: str) -> None:
    default = operation(name).settings()
    for control in controls_of(host, name):
        name = control["name"]
        if control["option"] and hasattr(default, name):
            assert str(control["default"]) == str(getattr(default, name)) or (
                float(control["default"]) == getattr(default, name)
            )


def test_every_color_space_of_the_menu_is_known(host: Any) -> None:
    from voidbridge_backend.imaging.color import ColorPlan

    (control,) = (c for c in controls_of(host, "key") if c["name"] == "color_space")
    names = list(control["choices"].values())
    assert (names[0], names[-1]) == ("not chosen yet", "another, named below")
    for name in names[1:-1]:
        assert ColorPlan.choose(name, None).space == name


CALL = re.compile(r"[\w\])]:([A-Z]\w*)\(")
PROPERTY = re.compile(
    r"(?:tool|group|inside\.group|application\(\)|other\.group|loader)\.([A-Z]\w*)"
)
INSIDE = re.compile(r"\bloader\.Clip1\.([A-Z]\w*)\.([A-Z]\w*)")
"""Inputs of a Loader, one inside the other."""


def test_no_name_of_fusion_is_used_that_it_does_not_have() -> None:
    """The stand-in raises for them too, but only where a test comes by."""
    known = set().union(*NAMES.values())
    used = set()
    for path in sorted(ROOT.rglob("*.lua")):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        used |= set(CALL.findall(text)) | set(PROPERTY.findall(text))
        used |= {name for names in INSIDE.findall(text) for name in names}
        assert set(re.findall(r"\bbmd\.(\w+)", text)) <= BMD, path
    assert used == known


def test_three_rooms_know_fusion_and_one_knows_windows() -> None:
    for path in sorted(ROOT.rglob("*.lua")):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        if path.name not in ("host.lua", "loaders.lua", "artist_loaders.lua", "system.lua"):
            assert not CALL.search(text), path
        if path.name not in ("system.lua", "launch.lua"):
            assert "ffi" not in text, path


@EACH
def test_controls_that_change_a_picture_are_not_passive_and_a_folder_is_chosen_as_one(
    host: Any, name: str
) -> None:
    """VFXPedia, Input attributes: a passive input does not affect the rendered result and makes no Undo step."""
    group = host.new_tool(host.comp(), name)
    passive = {"INP_Passive", "INP_InteractivePassive"}
    for tool in group.children:
        for id, control in tool.controls.items():
            is_number = id.startswith("NumberIn")
            assert bool(passive & set(control)) is not is_number, (tool.Name, id)
            if control["INPID_InputControl"] == "FileControl":
                assert control["FC_PathBrowse"] is True
