-- Entry points for the macro's buttons and the scripts. Errors never reach Fusion: the status line shows them, and the
-- Console adds their origin.

local config = require("voidbridge.config")
local host = require("voidbridge.host")
local errors = require("voidbridge.errors")
local controller = require("voidbridge.controller")
local tracking = require("voidbridge.tracking")

local M = {}

local ACTIONS = {
    remove = controller.begin,
    key = controller.begin,
    track = controller.begin,
    again = controller.track_again,
    use = tracking.use_mattes,
    add_point = tracking.add_point,
    add_not = tracking.add_not,
    add_box = tracking.add_box,
    undo_prompt = tracking.drop_prompt,
    fetch = controller.fetch,
    cancel = controller.cancel,
    check = controller.check,
    report = controller.report,
    browse = controller.browse,
    show = controller.show_version,
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

-- Called after a control changed. Fusion also calls it while a comp loads, when some tools do not exist yet.
function M.changed(tool)
    local inside = host.inside(tool)
    if inside then
        done(inside, controller.changed)
    end
end

-- The script for a selected tool: adds the tool of a macro after it, or fetches if it is one of ours.
function M.add(comp, tool, macro)
    local inside = tool and host.inside(tool)
    if inside then
        return done(inside, controller.fetch)
    end
    local path = config.macro(macro or "Voidbridge")
    local settings = bmd.readfile(path)
    if not settings then
        host.print(path .. " cannot be read. Install it again with: voidbridge install resolve")
        return false
    end
    return host.add(comp, settings, tool) ~= nil
end

return M
