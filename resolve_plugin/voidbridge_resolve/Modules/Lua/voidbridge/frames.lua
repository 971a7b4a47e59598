-- Frames as the comp counts them and as files are numbered. A range is {first, last}, both included. Pure.

local M = {}

-- Fusion's number for an unset render range.
M.UNSET = -1000000000

-- A fractional frame rate leaves times slightly off the frame.
function M.whole(time)
    return math.floor(time + 0.5)
end

-- The render range of a comp, from its attributes; the global one if none is set.
function M.of_comp(attributes)
    local first, last = attributes.COMPN_RenderStart, attributes.COMPN_RenderEnd
    if first == nil or first <= M.UNSET then
        first = attributes.COMPN_GlobalStart
    end
    if last == nil or last <= M.UNSET then
        last = attributes.COMPN_GlobalEnd
    end
    return { M.whole(first), M.whole(last) }
end

-- The global range of a comp.
function M.bounds(attributes)
    return { M.whole(attributes.COMPN_GlobalStart), M.whole(attributes.COMPN_GlobalEnd) }
end

-- Adds handles, within the bounds.
function M.with_handles(range, handles, bounds)
    return {
        math.min(range[1], math.max(range[1] - handles, bounds[1])),
        math.max(range[2], math.min(range[2] + handles, bounds[2])),
    }
end

-- The frames of a list as 1009,1050-1052, rising; nil for a text that is no list.
function M.listed(text)
    local found, seen = {}, {}
    for word in text:gmatch("[^,%s]+") do
        local first, last = word:match("^(%-?%d+)$"), nil
        if not first then
            first, last = word:match("^(%-?%d+)%-(%-?%d+)$")
        end
        if not first then
            return nil
        end
        for frame = tonumber(first), math.min(tonumber(last or first), tonumber(first) + 100000) do
            if not seen[frame] then
                seen[frame] = true
                found[#found + 1] = frame
            end
        end
    end
    table.sort(found)
    return found
end

-- The runs of consecutive frames in a rising list.
function M.runs(list)
    local found = {}
    for _, frame in ipairs(list) do
        local last = found[#found]
        if last and frame == last[2] + 1 then
            last[2] = frame
        else
            found[#found + 1] = { frame, frame }
        end
    end
    return found
end

function M.shifted(range, offset)
    return { range[1] + offset, range[2] + offset }
end

function M.count(range)
    return range[2] - range[1] + 1
end

function M.spelled(range)
    return ("%d-%d"):format(range[1], range[2])
end

-- As plate.1001.exr. `role` never ends in a digit, which a Saver would read as part of the number.
function M.file(role, number)
    return ("%s.%04d.exr"):format(role, number)
end

return M
