-- Every control of the tool, in the order of the Inspector: the one place that knows their names, kinds and defaults.
--
-- The macro's text, the command line, what makes a result stale, and the table in docs/resolve.md come from here.
-- Names are those of the node for Nuke.

local M = {}

-- Of the macro. A saved one carries the number it was made with; what it lacks has the default.
M.VERSION = 2

-- Of the color spaces; the first says nothing yet, the last names one in the text beside it.
M.SPACE_UNSAID, M.SPACE_OTHER = "not said yet", "another, named below"

-- kind    text, status, file, button, int, float, check, choice
-- id      of the input in Fusion
-- on      the inner tool that has it
-- option  of `voidbridge run`, where the value becomes one as it is
-- since   the first version of the macro that has it, if not the first of all
-- result  whether another value makes another result, so that the one at hand is stale
local function control(page, name, kind, label, tip, more)
    local made = { page = page, name = name, kind = kind, label = label, tip = tip, on = "plate" }
    made.id = "Vb" .. (("_" .. name):gsub("_(%l)", string.upper))
    for key, value in pairs(more or {}) do
        made[key] = value
    end
    return made
end

M.ALL = {
    control("Voidbridge", "status", "status", "status", "State of the result.", { default = "not rendered" }),
    control("Voidbridge", "remove", "button", "Remove", "Render plate and matte, and start the job."),
    control("Voidbridge", "fetch", "button", "Fetch", "Say how the job stands, and show its result when it is done."),
    control("Voidbridge", "cancel", "button", "Cancel", "Stop the job of this tool."),
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
        { result = true, option = "--handles", default = 0, least = 0, most = 1000, scale = 48 }),
    control("Voidbridge", "frame_offset", "int", "frame offset",
        "Added to the comp's frames for the numbers of files: 1001 where the comp begins at 0 and the plate's files at 1001.",
        { result = true, default = 0, least = -1000000, most = 1000000 }),
    control("Voidbridge", "version_shown", "int", "version",
        "Which of the earlier results is shown; 0 shows the plate. None is ever deleted.",
        { default = 0, least = 0, most = 9999, changes = true }),
    control("Matte", "matte_channel", "choice", "matte channel", "The channel of the input matte that holds the matte.",
        { result = true, on = "matte", id = "NumberIn1", default = "alpha",
            choices = { "alpha", "red", "green", "blue" } }),
    control("Matte", "matte_invert", "check", "invert", "Treat 1 as outside and 0 as the object.",
        { result = true, on = "matte", id = "NumberIn2", default = false }),
    control("Matte", "affected_channel", "choice", "affected channel", "The channel of the input affected that holds its matte.",
        { result = true, on = "affected", id = "NumberIn1", default = "alpha",
            choices = { "alpha", "red", "green", "blue" } }),
    control("Matte", "matte_kind", "choice", "kind",
        "A plain matte, or a quadmask with the codes 0, 63, 127 and 255 (or codes / 255). auto detects it.",
        { result = true, on = "quadmask", id = "NumberIn1", option = "--matte-kind", default = "auto",
            choices = { "auto", "matte", "quadmask" } }),
    control("Matte", "matte_color", "choice", "color managed",
        "If a quadmask went through a color transform: refuse it, or undo the transform.",
        { result = true, option = "--matte-color", default = "refuse", choices = { "refuse", "undo" } }),
    control("Matte", "threshold", "float", "threshold",
        "A plain matte counts from this value on, above 0 and at most 1.",
        { result = true, on = "quadmask", id = "NumberIn2", option = "--threshold", default = 0.1, least = 0, most = 1 }),
    control("Matte", "grow", "int", "grow", "Grow the matte by this many pixels of the plate.",
        { result = true, option = "--grow", default = 8, least = 0, most = 4096, scale = 64 }),
    control("Matte", "soften", "int", "soften", "Feather width outside the grown matte, in pixels of the plate.",
        { result = true, option = "--soften", default = 8, least = 0, most = 4096, scale = 64 }),
    control("Engine", "engine", "choice", "engine",
        "cleanplate takes the background from other frames, on the CPU; void is the generative model.",
        { result = true, option = "--engine", default = "cleanplate", choices = { "cleanplate", "void" } }),
    control("Engine", "prompt", "text", "prompt", "The scene without the object, for void.",
        { result = true, option = "--prompt", default = "", lines = 3 }),
    control("Engine", "seed", "int", "seed", "Another seed gives another variation.",
        { result = true, option = "--seed", default = 0, least = 0, most = 2147483647, scale = 100 }),
    control("Engine", "passes", "choice", "passes",
        "Passes of void: two are steadier in time and take twice as long.",
        { result = true, option = "--passes", default = "1", choices = { "1", "2" } }),
    control("Engine", "quality", "choice", "quality",
        "void only: preview takes half the time or less and is not for delivery; deliver full.",
        { since = 2, result = true, option = "--quality", default = "full", choices = { "full", "preview" } }),
    control("Engine", "steps", "int", "steps", "Denoising steps of void; 0 lets the engine choose.",
        { result = true, option = "--steps", default = 0, least = 0, most = 1000, scale = 100 }),
    control("Engine", "region", "choice", "region",
        "The region that void sees: one rectangle around the whole removal (union), one that follows it "
            .. "(track; the most detail), or the whole frame (full).",
        { result = true, option = "--region", default = "union", choices = { "union", "track", "full" } }),
    control("Engine", "detail", "float", "detail",
        "Strength of the full-resolution detail pass (void only), 0 to below 1; 0 = off.",
        { result = true, option = "--detail", default = 0.0, least = 0, most = 0.99 }),
    control("Engine", "grain", "choice", "grain", "Add matching plate grain to generated pixels.",
        { result = true, option = "--grain", default = "auto", choices = { "auto", "off" } }),
    control("Engine", "grain_amount", "float", "amount", "Multiple of the missing grain that is added, 0 to 4.",
        { result = true, option = "--grain-amount", default = 1.0, least = 0, most = 4 }),
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
