-- The state of a job, from its child's files. Pure: texts in, texts out.

local json = require("voidbridge.json")

local M = {}

-- A child writes its status every two seconds. After this many seconds of silence it is dead.
M.LOST_S = 60
M.CANCELLED = 5 -- the exit code

local function last_line(text)
    local found
    for line in text:gmatch("[^\r\n]+") do
        if line:find("%S") then
            found = line
        end
    end
    return found or "no output"
end

local function sentence(text)
    return text:find("[.!?]$") and text or text .. "."
end

-- The error that a child printed before it had a status file, as an event, or nil.
local function printed_error(text)
    local found
    for line in text:gmatch("[^\r\n]+") do
        local event = line:find('^{"event": "error"') and json.decode(line)
        found = event and event.text and event or found
    end
    return found
end

local function failed(status)
    return "failed: " .. (sentence(status.text) .. " " .. status.hint):match("^(.-)%s*$")
end

-- seen: status, said (texts of files or nil), started (boolean), code (exit code or nil), now (seconds since 1970).
-- Returns phase (waiting, working, lost, done, failed, cancelled), the line for the artist, and the whole status or {}.
function M.judged(seen)
    local status = json.decode(seen.status) or {}
    if status.phase == "done" then
        return "done", "done", status
    elseif status.phase == "cancelled" then
        return "cancelled", "cancelled", status
    elseif status.phase == "failed" then
        return "failed", failed(status), status
    end
    local found = seen.code and printed_error(seen.said or "")
    if found and found.exit == M.CANCELLED then
        return "cancelled", "cancelled", found
    elseif found then
        return "failed", failed(found), found
    elseif seen.code then
        return "failed", ("failed: voidbridge ended with %d: %s"):format(seen.code, last_line(seen.said or "")), status
    elseif status.alive and seen.now - status.alive > M.LOST_S then
        local line = "lost: the last word of voidbridge is %d s old: %s. Start the job again; a daemon keeps finished work."
        return "lost", line:format(seen.now - status.alive, status.text), status
    elseif status.phase == "working" then
        return "working", status.text, status
    elseif seen.started then
        return "working", "starting", status
    end
    return "waiting", "not started yet", status
end

-- The result of `voidbridge doctor --json` for the artist; nil while it runs.
function M.diagnosis(said, code)
    if not code then
        return nil
    elseif code == 0 then
        return "The connection works: a tiny shot was sent and came back correctly."
    end
    local found = {}
    for line in said:gmatch("[^\r\n]+") do
        local event = json.decode(line)
        if type(event) == "table" and event.event == "check" and event.verdict == "failed" then
            found[#found + 1] = ("%s: %s %s"):format(event.check, event.text, event.advice)
        end
    end
    return #found > 0 and table.concat(found, "\n") or last_line(said)
end

return M
