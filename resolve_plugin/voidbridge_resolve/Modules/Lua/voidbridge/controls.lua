-- Every control of the tool, in the order of the Inspector: the one place that knows their names, kinds and defaults.
--
-- The text of the macro, the command line, the check for out-of-date results, and the table in docs/resolve.md come from here.
-- Names are those of the node for Nuke.

local config = require("voidbridge.config")
local json = require("voidbridge.json")
local system = require("voidbridge.system")

local M = {}

-- Of the macro. A saved one carries the number it was made with; what it lacks has the default.
M.VERSION = 1

-- Of the color spaces; the first says nothing yet, the last names one in the text beside it.
M.CHANNEL_OTHER = "named below"
M.SPACE_UNSAID, M.SPACE_OTHER = "not said yet", "another, named below"

-- kind    text, status, file, button, int, float, check, choice
-- id      of the input in Fusion
-- on      the inner tool that has it
-- option  of `voidbridge run`, where the value becomes one as it is
-- result  whether another value makes another result, so that the one at hand is stale
local function control(page, name, kind, label, tip, more)
    local made = { page = page, name = name, kind = kind, label = label, tip = tip, on = "plate" }
    made.id = "Vb" .. (("_" .. name):gsub("_(%l)", string.upper))
    for key, value in pairs(more or {}) do
        made[key] = value
    end
    return made
end

-- The settings of `voidbridge run` by name, made by `make docs`.
local SETTINGS = json.decode(system.read(config.folder() .. "/controls.json")).remove
local KINDS = { choice = "choice", integer = "int", number = "float", string = "text", boolean = "check" }

-- The control of a setting. `more` goes before what the setting says; `within` completes its tip.
local function setting(page, name, more)
    local said = SETTINGS[name]
    local all = { result = true, option = said.option, default = said.default, choices = said.choices,
        least = said.least, most = said.most }
    for key, value in pairs(more or {}) do
        all[key] = value
    end
    local tip = all.within and said.tip .. " " .. all.within or said.tip
    return control(page, name, KINDS[said.kind], said.label, tip, all)
end

M.ALL = {
    control("Voidbridge", "status", "status", "status", "State of the result.", { default = "not rendered" }),
    control("Voidbridge", "remove", "button", "Remove", "Render plate and matte, and start the job."),
    control("Voidbridge", "fetch", "button", "Fetch", "Say how the job stands, and show its result when it is done."),
    control("Voidbridge", "cancel", "button", "Cancel", "Stop the job of this tool."),
    control("Voidbridge", "browse", "button", "Open in browser",
        "Show the job of this tool on the daemon's page: progress, player, compare."),
    control("Voidbridge", "color_space", "choice", "pixels at this point are",
        "Color space of the plate, here in the comp. Nothing is converted in Fusion; the result has the same.",
        { result = true, default = "not said yet", choices = {
            M.SPACE_UNSAID, "Linear Rec.709 (sRGB)", "ACEScg", "ACES2065-1", "Linear Rec.2020", "Linear P3-D65",
            "DaVinci Intermediate WideGamut", "Linear DaVinci WideGamut", "ACEScct", "sRGB Encoded Rec.709 (sRGB)",
            "Gamma 2.2 Encoded Rec.709", "Gamma 2.4 Encoded Rec.709", "ARRI LogC3 (EI800)", "ARRI LogC4",
            "BMDFilm WideGamut Gen5", "Log3G10 REDWideGamutRGB", "S-Log3 S-Gamut3.Cine", M.SPACE_OTHER,
        } }),
    control("Voidbridge", "color_space_name", "text", "another space",
        "The name of another space, as the daemon's OpenColorIO config spells it.", { result = true, default = "" }),
    control("Voidbridge", "frame_range", "choice", "frame range",
        "The render range of the comp, or first and last below.",
        { default = "the comp's", choices = { "the comp's", "custom" } }),
    control("Voidbridge", "first", "int", "first", "First frame of the result, as the comp counts, for a custom range.",
        { default = 0, least = -100000, most = 1000000 }),
    control("Voidbridge", "last", "int", "last", "Last frame of the result, for a custom range.",
        { default = 99, least = -100000, most = 1000000 }),
    control("Voidbridge", "handles", "int", "handles",
        "Frames before and after the range that help and are not returned. They end where the comp ends.",
        { result = true, option = "--handles", default = 24, least = 0, most = 1000, scale = 48 }),
    control("Voidbridge", "clean_frames", "text", "clean frames",
        "Frames on which the input clean holds the painted background, as 1009,1050-1052; cleanplate only.",
        { result = true, default = "" }),
    control("Voidbridge", "clean_whole", "check", "whole frames",
        "The input clean holds whole frames. Otherwise its alpha is 1 where paint lies.",
        { result = true, on = "clean", id = "NumberIn1", default = false }),
    control("Voidbridge", "frame_offset", "int", "frame offset",
        "Added to the comp's frames for the numbers of files: 1001 where the comp begins at 0 and the plate's files at 1001.",
        { result = true, default = 0, least = -1000000, most = 1000000 }),
    control("Voidbridge", "version_shown", "int", "version",
        "Which of the earlier results is shown; 0 shows the plate. None is ever deleted.",
        { default = 0, least = 0, most = 9999 }),
    control("Voidbridge", "show", "button", "Show version", "Show the result of the version above."),
    setting("Voidbridge", "layer", { option = false, within = "Remove sets the plate's Loader to it." }),
    setting("Matte", "matte_channel", { kind = "choice", option = false, on = "matte", id = "NumberIn1",
        default = "alpha", choices = { "alpha", "red", "green", "blue", M.CHANNEL_OTHER } }),
    control("Matte", "matte_channel_name", "text", "named channel",
        "A channel of the matte's files, as Object_1.Y, for 'named below'. Remove sets the matte's Loader to it.",
        { result = true, default = "" }),
    control("Matte", "matte_invert", "check", "invert", "Treat 1 as outside and 0 as the object.",
        { result = true, on = "matte", id = "NumberIn2", default = false }),
    setting("Matte", "affected_channel", { kind = "choice", option = false, on = "affected", id = "NumberIn1",
        default = "alpha", choices = { "alpha", "red", "green", "blue", M.CHANNEL_OTHER } }),
    control("Matte", "affected_channel_name", "text", "named channel",
        "A channel of the affected matte's files, for 'named below'. Remove sets its Loader to it.",
        { result = true, default = "" }),
    control("Matte", "matte_start", "text", "matte start",
        "Number of the mattes' first frame, as 0 for tools that count from 0. Remove moves their Loaders, so that this "
            .. "file lies on the comp's first frame. Empty: they stay.",
        { result = true, default = "" }),
    setting("Matte", "matte_kind", { on = "quadmask", id = "NumberIn1" }),
    setting("Matte", "matte_color"),
    setting("Matte", "threshold", { on = "quadmask", id = "NumberIn2" }),
    setting("Matte", "grow", { scale = 64 }),
    setting("Matte", "soften", { scale = 64 }),
    setting("Matte", "allow_full_matte"),
    setting("Engine", "engine", { kind = "choice", choices = { "cleanplate", "void" } }),
    setting("Engine", "prompt", { lines = 3 }),
    setting("Engine", "seed", { most = 2147483647, scale = 100 }),
    setting("Engine", "passes"),
    setting("Engine", "quality"),
    setting("Engine", "steps", { scale = 100 }),
    setting("Engine", "region"),
    setting("Engine", "detail", { most = 0.99 }),
    setting("Engine", "grain"),
    setting("Engine", "grain_amount"),
    control("Setup", "depth", "choice", "depth",
        "Depth of the exchanged files. A half plate stays exact as half.",
        { result = true, default = "16 bit half", choices = { "16 bit half", "32 bit float" } }),
    control("Setup", "daemon", "text", "daemon",
        "Address of a daemon, as tcp://127.0.0.1:5577. Empty: each job starts a local daemon on this machine.",
        { default = "" }),
    control("Setup", "check", "button", "Check connection", "A tiny round trip through the daemon."),
    control("Setup", "priority", "int", "priority", "Higher runs first on a shared daemon.",
        { option = "--priority", default = 0, least = -100, most = 100 }),
    control("Setup", "wait", "check", "wait",
        "Remove stays until the job has ended; Fusion does nothing else meanwhile. Otherwise press Fetch.",
        { default = false }),
    control("Setup", "cache", "file", "cache folder",
        "Where plates and results go. Empty: beside the comp; in Resolve, whose comps are no files, Voidbridge in "
            .. "your home folder.",
        { default = "" }),
    control("Setup", "report", "button", "Copy report",
        "Versions, settings and the last job's output, for support."),
}

M.BY_NAME = {}
for _, made in ipairs(M.ALL) do
    M.BY_NAME[made.name] = made
end

function M.holds_value(made)
    return made.kind ~= "button" and made.kind ~= "status"
end

-- What Fusion holds as what it means: the number of a choice as its word, 0 and 1 as booleans, whole numbers whole.
function M.meaning(made, held)
    if held == nil then
        return made.default
    end
    if made.kind == "choice" then
        return made.choices[math.floor(tonumber(held) + 0.5) + 1] or made.default
    elseif made.kind == "check" then
        return tonumber(held) > 0.5
    elseif made.kind == "int" then
        return math.floor(tonumber(held) + 0.5)
    elseif made.kind == "float" then
        return tonumber(held)
    end
    return tostring(held)
end

-- The other way round.
function M.held(made, value)
    if made.kind == "choice" then
        for i, choice in ipairs(made.choices) do
            if choice == value then
                return i - 1
            end
        end
        error(made.name .. " has no " .. tostring(value))
    elseif made.kind == "check" then
        return value and 1 or 0
    end
    return value
end

return M
