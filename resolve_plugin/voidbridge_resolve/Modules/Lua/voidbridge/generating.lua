-- The modes of the tool that generates: which inputs each has, and which frames it looks at. Pure.

local errors = require("voidbridge.errors")
local frames = require("voidbridge.frames")

local M = {}

M.REACH = 16 -- frames on each side that an engine may look at

local NOT_THERE = "%s looks at the frames %s the new ones, and the comp %d-%d has none there."

-- True if an input belongs to a mode; of an operation without modes, to all.
function M.is_used(spec, mode)
    return not spec.only_for or spec.only_for == mode
end

-- The sources of the inputs that count.
function M.sources(operation, mode, sources)
    local found = {}
    for _, spec in ipairs(operation.inputs) do
        found[spec.role] = M.is_used(spec, mode) and sources[spec.role] or nil
    end
    return found
end

local function run(first, last)
    local found = {}
    for frame = first, last do
        found[#found + 1] = frame
    end
    return found
end

local function needed(mode, list, side, bounds)
    if #list == 0 then
        errors.because(NOT_THERE:format(mode, side, bounds[1], bounds[2]), "Choose another custom range.")
    end
    return list
end

-- The frames of each input that a mode looks at, by role. Raises a refusal.
local function of_mode(values, wanted, bounds, sources)
    local mode, first, last = values.mode, wanted[1], wanted[2]
    local before = run(math.max(first - M.REACH, bounds[1]), first - 1)
    local behind = run(last + 1, math.min(last + M.REACH, bounds[2]))
    if mode == "hdr" then
        return { plate = run(first, last) }
    elseif mode == "retake" then
        local found = needed(mode, before, "before", bounds)
        for _, frame in ipairs(needed(mode, behind, "behind", bounds)) do
            found[#found + 1] = frame
        end
        return { plate = found }
    elseif mode == "bridge" then
        return { plate = needed(mode, before, "before", bounds), tail = needed(mode, behind, "behind", bounds) }
    elseif mode == "extend" then
        return { plate = values.ahead and needed(mode, behind, "behind", bounds) or needed(mode, before, "before", bounds) }
    elseif sources.reference then
        local named = frames.listed(values.reference_frame)
        if not named or #named > 1 then
            errors.because(("The reference frame %q cannot be read."):format(values.reference_frame), "Write one number, as 12.")
        end
        return { reference = { named[1] or bounds[1] } }
    end
    return { plate = { needed(mode, before, "before", bounds)[#before] } }
end

-- The roles of the inputs to render, and the only frames of each. Raises a refusal.
function M.looked_at(values, wanted, scene, sources)
    local roles, listed = {}, of_mode(values, wanted, scene.bounds, sources)
    for _, spec in ipairs(scene.operation.inputs) do
        roles[#roles + 1] = listed[spec.role] and spec.role or nil
    end
    return roles, listed
end

-- The words for the frames and for the files that stand for the plate. `offset`: from the comp's frames to files.
function M.words(request)
    local mode, first, last = request.settings.mode, request.wanted[1], request.wanted[2]
    local found = { mode == "bridge" and ("--length=%d"):format(last - first + 1)
        or "--frames=" .. frames.spelled(frames.shifted(request.wanted, request.offset)) }
    local reference = request.listed.reference
    if reference then
        found[2] = ("--plate-start=%d"):format(first - 1 + request.offset)
    end
    return found, reference and frames.file("reference", reference[1] + request.offset) or "plate.%04d.exr"
end

return M
