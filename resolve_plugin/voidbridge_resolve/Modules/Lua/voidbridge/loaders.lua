-- Sequences in Loaders: their length, trim, place in time, and the layer that they read. Called within an Undo.

local errors = require("voidbridge.errors")
local frames = require("voidbridge.frames")
local system = require("voidbridge.system")

local M = {}

-- A Loader forgets these when its clip changes.
local FORGOTTEN = { "Reverse", "Loop", "Depth", "KeyCode", "TimeCodeOffset" }

-- The inputs of a Loader that name the channels of a file, which it also forgets.
local LAYER = {
    R = "Clip1.OpenEXRFormat.RedName", G = "Clip1.OpenEXRFormat.GreenName", B = "Clip1.OpenEXRFormat.BlueName",
}

function M.length(loader)
    local lengths = loader:GetAttrs().TOOLIT_Clip_Length
    return lengths and lengths[1] or 0
end

-- The artist's trim of a Loader, in frames from its start and its end.
function M.trim(loader)
    local count = M.length(loader)
    if count == 0 then
        return { 0, 0 }
    end
    return { loader:GetInput("ClipTimeStart"), count - 1 - loader:GetInput("ClipTimeEnd") }
end

-- Sets the times at which a Loader begins and ends. Neither can pass the other.
function M.place(loader, first, last)
    local rising = first > loader:GetInput("GlobalOut")
    loader:SetInput(rising and "GlobalOut" or "GlobalIn", rising and last or first)
    loader:SetInput(rising and "GlobalIn" or "GlobalOut", rising and first or last)
end

-- A sequence in a Loader. `range`: frames of the comp; `skip`: frames of the files before them; `trim` as of `trim`.
-- It holds its ends over the whole comp. Returns the first and last time with a frame of its own.
-- Setting GlobalIn and GlobalOut moves the clip's own times: those come last.
function M.load(comp, loader, first_file, range, skip, trim)
    local kept = {}
    for _, name in ipairs(FORGOTTEN) do
        kept[name] = loader:GetInput(name)
    end
    loader:SetInput("Clip", comp:ReverseMapPath(system.native(first_file)))
    local count = frames.count(range)
    if M.length(loader) < skip + count then
        errors.because(("Fusion sees %d of the %d files from %s on."):format(M.length(loader), skip + count, first_file),
            "Look whether they are there.")
    end
    local from = math.min(trim[1], count - 1)
    local till = math.max(count - 1 - trim[2], from)
    local first, last = range[1] + from, range[1] + till
    local bounds = frames.bounds(comp:GetAttrs())
    local before, after = math.max(first - bounds[1], 0), math.max(bounds[2] - last, 0)
    first, last = first - before, last + after
    M.place(loader, first, last)
    loader:SetInput("ClipTimeStart", skip + from)
    loader:SetInput("ClipTimeEnd", skip + till)
    loader:SetInput("HoldFirstFrame", before)
    loader:SetInput("HoldLastFrame", after)
    for name, value in pairs(kept) do
        loader:SetInput(name, value)
    end
    return first + before, last - after
end

-- Makes a Loader read a layer of its file as red, green and blue.
function M.choose_layer(loader, layer)
    for channel, input in pairs(LAYER) do
        loader:SetInput(input, layer .. "." .. channel)
    end
end

return M
