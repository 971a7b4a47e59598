-- The controls of a tool: how one is described, and the pages of the Inspector that every operation has.
--
-- The text of the macro, the command line, the check for out-of-date results, and the tables in docs/resolve.md come from
-- controls. Names are those of the node for Nuke.

local config = require("voidbridge.config")
local json = require("voidbridge.json")
local system = require("voidbridge.system")

local M = {}

-- Of the macro. A saved one carries the number it was made with; what it lacks has the default.
M.VERSION = 1

-- Of the channels of a matte; it names one in the text beside it.
M.CHANNEL_OTHER = "named below"
-- Of the color spaces; the first says nothing yet, the last names one in the text beside it.
M.SPACE_UNCHOSEN, M.SPACE_OTHER = "not chosen yet", "another, named below"

-- kind    text, status, file, button, int, float, check, choice, point, or color: one of the three numbers of a color
-- id      of the input in Fusion
-- on      the inner tool that has it
-- option  of the operation's command, where the value becomes one as it is
-- picks   of a choice: the three controls of the color that its last choice stands for
-- result  whether another value makes another result, so that the one at hand is stale
function M.control(page, name, kind, label, tip, more)
    local made = { page = page, name = name, kind = kind, label = label, tip = tip, on = "plate" }
    made.id = "Vb" .. (("_" .. name):gsub("_(%l)", string.upper))
    for key, value in pairs(more or {}) do
        made[key] = value
    end
    return made
end

-- The settings by operation and name, made by `make docs`.
local SETTINGS = json.decode(system.read(config.folder() .. "/controls.json"))
local KINDS = { choice = "choice", integer = "int", number = "float", string = "text", boolean = "check" }

-- The control of a setting. `more` goes before what the setting says; `within` completes its tip.
function M.setting(operation, page, name, more)
    local said = SETTINGS[operation][name]
    local all = { result = true, option = said.option, default = said.default, choices = said.choices,
        least = said.least, most = said.most, effort = said.effort }
    for key, value in pairs(more or {}) do
        all[key] = value
    end
    local tip = all.within and said.tip .. " " .. all.within or said.tip
    return M.control(page, name, KINDS[said.kind], said.label, tip, all)
end

-- The first page. `handles` is the default number of frames; `more` are the operation's own controls.
function M.work_page(button, handles, more)
    local all = {
        M.control("Voidbridge", "status", "status", "status", "State of the result.", { default = "not rendered" }),
        button,
        M.control("Voidbridge", "test_frame", "button", "Test frame",
            "Make a version of the current frame only, with the handles around it."),
        M.control("Voidbridge", "fetch", "button", "Fetch", "Show the progress of the job, and its result when it is done."),
        M.control("Voidbridge", "cancel", "button", "Cancel", "Stop the job of this tool."),
        M.control("Voidbridge", "estimate", "button", "Estimate",
            "Estimate time and memory of the job from your earlier jobs with the same settings."),
        M.control("Voidbridge", "browse", "button", "Open in browser",
            "Show the job of this tool on the daemon's page: progress, player, compare."),
        M.control("Voidbridge", "color_space", "choice", "pixels at this point are",
            "Color space of the plate, here in the comp. Nothing is converted in Fusion; the result has the same.",
            { result = true, default = "not chosen yet", choices = {
                M.SPACE_UNCHOSEN, "Linear Rec.709 (sRGB)", "ACEScg", "ACES2065-1", "Linear Rec.2020", "Linear P3-D65",
                "DaVinci Intermediate WideGamut", "Linear DaVinci WideGamut", "ACEScct", "sRGB Encoded Rec.709 (sRGB)",
                "Gamma 2.2 Encoded Rec.709", "Gamma 2.4 Encoded Rec.709", "ARRI LogC3 (EI800)", "ARRI LogC4",
                "BMDFilm WideGamut Gen5", "Log3G10 REDWideGamutRGB", "S-Log3 S-Gamut3.Cine", M.SPACE_OTHER,
            } }),
        M.control("Voidbridge", "color_space_name", "text", "another space",
            "Name of another space, as the daemon's OpenColorIO config spells it.", { result = true, default = "" }),
        M.control("Voidbridge", "frame_range", "choice", "frame range",
            "The render range of the comp, or first and last below.",
            { default = "the comp's", choices = { "the comp's", "custom" } }),
        M.control("Voidbridge", "first", "int", "first", "First frame of the result, as the comp counts, for a custom range.",
            { default = 0, least = -100000, most = 1000000 }),
        M.control("Voidbridge", "last", "int", "last", "Last frame of the result, for a custom range.",
            { default = 99, least = -100000, most = 1000000 }),
        M.control("Voidbridge", "handles", "int", "handles",
            "Frames before and after the range that help and are not returned. They end where the comp ends.",
            { result = true, option = "--handles", default = handles, least = 0, most = 1000, scale = 48 }),
    }
    for _, made in ipairs(more) do
        all[#all + 1] = made
    end
    for _, made in ipairs({
        M.control("Voidbridge", "frame_offset", "int", "frame offset",
            "Added to the comp's frame for the number of the file: 1001 if the comp begins at 0 and the plate's files at 1001.",
            { result = true, default = 0, least = -1000000, most = 1000000 }),
        M.control("Voidbridge", "version_shown", "int", "version",
            "Number of the result to show; 0 shows the plate. Only buttons of the page Setup remove a result.",
            { default = 0, least = 0, most = 9999 }),
        M.control("Voidbridge", "show", "button", "Show version", "Show the result of the version above."),
        M.control("Voidbridge", "make_loader", "button", "Loader", "Add a plain Loader of this result."),
    }) do
        all[#all + 1] = made
    end
    return all
end

-- The last page.
function M.setup_page()
    return {
        M.control("Setup", "depth", "choice", "depth",
            "Depth of the exchanged files. A half plate stays exact as half.",
            { result = true, default = "16 bit half", choices = { "16 bit half", "32 bit float" } }),
        M.control("Setup", "daemon", "text", "daemon",
            "Address of a daemon, as tcp://127.0.0.1:5577. Empty: each job starts a local daemon on this machine.",
            { default = "" }),
        M.control("Setup", "check", "button", "Check connection", "Test the daemon with a tiny round trip."),
        M.control("Setup", "priority", "int", "priority",
            "Waiting jobs with a larger number start first on a shared daemon; users with the same number take turns.",
            { option = "--priority", default = 0, least = -100, most = 100 }),
        M.control("Setup", "wait", "check", "wait",
            "Wait for the end of the job; Fusion is blocked meanwhile. Otherwise press Fetch.",
            { default = false }),
        M.control("Setup", "follow", "check", "follow",
            "A script in the background follows the job and shows its result, so that nobody has to press Fetch.",
            { default = false }),
        M.control("Setup", "guard", "choice", "guard",
            "If the script Voidbridge Check finds a missing or outdated result: refuse ends it with an error, warn writes to the "
                .. "Console. The studio's is the variable FUSION_VOIDBRIDGE_GUARD; without it, refuse.",
            { default = "the studio's", choices = { "the studio's", "refuse", "warn", "off" } }),
        M.control("Setup", "cache", "file", "cache folder",
            "Folder for plates and results. Empty: beside the comp; in Resolve, whose comps are not files, Voidbridge in "
                .. "your home folder.",
            { default = "" }),
        M.control("Setup", "purge", "button", "Purge versions",
            "Delete every version but the one that is shown. The first press shows their sizes, the second one does it."),
        M.control("Setup", "archive", "button", "Archive versions",
            "Move every version but the one that is shown to the archive folder. The first press shows their sizes, the second "
                .. "one does it. Each copy is verified before anything is deleted."),
        M.control("Setup", "archive_to", "file", "archive folder", "Folder of the archive. Each tool gets a folder in it.",
            { default = "" }),
        M.control("Setup", "farm", "choice", "farm", "The farm that gets the job files.",
            { default = "openjd", choices = { "openjd", "deadline", "opencue", "tractor" } }),
        M.control("Setup", "farm_then", "text", "render behind it",
            "Command that waits for the result, such as a render of this comp. Empty: none.", { default = "" }),
        M.control("Setup", "submit", "button", "Submit",
            "Render the inputs, and write the farm's files for this job and the render behind it. A site's command sends them."),
        M.control("Setup", "report", "button", "Copy report",
            "Versions, settings and the last job's output, for support."),
    }
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
    elseif made.kind == "float" or made.kind == "color" then
        return tonumber(held)
    elseif made.kind == "point" then
        return type(held) == "table" and ("%.9g %.9g"):format(held[1], held[2]) or held
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
    elseif made.kind == "point" then
        local across, up = value:match("^(%S+) (%S+)$")
        return { tonumber(across), tonumber(up) }
    end
    return value
end

-- A value as a word of a command.
function M.spelled(value)
    if type(value) == "number" then
        return value == math.floor(value) and ("%d"):format(value) or ("%.9g"):format(value)
    end
    return tostring(value)
end

-- The value for the command: a choice that stands for a color is that color.
function M.chosen(made, values)
    local value = values[made.name]
    if made.picks and value == made.choices[#made.choices] then
        local parts = {}
        for i, name in ipairs(made.picks) do
            parts[i] = ("%.6g"):format(values[name])
        end
        return table.concat(parts, " ")
    end
    return value
end

return M
