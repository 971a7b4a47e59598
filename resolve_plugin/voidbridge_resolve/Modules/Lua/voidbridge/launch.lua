-- Starts a child process that outlives the script that started it, by the first route that works on this host.
--
-- The working routes differ between editions and systems and cannot be queried. The child is therefore a small script
-- in its own folder, which first writes a mark there: a route works if the mark appears. The script runs once, however
-- often it is started. If no route works, the artist can start it by hand.
--
--    FOLDER/arguments.txt   the arguments of the command, one per line
--           start.sh        or start.cmd
--           started.txt     the mark
--           said.txt        the child's output
--           ended.txt       its exit code, at the end
--           submitted.txt   says that a farm runs the script at a time of its own

local config = require("voidbridge.config")
local system = require("voidbridge.system")

local M = {}

M.PATIENCE_S = 3 -- seconds until the mark of a working route appears
local LOOK_S = 0.1
local KEPT = 20000 -- bytes of a child's output: enough for a report

local SH = [[
#!/bin/sh
# One job of Voidbridge. It may be started by hand, and runs only once.
cd "$(dirname "$0")" || exit 2
mkdir started 2>/dev/null || exit 0
%s
trap '' HUP
: > started.txt
%s @arguments.txt > said.txt 2>&1 < /dev/null
echo $? > ended.txt
]]

local CMD = [[
@echo off
rem One job of Voidbridge. It may be started by hand, and runs only once.
chcp 65001 > nul
cd /d "%%~dp0" || exit /b 2
mkdir started 2> nul || exit /b 0
%s
type nul > started.txt
%s @arguments.txt > said.txt 2>&1 < nul
> ended.txt echo %%errorlevel%%
]]

M.KEEP = "HOST_VOIDBRIDGE_KEEP" -- a site's variable: names, separated by commas, that reach the child unchanged

local function kept_names()
    local found = {}
    for name in (system.variable(M.KEEP) or ""):gmatch("[%w_]+") do
        found[name] = true
    end
    return found
end

local function sorted(set)
    local found = {}
    for name in pairs(set) do
        found[#found + 1] = name
    end
    table.sort(found)
    return found
end

-- The lines that take the host's own libraries out of the environment, by the rules of child_environment.json. Variables
-- of the loader go first, because they can break the programs that the others need.
local function sh_lines(rules, host, kept)
    local lines = {}
    for _, name in ipairs(rules.drop) do
        lines[#lines + 1] = not kept[name] and "unset " .. name or nil
    end
    if host ~= "" then
        lines[#lines + 1] = "host=" .. M.quoted(host)
        lines[#lines + 1] = 'others() { found=; IFS=:; for part in $1; do case "$part/" in "$host"/*) ;; '
            .. '*) found="${found:+$found:}$part" ;; esac; done; unset IFS; }'
    end
    for _, name in ipairs(host ~= "" and rules.without_host_folders or {}) do
        lines[#lines + 1] = not kept[name] and ('others "$%s"; if [ -n "$found" ]; then export %s="$found"; else unset %s; fi')
            :format(name, name, name) or nil
    end
    local prefixes = table.concat(rules.drop_prefixes, "\\|")
    local exceptions = table.concat(sorted(kept), "|")
    lines[#lines + 1] = ("for name in $(env | sed -n 's/^\\(\\(%s\\)[A-Za-z0-9_]*\\)=.*/\\1/p'); do"):format(prefixes)
        .. (exceptions ~= "" and (' case "$name" in %s) continue ;; esac;'):format(exceptions) or "") .. ' unset "$name"; done'
    for _, name in ipairs(sorted(rules.set)) do
        lines[#lines + 1] = not kept[name] and ("export %s=%s"):format(name, rules.set[name]) or nil
    end
    return table.concat(lines, "\n")
end

local function cmd_lines(rules, kept)
    local lines = {}
    for _, name in ipairs(rules.drop) do
        lines[#lines + 1] = not kept[name] and ('set "%s="'):format(name) or nil
    end
    local exceptions = table.concat(sorted(kept), "= ")
    local filter = exceptions ~= "" and (' ^| findstr /v /b "%s="'):format(exceptions) or ""
    for _, prefix in ipairs(rules.drop_prefixes) do
        lines[#lines + 1] = ('for /f "delims==" %%%%n in (\'set %s 2^> nul%s\') do set "%%%%n="'):format(prefix, filter)
    end
    for _, name in ipairs(sorted(rules.set)) do
        lines[#lines + 1] = not kept[name] and ("set %s=%s"):format(name, rules.set[name]) or nil
    end
    return table.concat(lines, "\n")
end

function M.name(windows)
    return windows and "start.cmd" or "start.sh"
end

-- The text of the script for a command.
function M.script(command, windows)
    local words = {}
    for i, word in ipairs(command) do
        words[i] = windows and '"' .. word:gsub("/", "\\"):gsub("%%", "%%%%") .. '"' or M.quoted(word)
    end
    local rules, kept = config.child_rules(), kept_names()
    local cleared = windows and cmd_lines(rules, kept) or sh_lines(rules, system.host_folder(), kept)
    local text = (windows and CMD or SH):format(cleared, (table.concat(words, " ")))
    return windows and text:gsub("\n", "\r\n") or text
end

-- Quotes a word for a POSIX shell.
function M.quoted(word)
    return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- The command that starts the script, as a person would type it.
function M.by_hand(folder)
    local path = folder .. "/" .. M.name(system.windows)
    return system.windows and '"' .. system.native(path) .. '"' or "sh " .. M.quoted(path)
end

-- In the order in which they are tried. Each may raise.
M.ROUTES = {
    { name = "ffi", start = function(folder)
        local C = system.ffi.C
        if system.windows then
            local shell, wide = system.ffi.load("Shell32"), system.wide
            shell.ShellExecuteW(nil, wide("open"), wide(system.native(folder .. "/start.cmd")), nil,
                wide(system.native(folder)), 0)
        else
            C.system(M.by_hand(folder) .. " > /dev/null 2>&1 < /dev/null &")
        end
    end },
    { name = "executebg", start = function(folder)
        local command = M.by_hand(folder)
        bmd.executebg(system.windows and "cmd /c " .. command or command, false)
    end },
    { name = "popen", start = function(folder)
        local command = M.by_hand(folder)
        local pipe = io.popen(system.windows and 'start "" /b cmd /c ' .. command
            or command .. " > /dev/null 2>&1 < /dev/null &")
        pipe:close()
    end },
}

-- Writes the folder's script. Returns false if it cannot be written.
function M.prepare(folder, command, words)
    return system.write(folder .. "/arguments.txt", table.concat(words, "\n") .. "\n")
        and system.write(folder .. "/" .. M.name(system.windows), M.script(command, system.windows))
end

-- True if a folder has its script, so that a job may run there.
function M.is_prepared(folder)
    return system.exists(folder .. "/" .. M.name(system.windows))
end

-- Starts the prepared script. Returns the name of the route, or nil if none works.
function M.start(folder)
    for _, route in ipairs(M.ROUTES) do
        if pcall(route.start, folder) then
            for _ = 1, M.PATIENCE_S / LOOK_S do
                if M.has_started(folder) then
                    return route.name
                end
                system.sleep(LOOK_S)
            end
        end
    end
    return nil
end

function M.has_started(folder)
    return system.exists(folder .. "/started.txt")
end

-- The exit code; nil while it runs, or if it was killed with its shell.
function M.exit_code(folder)
    return tonumber((system.read(folder .. "/ended.txt") or ""):match("%-?%d+"))
end

local SUBMITTED = "submitted.txt"

-- Says that a farm gets the script. Returns false if that cannot be written.
function M.hand_over(folder)
    return system.write(folder .. "/" .. SUBMITTED, "A farm runs start.sh or start.cmd.\n")
end

function M.is_handed_over(folder)
    return system.exists(folder .. "/" .. SUBMITTED)
end

-- The artist gives the farm's job up.
function M.take_back(folder)
    system.remove(folder .. "/" .. SUBMITTED)
end

-- Its files in a version's folder.
M.FILES = { "arguments.txt", "start.sh", "start.cmd", "started.txt", "said.txt", "ended.txt", SUBMITTED }

-- Deletes the folder's own files, and the folder if no others are left.
function M.clean(folder)
    for _, name in ipairs(M.FILES) do
        system.remove(folder .. "/" .. name)
    end
    system.remove_folder(folder .. "/started")
    system.remove_folder(folder)
end

-- The end of its output.
function M.said(folder)
    return (system.read(folder .. "/said.txt") or ""):sub(-KEPT)
end

return M
