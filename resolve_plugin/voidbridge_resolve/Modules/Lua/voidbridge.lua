-- Entry points for the macro's buttons and the scripts. Errors never reach Fusion: the status line shows them, and the
-- Console adds their origin.

local asking = require("voidbridge.asking")
local config = require("voidbridge.config")
local host = require("voidbridge.host")
local errors = require("voidbridge.errors")
local controller = require("voidbridge.controller")
local old_versions = require("voidbridge.old_versions")
local planning = require("voidbridge.planning")
local support = require("voidbridge.support")
local tracking = require("voidbridge.tracking")
local whole_comp = require("voidbridge.whole_comp")

local M = {}

local ACTIONS = {
    remove = controller.begin,
    key = controller.begin,
    track = controller.begin,
    generate = controller.begin,
    next_take = tracking.next_take,
    again = controller.track_again,
    ask = asking.ask,
    send = asking.send,
    use = tracking.use_mattes,
    add_point = tracking.add_point,
    add_not = tracking.add_not,
    add_box = tracking.add_box,
    add_noun = tracking.add_noun,
    undo_prompt = tracking.drop_prompt,
    test_frame = controller.test_frame,
    estimate = planning.estimate,
    submit = planning.submit,
    purge = old_versions.purge,
    archive = old_versions.archive,
    make_loader = old_versions.make_loader,
    fetch = controller.fetch,
    cancel = controller.cancel,
    check = support.check,
    report = support.report,
    browse = support.browse,
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
    local made = host.add(comp, settings, tool)
    return made ~= nil and done(made, controller.own)
end

-- The scripts for a whole comp.
M.start_selected, M.follow = whole_comp.start_selected, whole_comp.follow

-- Raises an error, so that a farm's task ends with it.
function M.check(comp)
    local ok, problem = pcall(whole_comp.check, comp)
    if not ok then
        error("Voidbridge: " .. tostring(problem), 0)
    end
end

return M
