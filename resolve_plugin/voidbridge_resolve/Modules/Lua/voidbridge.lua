-- What the buttons of the macro and the scripts call. An error of ours never reaches Fusion: it is said, in the
-- status line for the artist and in the Console with where it happened.

local config = require("voidbridge.config")
local host = require("voidbridge.host")
local errors = require("voidbridge.errors")
local controller = require("voidbridge.controller")

local M = {}

local ACTIONS = {
    remove = controller.remove,
    fetch = controller.fetch,
    cancel = controller.cancel,
    check = controller.check,
    report = controller.report,
    changed = controller.changed,
}

local function traced(problem)
    return errors.is(problem) and problem or debug.traceback(tostring(problem), 2)
end

local function done(inside, action)
    local ok, problem = xpcall(function()
        action(inside)
    end, traced)
    if not ok then
        host.print(tostring(problem))
        pcall(host.say, inside, errors.is(problem) and tostring(problem)
            or "failed in Voidbridge itself; the Console says where: " .. tostring(problem):match("[^\n]*"), "failed")
    end
    return ok
end

-- A button of the macro. `tool` is the inner tool that has the button, or the macro.
function M.press(tool, name)
    local inside = host.inside(tool)
    if not inside then
        host.print("the inside of this tool was changed. Make a new one.")
        return false
    end
    return done(inside, ACTIONS[name])
end

-- After a control was changed. Fusion calls this while a comp is being loaded too, when not every tool is there.
function M.changed(tool)
    local inside = host.inside(tool)
    if inside then
        done(inside, controller.changed)
    end
end

-- The script for a selected tool: puts a Voidbridge behind it, or fetches where it is one.
function M.add(comp, tool)
    local inside = tool and host.inside(tool)
    if inside then
        return done(inside, controller.fetch)
    end
    local settings = bmd.readfile(config.macro())
    if not settings then
        host.print(config.macro() .. " cannot be read. Install it again with: voidbridge install resolve")
        return false
    end
    return host.add(comp, settings, tool) ~= nil
end

return M
