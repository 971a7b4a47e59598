-- What a site adds: values of new tools from a file, and its own function after each finished result.

local controls = require("voidbridge.controls")
local errors = require("voidbridge.errors")
local host = require("voidbridge.host")
local json = require("voidbridge.json")
local system = require("voidbridge.system")

local M = {}

M.DEFAULTS = "FUSION_VOIDBRIDGE_DEFAULTS" -- a variable with the path of a JSON file: by operation, controls and values
M.PUBLISH = "FUSION_VOIDBRIDGE_PUBLISH" -- one with the path of a Lua file that returns a function of a record
M.GUARD = "FUSION_VOIDBRIDGE_GUARD" -- the policy of the check: refuse, warn or off

-- True if a control can hold a value from the file.
local function fits(control, value)
    if control.kind == "choice" then
        for _, choice in ipairs(control.choices) do
            if choice == value then
                return true
            end
        end
        return false
    end
    return type(value) == type(control.default)
end

-- Gives a tool that is used for the first time the site's values, where it still has the macro's own.
function M.give_defaults(inside)
    local path = system.variable(M.DEFAULTS)
    if not path then
        return
    end
    local advice = "Mend it, or unset " .. M.DEFAULTS .. "."
    local all = json.decode(system.read(path) or "")
    if type(all) ~= "table" then
        errors.because(("The site's defaults %s cannot be read."):format(path), advice)
    end
    local values, wanted = host.values(inside), all[inside.operation.name] or {}
    for name, value in pairs(wanted) do
        local control = inside.operation.by_name[name]
        if not (control and controls.holds_value(control)) then
            errors.because(("The site's defaults %s name the unknown control %s."):format(path, name), advice)
        elseif not fits(control, value) then
            errors.because(("The site's defaults %s give %s the value %s."):format(path, name, tostring(value)), advice)
        end
    end
    for name, value in pairs(wanted) do
        if values[name] == inside.operation.by_name[name].default then
            host.put(inside, name, value)
        end
    end
end

-- Calls the site's function with a finished result. An error of it is printed, and stops nothing.
function M.publish(record)
    local path = system.variable(M.PUBLISH)
    local ok, problem = true, nil
    if path then
        ok, problem = pcall(function()
            local text = system.read(path)
            assert(text, path .. " cannot be read")
            assert(loadstring(text, "@" .. path))()(record)
        end)
    end
    if not ok then
        host.print(M.PUBLISH .. ": " .. tostring(problem))
    end
end

-- The policy of the check: the tool's own, else the site's, else refuse.
function M.policy(own)
    local known = { refuse = true, warn = true, off = true }
    local studio = system.variable(M.GUARD)
    return known[own] and own or known[studio] and studio or "refuse"
end

return M
