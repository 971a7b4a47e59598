-- The scripts for a whole comp: start many tools, follow their jobs, and check their results before a render.

local controller = require("voidbridge.controller")
local errors = require("voidbridge.errors")
local host = require("voidbridge.host")
local site = require("voidbridge.site")
local system = require("voidbridge.system")

local M = {}

local LOOK_S = 1

-- Calls a function with each tool. Returns the problems, each with the tool's name.
local function each(tools, action)
    local problems = {}
    for _, inside in ipairs(tools) do
        local ok, problem = pcall(action, inside)
        if not ok then
            problems[#problems + 1] = ("%s: %s"):format(inside.group.Name, tostring(problem))
            pcall(host.say, inside, tostring(problem), "failed")
        end
    end
    return problems
end

-- Starts the jobs of all selected tools. Returns their number.
function M.start_selected(comp)
    local tools = host.selected(comp)
    if #tools == 0 then
        host.print("no Voidbridge is selected.")
    end
    local problems = each(tools, function(inside)
        controller.begin(inside)
    end)
    for _, problem in ipairs(problems) do
        host.print(problem)
    end
    return #tools - #problems
end

-- Updates the status of every tool at work, and shows results, until no job is left. A script of its own runs it, so
-- that nobody has to press Fetch. It ends with the comp.
function M.follow(comp)
    repeat
        local is_working = false
        each(host.all(comp), function(inside)
            is_working = controller.look_again(inside) or is_working
        end)
        if is_working then
            system.sleep(LOOK_S)
        end
    until not is_working
end

-- Says which results a render would lack. Raises a refusal for those whose policy is refuse: a macro itself cannot stop
-- a render, so a farm runs this script before it.
function M.check(comp)
    local refused = {}
    for _, inside in ipairs(host.all(comp)) do
        local policy = site.policy(host.values(inside).guard)
        local text, color = controller.standing(inside)
        if policy ~= "off" and not host.is_off(inside) and (color ~= "ready" or text == "not rendered") then
            local told = ("%s is %s"):format(inside.group.Name, text)
            host.print(told)
            refused[#refused + 1] = policy == "refuse" and told or nil
        end
    end
    if #refused > 0 then
        errors.because(table.concat(refused, "; ") .. ".", "Make these results first: open the comp and press their buttons.")
    end
end

return M
