"""The Lua module works on Windows, with a stand-in for the functions of Windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WINDOWS = """
local functions = ...
package.config = "\\\\\\n;\\n?\\n!\\n-\\n"
local function unset() error("there is no such function on Windows") end
local C = setmetatable({}, {__index = unset})
for name, call in pairs(functions) do
    C[name] = call
end
-- A wide text is a table with the text in it; an array of bytes a table that fread fills.
function C.MultiByteToWideChar(page, flags, text, bytes, to, size)
    assert(page == 65001 and bytes == #text)
    if to ~= nil then
        assert(size == #text)
        to.text = text
    end
    return #text
end
package.loaded.ffi = {
    C = C,
    cdef = function() end,
    new = function() return {} end,
    string = function(buffer, count) return buffer.bytes end,
    load = function(name) assert(name == "Shell32") return C end,
}
"""


class Kernel:
    """Files of Windows, with wide names, on this system's disk."""

    def __init__(self) -> None:
        self.executed: list[tuple[str, ...]] = []
        self.names: list[str] = []

    def path(self, wide: Any) -> Path:
        self.names.append(wide.text)
        return Path(wide.text.replace("\\", "/"))

    def _wfopen(self, wide: Any, mode: Any) -> Any:
        try:
            return self.path(wide).open(mode.text)
        except OSError:
            return None

    def fread(self, buffer: Any, size: int, count: int, file: Any) -> int:
        data = file.read(count)
        buffer.bytes = data
        return len(data)

    def fwrite(self, text: str, size: int, count: int, file: Any) -> int:
        return int(file.write(text.encode()))

    def fclose(self, file: Any) -> int:
        file.close()
        return 0

    def CreateDirectoryW(self, wide: Any, security: None) -> int:
        try:
            self.path(wide).mkdir()
        except OSError:
            return 0
        return 1

    def MoveFileExW(self, one: Any, other: Any, flags: int) -> int:
        assert flags == 1  # what is there is replaced
        self.path(one).replace(self.path(other))
        return 1

    def DeleteFileW(self, wide: Any) -> int:
        path = self.path(wide)
        path.unlink(missing_ok=True)
        return 1

    def RemoveDirectoryW(self, wide: Any) -> int:
        try:
            self.path(wide).rmdir()
        except OSError:
            return 0
        return 1

    def ShellExecuteW(
        self, window: None, verb: Any, file: Any, words: None, folder: Any, show: int
    ) -> int:
        assert (verb.text, words, show) == ("open", None, 0)
        self.executed.append((file.text, folder.text))
        return 42


@pytest.fixture
def kernel(host: Any) -> Kernel:
    """Windows below the module, which is not loaded yet."""
    made = Kernel()
    names = [name for name in vars(Kernel) if name[0] != "_" or name == "_wfopen"]
    calls = {name: getattr(made, name) for name in names if name != "path"}
    host.lua.execute(WINDOWS, host.lua.table_from(calls))
    return made


def test_files_and_folders_go_through_wide_names(host: Any, kernel: Kernel, tmp_path: Path) -> None:
    system = host.module("voidbridge.system")
    assert system.windows
    folder = f"{tmp_path}/Größe 100%/ab"
    system.make_folders(folder)
    assert (tmp_path / "Größe 100%/ab").is_dir()
    assert system.make_folder(folder) is False
    assert system.exists(f"{folder}/x") is False
    assert system.read(f"{folder}/x") is None
    assert system.write(f"{folder}/x", "there")
    assert system.read(f"{folder}/x") == "there"
    assert system.exists(f"{folder}/x")
    assert system.rename(f"{folder}/x", f"{folder}/y")
    assert system.remove_folder(folder) is False
    assert system.remove(f"{folder}/y")
    assert system.remove_folder(folder)
    assert all("Größe" in name for name in kernel.names[-3:])


def test_a_job_is_started_hidden_in_its_folder(host: Any, kernel: Kernel, tmp_path: Path) -> None:
    launch = host.module("voidbridge.launch")
    launch["PATIENCE_S"] = 0.1
    folder = f"{tmp_path}/ein Ordner"
    Path(folder).mkdir()
    (Path(folder) / "started.txt").touch()
    assert launch.start(folder) == "ffi"
    native = folder.replace("/", "\\")
    assert kernel.executed == [(f"{native}\\start.cmd", native)]
    assert launch.by_hand(folder) == f'"{native}\\start.cmd"'


def test_the_home_folder_and_results_have_forward_slashes(host: Any, kernel: Kernel) -> None:
    host.environment["USERPROFILE"] = "C:\\Users\\Jürgen"
    assert host.module("voidbridge.cache").home("", "", "id") == "C:/Users/Jürgen/Voidbridge/id"
    assert host.module("voidbridge.system").native("C:/a b/ü.exr") == "C:\\a b\\ü.exr"
