-- The buttons of the tracker, which collect prompts, and lead its mattes to a tool that removes; and that for another take.

local config = require("voidbridge.config")
local controller = require("voidbridge.controller")
local errors = require("voidbridge.errors")
local frames = require("voidbridge.frames")
local host = require("voidbridge.host")
local prompts = require("voidbridge.prompts")

local M = {}

-- Adds prompts of a kind at the point, or between it and the corner, on each of the chosen frames.
local function add_prompt(kind)
    return function(inside)
        local values = host.values(inside)
        local listed = frames.listed(values.prompt_frames)
        if not listed then
            errors.because(("The prompt frames %q cannot be read."):format(values.prompt_frames),
                "Write them as 1009,1050-1052.")
        end
        local text = values.prompts
        for _, frame in ipairs(#listed > 0 and listed or { host.frame(inside) }) do
            local numbers = host.point(inside, "place", frame)
            if kind == "box" then
                local one, other = numbers, host.point(inside, "corner", frame)
                numbers = { math.min(one[1], other[1]), math.min(one[2], other[2]),
                    math.max(one[1], other[1]), math.max(one[2], other[2]) }
            end
            for i, number in ipairs(numbers) do
                numbers[i] = 100 * number
            end
            text = prompts.added(text, kind, frame, numbers, values.object, values.object_role)
        end
        host.put(inside, "prompts", text)
        controller.changed(inside)
    end
end

M.add_point, M.add_not, M.add_box = add_prompt("point"), add_prompt("not"), add_prompt("box")

function M.add_noun(inside)
    local values = host.values(inside)
    local text = prompts.noun_added(values.prompts, values.noun, values.object, values.object_role)
    if not text then
        errors.because(("The noun %q cannot be read."):format(values.noun),
            "Write a short one without colon and semicolon, as the man in the red coat.")
    end
    host.put(inside, "prompts", text)
    controller.changed(inside)
end

function M.drop_prompt(inside)
    host.put(inside, "prompts", prompts.without_last(host.values(inside).prompts))
    controller.changed(inside)
end

-- Raises the seed, and starts the job. Raises a refusal for an engine without a seed.
function M.next_take(inside)
    local values = host.values(inside)
    if values.engine == "morph" then
        errors.because("morph has no seed, so it has no other take.", "Choose ltx, or another motion.")
    end
    host.put(inside, "seed", values.seed + 1)
    controller.begin(inside)
end

-- Adds a tool that removes, with this one's mattes at its inputs.
function M.use_mattes(inside)
    local path = config.macro("Voidbridge")
    local settings = bmd.readfile(path)
    if not settings then
        errors.because(path .. " cannot be read.", "Install it again with: voidbridge install resolve")
    end
    host.use_mattes(inside, settings, host.values(inside))
end

return M
