-- The buttons for support: the check of the connection, the page of a job, and the report.

local cache = require("voidbridge.cache")
local command = require("voidbridge.command")
local config = require("voidbridge.config")
local controller = require("voidbridge.controller")
local controls = require("voidbridge.controls")
local errors = require("voidbridge.errors")
local host = require("voidbridge.host")
local launch = require("voidbridge.launch")
local status = require("voidbridge.status")
local system = require("voidbridge.system")

local M = {}

M.CHECK_S = 40 -- a round trip with a local daemon takes some seconds
local LOOK_S = 0.2

function M.check(inside)
    local state, values = controller.own(inside), host.values(inside)
    local words = { "doctor", "--json" }
    local daemon = values.daemon:match("^%s*(.-)%s*$")
    if daemon ~= "" then
        words[#words + 1] = "--daemon=" .. daemon
    end
    host.say(inside, "checking the connection", "ready")
    local folder = command.started(controller.home(inside, state, values), "check", words)
    local found
    local till = os.time() + M.CHECK_S
    repeat
        system.sleep(LOOK_S)
        found = status.diagnosis(launch.said(folder), launch.exit_code(folder))
    until found or os.time() > till
    local is_good = launch.exit_code(folder) == 0
    if found then
        launch.clean(folder)
    end
    found = found or ("No answer in %d s; what it says is in %s/said.txt."):format(M.CHECK_S, folder)
    host.print(found)
    host.say(inside, found, is_good and "ready" or "failed")
end

-- Serves the page of a job, and opens it in the browser. It is served until its process is ended.
function M.browse(inside)
    local state, values = controller.own(inside), host.values(inside)
    local daemon = values.daemon:match("^%s*(.-)%s*$")
    if daemon == "" then
        errors.because("A job without a daemon's address has no page: its daemon ends with it.",
            "Start one with `voidbridge serve`, and enter its address in 'daemon'.")
    end
    local version = controller.find(inside, state, values, state.job) or controller.find(inside, state, values, state.shown)
    local home = controller.home(inside, state, values)
    local words = { "web", "--open", "--daemon=" .. daemon, "--folder=" .. (version and version.folder or home) }
    local _, _, last = status.judged(version and cache.seen(version, os.time()) or { now = os.time() })
    if last.job and last.job ~= "" then
        words[#words + 1] = "--page=/jobs/" .. last.job
    end
    local folder = command.started(home, "page", words)
    host.print("the page opens in the browser; " .. folder .. "/said.txt has its address.")
end

function M.report_text(inside)
    local state, values = controller.own(inside), host.values(inside)
    local lines = {
        ("Voidbridge macro version %d, Fusion %s, %s"):format(
            host.made_with(inside), host.version(), jit and jit.version or _VERSION),
        ("system: %s %s"):format(jit and jit.os or "unknown", jit and jit.arch or ""),
        "command: " .. table.concat(config.command(), " "),
        "comp: " .. (host.file(inside) == "" and "no file" or host.file(inside)),
        ("tool: %s, id %s"):format(inside.group.Name, state.id),
    }
    for _, control in ipairs(inside.operation.controls) do
        if controls.holds_value(control) then
            lines[#lines + 1] = ("%s = %s"):format(control.name, tostring(values[control.name]))
        end
    end
    lines[#lines + 1] = "last job: " .. (controller.last_said(state.id) or "none since Fusion was started")
    return table.concat(lines, "\n")
end

function M.report(inside)
    local text = M.report_text(inside)
    if host.copy(text) then
        host.print("the report is on the clipboard.")
    else
        host.print(text)
    end
end

return M
