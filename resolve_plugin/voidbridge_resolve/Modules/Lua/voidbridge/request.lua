-- What the artist asked for: values and the comp around the tool in, a checked request and the words of a command
-- out. Touches nothing.

local controls = require("voidbridge.controls")
local frames = require("voidbridge.frames")
local generating = require("voidbridge.generating")
local prompts = require("voidbridge.prompts")
local errors = require("voidbridge.errors")

local M = {}

-- The frames that the artist listed for an input, rising; nil if it has all. Raises a refusal.
local function listed_frames(spec, text, is_connected, rendered)
    local role = spec.role
    local found = frames.listed(text)
    if not found then
        errors.because(("The %s frames %q cannot be read."):format(role, text), "Write them as 1009,1050-1052.")
    end
    for _, frame in ipairs(spec.within and found or {}) do
        if frame < rendered[1] or frame > rendered[2] then
            errors.because(("The %s frame %d is not within the frames %s that are sent."):format(role, frame,
                frames.spelled(rendered)), "Name frames of this range, or raise the handles.")
        end
    end
    local hint = ("Connect the input %s, and name its frames in %s frames."):format(role, role)
    if #found > 0 and not is_connected then
        errors.because(("Frames of %s are named, but nothing is connected to the input %s."):format(role, role), hint)
    elseif spec.within and is_connected and #found == 0 then
        errors.because(("The input %s is connected, but no %s frames are named."):format(role, role), hint)
    end
    return #found > 0 and found or nil
end

-- The channels and the first number that the Loaders of inputs have to be set to, by role: layer, channel, start. Raises
-- a refusal.
local function loaders(values, scene)
    local function trimmed(name)
        return (values[name] or ""):match("^%s*(.-)%s*$")
    end
    local found = {}
    local function need(role, key, value)
        found[role] = found[role] or {}
        found[role][key] = value
    end
    if trimmed("layer") ~= "" then
        need("plate", "layer", trimmed("layer"))
    end
    local start = trimmed("matte_start")
    if start ~= "" and not start:match("^%d+$") then
        errors.because(("The matte start %q is not a number."):format(start),
            "Write the number of the mattes' first frame, as 0, or leave it empty.")
    end
    for _, role in ipairs({ "matte", "affected" }) do
        local name = trimmed(role .. "_channel_name")
        local is_named = values[role .. "_channel"] == controls.CHANNEL_OTHER
        if scene.sources[role] and is_named and name == "" then
            errors.because(("The %s channel is a named one, and has no name."):format(role),
                "Write it into 'named channel'.")
        elseif scene.sources[role] and is_named then
            need(role, "channel", name)
        end
        if scene.sources[role] and start ~= "" then
            need(role, "start", tonumber(start))
        end
    end
    return found
end

-- Raises a refusal for a prompt that cannot be read, and if nothing says where an object is.
local function check_prompts(text, has_seed)
    local found, wrong = prompts.entries(text)
    if not found then
        errors.because(("The prompt %q cannot be read."):format(wrong),
            "Write it as point 12:48.5,60 or box 12:40,40,60,70, or drop it.")
    elseif #found == 0 and not has_seed then
        errors.because("Nothing says where the object is.",
            "Drag the point onto it and press On the object, or connect a matte to the input seed.")
    end
end

-- The roles of the inputs to render, and the only frames of some of them.
local function connected(values, scene, rendered)
    local roles, listed = {}, {}
    for _, spec in ipairs(scene.operation.inputs) do
        local is_connected = scene.sources[spec.role] ~= nil
        if spec.listed_by then
            listed[spec.role] = listed_frames(spec, values[spec.listed_by], is_connected, rendered)
        end
        roles[#roles + 1] = is_connected and spec.role or nil
    end
    return roles, listed
end

-- values  by the names of the controls
-- scene   operation; range, bounds: as the comp counts; sources: names of what is connected, by role
--
-- The request: operation, wanted and rendered frames as the comp counts, offset, roles (of the inputs to render), listed
-- (the only frames of a role), settings (every value that makes the result), daemon, priority, sources. Raises a refusal before anything is rendered.
function M.resolve(values, scene)
    local mode = values[scene.operation.leading or ""]
    local sources = generating.sources(scene.operation, mode, scene.sources)
    for _, spec in ipairs(scene.operation.inputs) do
        if spec.missing and generating.is_used(spec, mode) and not sources[spec.role] then
            errors.because(("Nothing is connected to the input %s."):format(spec.role), spec.missing)
        end
    end
    local wanted = values.frame_range == "custom" and { values.first, values.last } or scene.range
    if wanted[1] > wanted[2] then
        errors.because(("The frame range %s is empty."):format(frames.spelled(wanted)),
            "Set first to a frame that is not after last.")
    end
    if wanted[1] < scene.bounds[1] or wanted[2] > scene.bounds[2] then
        errors.because(("The frames %s are asked for, the comp has %s."):format(
            frames.spelled(wanted), frames.spelled(scene.bounds)), "Choose a range within the comp.")
    end
    local handles = values.handles or 0
    if handles < 0 then
        errors.because(("Handles are %d."):format(handles), "Set them to 0 or more.")
    end
    local rendered = frames.with_handles(wanted, handles, scene.bounds)
    if rendered[1] < 0 then
        errors.because(("The frames %s begin below 0, where a Saver has no numbers for its files."):format(
            frames.spelled(rendered)), "Let the comp begin at 0 or later.")
    end
    if rendered[1] + values.frame_offset < 0 then
        errors.because(("With the frame offset %d the files begin at %d."):format(
            values.frame_offset, rendered[1] + values.frame_offset), "File names have no negative numbers: change the offset.")
    end
    local settings = {}
    for _, control in ipairs(scene.operation.controls) do
        if control.result then
            settings[control.name] = controls.chosen(control, values)
        end
    end
    if settings.prompts then
        check_prompts(settings.prompts, scene.sources.seed)
    end
    settings.color_space, settings.color_space_name = M.space(values), nil
    local roles, listed
    if mode then
        roles, listed = generating.looked_at(values, wanted, scene, sources)
    else
        roles, listed = connected(values, scene, rendered)
    end
    return {
        operation = scene.operation,
        wanted = wanted,
        rendered = rendered,
        offset = values.frame_offset,
        roles = roles,
        listed = listed,
        loaders = loaders(values, scene),
        settings = settings,
        daemon = (values.daemon:match("^%s*(.-)%s*$")),
        priority = values.priority,
        sources = sources,
    }
end

-- The name of the color space. Raises a refusal where none was chosen: a guess would be seen only in the final picture.
function M.space(values)
    if values.color_space == controls.SPACE_OTHER then
        local name = values.color_space_name:match("^%s*(.-)%s*$")
        if name == "" then
            errors.because("The color space is another one, and has no name.", "Write it into 'another space'.")
        end
        return name
    end
    if values.color_space == controls.SPACE_UNCHOSEN then
        errors.because("The color space of the plate is not chosen.",
            "Choose in 'pixels at this point are'. On Resolve's Fusion page it is the timeline color space.")
    end
    return values.color_space
end

local function plain(value)
    if type(value) == "number" then
        return value == math.floor(value) and ("%d"):format(value) or ("%.6g"):format(value)
    elseif type(value) == "boolean" then
        return value and "yes" or "no"
    end
    return (tostring(value):gsub("%c+", " "))
end

-- Everything that decides the result, as texts by name: what is written beside it and compared later.
function M.described(request)
    local found = {}
    for name, value in pairs(request.settings) do
        found[name] = plain(value)
    end
    for role, source in pairs(request.sources) do
        found[role] = source
    end
    found.frames = frames.spelled(request.wanted)
    found.rendered = frames.spelled(request.rendered)
    return found
end

-- The names whose values differ, sorted.
function M.differences(one, other)
    local found, seen = {}, {}
    for _, side in ipairs({ one, other }) do
        for name in pairs(side) do
            if one[name] ~= other[name] and not seen[name] then
                seen[name] = true
                found[#found + 1] = name
            end
        end
    end
    table.sort(found)
    return found
end

-- The words of the child process, which works in the version's folder: no path is among them. Values are bound with
-- `=`, so that none is taken for an option.
function M.words(request)
    local words, options = { request.operation.command }, {}
    local range = { "--frames=" .. frames.spelled(frames.shifted(request.wanted, request.offset)) }
    if request.operation.leading then
        words[2] = request.settings[request.operation.leading]
        range, words[3] = generating.words(request)
        words[4] = request.sources.tail and "tail.%04d.exr" or nil
    end
    for _, spec in ipairs(request.operation.leading and {} or request.operation.inputs) do
        local pattern = spec.role .. ".%04d.exr"
        if request.sources[spec.role] and not spec.option then
            words[#words + 1] = pattern
        elseif request.sources[spec.role] and not spec.within then
            options[#options + 1] = spec.option .. "=" .. pattern
        end
        for _, frame in ipairs(spec.within and request.listed[spec.role] or {}) do
            local number = frame + request.offset
            options[#options + 1] = ("%s=%d=%s"):format(spec.option, number, frames.file(spec.role, number))
        end
    end
    local function add(word)
        words[#words + 1] = word
    end
    add("--output=result.%04d.exr")
    add("--status-file=status.json")
    add("--json")
    for _, word in ipairs(range) do
        add(word)
    end
    add("--color-space=" .. request.settings.color_space)
    add("--priority=" .. plain(request.priority))
    for _, option in ipairs(options) do
        add(option)
    end
    for _, flag in ipairs(request.operation.flags or {}) do
        add(flag)
    end
    for _, option in ipairs(prompts.options(request.settings.prompts or "", request.offset)) do
        add(option)
    end
    if request.again_from then
        add("--again-from=" .. plain(request.again_from + request.offset))
        add("--earlier=" .. request.earlier)
    end
    for _, control in ipairs(request.operation.controls) do
        if control.option and control.result then
            local value = request.settings[control.name]
            if control.kind ~= "check" then
                add(control.option .. "=" .. plain(value))
            elseif value then
                add(control.option)
            end
        end
    end
    if request.daemon ~= "" then
        add("--daemon=" .. request.daemon)
    end
    return words
end

return M
