-- Runs a short command of `voidbridge` in a folder of its own, and waits for its end.

local config = require("voidbridge.config")
local errors = require("voidbridge.errors")
local json = require("voidbridge.json")
local launch = require("voidbridge.launch")
local system = require("voidbridge.system")

local M = {}

M.PATIENCE_S = 600 -- an archive of many gigabytes takes minutes
local LOOK_S = 0.2

-- The JSON objects among the lines of an output.
local function events(said)
    local found = {}
    for line in said:gmatch("[^\r\n]+") do
        local event = line:find("^{") and json.decode(line)
        found[#found + 1] = type(event) == "table" and event or nil
    end
    return found
end

local function sentence(text)
    return text:find("[.!?]$") and text or text .. "."
end

-- The last event of a name, or nil.
function M.last(found, name)
    for i = #found, 1, -1 do
        if found[i].event == name then
            return found[i]
        end
    end
    return nil
end

-- Writes and starts a command. Returns its folder. Raises a refusal.
function M.started(home, name, words)
    local folder = ("%s/%s-%d"):format(home, name, os.time())
    system.make_folders(folder)
    if not launch.prepare(folder, config.command(), words) then
        errors.because(("The folder %s cannot be written."):format(folder),
            "Choose another cache folder on the page Setup.")
    end
    if not launch.start(folder) then
        errors.because("This host starts no programs.", "Type in a terminal: " .. launch.by_hand(folder))
    end
    return folder
end

-- Runs a command to its end. Returns its events. Raises a refusal with what it said, if it fails.
--
-- `home` is the folder of a tool's versions, so that words may name them as ../v001.
function M.run(home, name, words)
    local folder = M.started(home, name, words)
    local till = os.time() + M.PATIENCE_S
    repeat
        system.sleep(LOOK_S)
    until launch.exit_code(folder) or os.time() > till
    local code, said = launch.exit_code(folder), launch.said(folder)
    if not code then
        errors.because(("voidbridge %s has not ended after %d s."):format(words[1], M.PATIENCE_S),
            "What it says is in " .. folder .. "/said.txt.")
    end
    launch.clean(folder)
    local found = events(said)
    local failed = M.last(found, "error")
    if code ~= 0 then
        errors.because(failed and sentence(failed.text) or ("voidbridge %s ended with %d: %s"):format(words[1], code, said),
            failed and failed.hint or "Copy report has the output.")
    end
    return found
end

return M
