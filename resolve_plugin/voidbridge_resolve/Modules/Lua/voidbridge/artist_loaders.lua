-- The artist's own Loaders at the inputs of a tool: set to the layer, the channel and the first number that were named.

local errors = require("voidbridge.errors")
local frames = require("voidbridge.frames")
local host = require("voidbridge.host")
local loaders = require("voidbridge.loaders")
local system = require("voidbridge.system")

local M = {}

local COLORS = { Red = { "r", "red" }, Green = { "g", "green" }, Blue = { "b", "blue" } }

-- The channels of a Loader's OpenEXR file; none for other files.
local function offered(loader)
    local ok, names = pcall(function()
        return loader.Clip1.OpenEXRFormat.RedName:GetAttrs().INPIDT_ComboControl_ID
    end)
    local found = {}
    for _, name in pairs(ok and names or {}) do
        found[#found + 1] = name
    end
    table.sort(found)
    return found
end

-- The channel of a layer for one color, as beauty.R or beauty.red.
local function in_layer(names, layer, endings)
    for _, name in ipairs(names) do
        for _, ending in ipairs(endings) do
            if name:lower() == (layer .. "." .. ending):lower() then
                return name
            end
        end
    end
    return nil
end

-- The channel for each color of a Loader. Raises a refusal.
local function wanted_channels(role, loader, wish)
    local names, found = offered(loader), {}
    for color, endings in pairs(COLORS) do
        found[color] = wish.layer and in_layer(names, wish.layer, endings)
        for _, name in ipairs(wish.channel and names or {}) do
            found[color] = name == wish.channel and name or found[color]
        end
    end
    if not (found.Red and found.Green and found.Blue) then
        errors.because(("The %s's Loader offers no %s."):format(role, wish.layer or wish.channel),
            #names > 0 and "It offers: " .. table.concat(names, ", ") .. "." or "Only OpenEXR files have named channels.")
    end
    found.Alpha = wish.channel and found.Red
    return found
end

-- Moves the file with a number to the comp's first frame. Raises a refusal.
local function move(comp, role, loader, start)
    local clip = loader:GetInput("Clip")
    local skip = start - (tonumber(clip:match("(%d+)%.%w+$")) or 0)
    local count = loaders.length(loader)
    if skip < 0 or skip >= count then
        errors.because(("The %s's Loader has no file %d."):format(role, start),
            ("Its %d files begin with %s."):format(count, system.slashes(clip):match("[^/]*$")))
    end
    local first = frames.bounds(comp:GetAttrs())[1]
    loaders.place(loader, first, first + count - skip - 1)
    for name, value in pairs({ ClipTimeStart = skip, ClipTimeEnd = count - 1, HoldFirstFrame = 0, HoldLastFrame = 0 }) do
        loader:SetInput(name, value)
    end
end

-- Sets the Loaders of inputs to the layer, channel and first number that the artist named. Raises a refusal.
function M.set(inside, wishes)
    for i, spec in ipairs(inside.operation.inputs) do
        local role, wish = spec.role, wishes[spec.role]
        local loader = wish and inside.group:FindMainInput(i):GetConnectedOutput():GetTool()
        if loader and loader.ID ~= "Loader" then
            errors.because(("The input %s comes from %s, which is not a Loader."):format(role, loader.Name),
                "Connect the Loader itself, or choose layer and frames there and clear these fields.")
        end
        local named = loader and (wish.layer or wish.channel) and wanted_channels(role, loader, wish) or {}
        if loader then
            host.changing(inside.comp, "set the Loader of the " .. role, function()
                for color, name in pairs(named) do
                    loader:SetInput(("Clip1.OpenEXRFormat.%sName"):format(color), name)
                end
                if wish.start then
                    move(inside.comp, role, loader, wish.start)
                end
            end)
        end
    end
end

return M
