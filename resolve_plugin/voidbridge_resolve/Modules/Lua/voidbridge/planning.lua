-- The buttons before a job: an estimate of its time and memory, and a farm's job files for it.

local cache = require("voidbridge.cache")
local command = require("voidbridge.command")
local controller = require("voidbridge.controller")
local controls = require("voidbridge.controls")
local errors = require("voidbridge.errors")
local frames = require("voidbridge.frames")
local host = require("voidbridge.host")
local launch = require("voidbridge.launch")
local request = require("voidbridge.request")
local system = require("voidbridge.system")

local M = {}

M.SEND = "HOST_VOIDBRIDGE_SUBMIT" -- a site's command that sends a farm's files, run in their folder; `own`: the farm's own
local NEED_CARDS = { void = true, ltx = true, sam2 = true, sam3 = true, corridorkey = true }

-- The words of the command for a request and the size of its plate.
function M.estimate_words(wanted, width, height)
    local name = wanted.operation.name
    local words = {
        "estimate", name, "--engine=" .. wanted.settings.engine, ("--size=%dx%d"):format(width, height),
        "--frames=" .. frames.spelled(frames.shifted(wanted.wanted, wanted.offset)),
        ("--seen=%d"):format(frames.count(wanted.rendered)), "--json",
    }
    for _, control in ipairs(wanted.operation.controls) do
        local value = wanted.settings[control.name]
        if control.effort and value ~= nil then
            words[#words + 1] = ("--set=%s=%s"):format(control.name, controls.spelled(value))
        end
    end
    if wanted.daemon ~= "" then
        words[#words + 1] = "--daemon=" .. wanted.daemon
    end
    return words
end

function M.estimate(inside)
    local state, values = controller.own(inside), host.values(inside)
    local wanted = request.resolve(values, host.scene(inside))
    local width, height = host.size(inside)
    if not width then
        errors.because("The size of the plate is not known yet.", "Look at the plate in a viewer, then press Estimate again.")
    end
    host.say(inside, "estimating", "ready")
    local found = command.run(controller.home(inside, state, values), "estimate", M.estimate_words(wanted, width, height))
    local told = command.last(found, "estimate")
    host.print(told.text)
    host.say(inside, told.text, "ready")
end

-- Renders the inputs, and writes a farm's files for the job and what waits for it. Fetch shows the result as always.
function M.submit(inside)
    local values = host.values(inside)
    local state, version, wanted = controller.prepared(inside)
    if not launch.hand_over(version.folder) then
        errors.because(("The folder %s cannot be written any more."):format(version.folder), "Is its disk full?")
    end
    local bundle = ("%s/farm-%s"):format(version.home, cache.name(version.number))
    local words = {
        "farm", "--bundle=" .. bundle, "--for=" .. values.farm,
        ("--name=voidbridge: %s"):format(inside.group.Name), "--task=" .. launch.by_hand(version.folder), "--json",
    }
    if values.farm_then:find("%S") then
        words[#words + 1] = "--then=" .. values.farm_then
    end
    if NEED_CARDS[wanted.settings.engine] then
        words[#words + 1] = "--gpus=1"
    end
    local send = system.variable(M.SEND)
    if send then
        words[#words + 1] = "--send=" .. send
    end
    local found = command.run(controller.home(inside, state, values), "submit", words)
    local made = command.last(found, "farm-bundle")
    local text = made.sent and "the farm has the job: " .. made.said
        or ("the farm's files lie in %s; send them there: %s"):format(bundle, table.concat(made.submit, " "))
    host.print(text)
    host.say(inside, text .. "; press Fetch when it is done", "ready")
end

return M
