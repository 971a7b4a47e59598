-- Asks a language model what an object affects: one button draws the pictures, another one sends them.
--
-- The endpoint is the one of the machine's environment. Nothing is sent before its pictures could be looked at.

local command = require("voidbridge.command")
local cache = require("voidbridge.cache")
local controller = require("voidbridge.controller")
local errors = require("voidbridge.errors")
local frames = require("voidbridge.frames")
local host = require("voidbridge.host")

local M = {}

local DRAWN = {} -- the version whose pictures were drawn, by the tool's id

-- The shown version, the folder of its pictures beside it, and the words of the command. Raises a refusal without one.
local function question(inside)
    local state, values = controller.own(inside), host.values(inside)
    local version = state.shown > 0 and controller.find(inside, state, values, state.shown)
    if not version then
        errors.because("There is no result yet.", "Press " .. inside.operation.button .. ", then Fetch.")
    end
    local name = "asked-" .. cache.name(version.number)
    local words = {
        "mask-ask", version.folder .. "/plate.%04d.exr", version.folder .. "/result.%04d.exr",
        ("--output=%s/%s"):format(version.home, name), "--json",
        "--frames=" .. frames.spelled(cache.numbers(version, version.wanted)),
        "--color-space=" .. tostring(version.made_with.color_space),
    }
    return state, version, version.home .. "/" .. name, words
end

function M.ask(inside)
    local state, version, folder, words = question(inside)
    host.say(inside, "drawing the pictures", "ready")
    command.run(version.home, "ask", words)
    DRAWN[state.id] = version.number
    local text = ("The pictures lie in %s. Look at them, then press Send to send them to the endpoint."):format(folder)
    host.print(text)
    host.say(inside, text, "ready")
end

function M.send(inside)
    local state, version, folder, words = question(inside)
    if DRAWN[state.id] ~= version.number then
        errors.because("Nobody could look at the pictures of this result yet.",
            "Press Ask for what is affected, and look at them.")
    end
    words[#words + 1] = "--send"
    host.say(inside, "asking the language model", "ready")
    command.run(version.home, "ask", words)
    host.put(inside, "affected", folder .. "/affected.%04d.exr")
    host.say(inside, "The answer is there. Press Track to take its areas as affected.", "ready")
end

return M
