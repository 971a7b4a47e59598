-- The folder of the module, and the installation's record beside it.
--
--    FUSION/Modules/Lua/voidbridge.lua
--                       voidbridge/*.lua
--                       voidbridge/child_environment.json
--                       voidbridge/voidbridge.json       the command, as a list of words
--           Macros/Voidbridge/*.setting

local json = require("voidbridge.json")
local system = require("voidbridge.system")

local M = {}

-- The folder of this file.
function M.folder()
    local source = debug.getinfo(1, "S").source
    return (system.slashes(source):match("^@(.*)/[^/]*$"))
end

-- The command `voidbridge`: the recorded one, otherwise the one on the path.
function M.command()
    local written = json.decode(system.read(M.folder() .. "/voidbridge.json")) or {}
    return written.command or { "voidbridge" }
end

-- The rules for the environment of a child, the same for both hosts.
function M.child_rules()
    return json.decode(system.read(M.folder() .. "/child_environment.json"))
end

-- A script of the installation, as Comp/Voidbridge Follow.lua.
function M.script(name)
    return M.folder():gsub("/Modules/Lua/voidbridge$", "") .. "/Scripts/" .. name
end

-- The file of a macro, by its name.
function M.macro(name)
    return M.folder():gsub("/Modules/Lua/voidbridge$", "") .. "/Macros/Voidbridge/" .. name .. ".setting"
end

return M
