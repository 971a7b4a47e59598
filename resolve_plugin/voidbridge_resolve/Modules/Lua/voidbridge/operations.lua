-- The operations that have a tool, as data: inputs, controls, outputs and command.
--
-- Everything else of a tool is the same for all: rendering, the job, its status, versions. An operation that gets a tool
-- needs an entry here and the inside of its macro.

local controls = require("voidbridge.controls")

local M = {}

local control = controls.control

local function of(operation)
    return function(page, name, more)
        return controls.setting(operation, page, name, more)
    end
end

local function joined(...)
    local all = {}
    for _, part in ipairs({ ... }) do
        for _, made in ipairs(part) do
            all[#all + 1] = made
        end
    end
    return all
end

local CHANNELS = { "alpha", "red", "green", "blue" }
local NAMED = { "alpha", "red", "green", "blue", controls.CHANNEL_OTHER }
local PLATE = { role = "plate", input = "Input", missing = "Connect the plate." }

-- name      of the operation
-- macro     name of the macro and of a new tool
-- command   of `voidbridge`
-- flags     words that every command of it has
-- leading   control whose value is the first word behind the command: it tells which frames an input has
-- button    label of the button that starts a job
-- inputs    in the order of the macro's:
--     role       name of the input, of its tool and of its files
--     input      of that tool
--     missing    advice if nothing is connected; nil: the input is optional
--     option     of the command for its files; nil: they are an argument
--     listed_by  control that lists its frames; nil: it has all that are rendered
--     only_for   value of the leading control that uses the input; nil: all
--     within     true if the listed frames have to be named and lie among the rendered ones; each is an option of its own
-- outputs   roles of inner tools, in the order of the macro's outputs, and their names
-- loads     Loaders of a result: role, files (result or plate), layer of the file
-- timed     roles of tools whose NumberIn1 and NumberIn2 are the first and the last time with a result
local remove = of("remove")
M.remove = {
    name = "remove", macro = "Voidbridge", command = "run", button = "Remove",
    inputs = {
        PLATE,
        { role = "matte", input = "Image1", missing = "Connect a matte that is 1 on the object." },
        { role = "affected", input = "Image1", option = "--affected" },
        { role = "clean", input = "Image1", option = "--clean", listed_by = "clean_frames", within = true },
    },
    outputs = { { "result", "result" }, { "quadmask", "quadmask" }, { "layer", "layer" }, { "difference", "difference" } },
    loads = { { role = "load_result", files = "result" }, { role = "load_plate", files = "plate" } },
    timed = { "result", "layer" },
    controls = joined(
        controls.work_page(
            control("Voidbridge", "remove", "button", "Remove", "Render plate and matte, and start the job."), 24, {
            control("Voidbridge", "clean_frames", "text", "clean frames",
                "Frames on which the input clean holds the painted background, as 1009,1050-1052; cleanplate only.",
                { result = true, default = "" }),
            control("Voidbridge", "clean_whole", "check", "whole frames",
                "The input clean holds whole frames. Otherwise its alpha is 1 where paint lies.",
                { result = true, on = "clean", id = "NumberIn1", default = false }),
            }),
        {
            remove("Voidbridge", "layer", { option = false, within = "Remove sets the plate's Loader to it." }),
            remove("Matte", "matte_channel", { kind = "choice", option = false, on = "matte", id = "NumberIn1",
                default = "alpha", choices = NAMED }),
            control("Matte", "matte_channel_name", "text", "named channel",
                "A channel of the matte's files, as Object_1.Y, for 'named below'. Remove sets the matte's Loader to it.",
                { result = true, default = "" }),
            control("Matte", "matte_invert", "check", "invert", "Treat 1 as outside and 0 as the object.",
                { result = true, on = "matte", id = "NumberIn2", default = false }),
            remove("Matte", "affected_channel", { kind = "choice", option = false, on = "affected", id = "NumberIn1",
                default = "alpha", choices = NAMED }),
            control("Matte", "affected_channel_name", "text", "named channel",
                "A channel of the affected matte's files, for 'named below'. Remove sets its Loader to it.",
                { result = true, default = "" }),
            control("Matte", "matte_start", "text", "matte start",
                "Number of the mattes' first frame, as 0 for tools that count from 0. Remove moves their Loaders, so that "
                    .. "this file lies on the comp's first frame. Empty: they stay.",
                { result = true, default = "" }),
            remove("Matte", "matte_kind", { on = "quadmask", id = "NumberIn1" }),
            remove("Matte", "matte_color"),
            remove("Matte", "threshold", { on = "quadmask", id = "NumberIn2" }),
            remove("Matte", "grow", { scale = 64 }),
            remove("Matte", "soften", { scale = 64 }),
            remove("Matte", "allow_full_matte"),
            remove("Engine", "engine", { kind = "choice", choices = { "cleanplate", "void" } }),
            remove("Engine", "prompt", { lines = 3 }),
            remove("Engine", "lora"),
            remove("Engine", "seed", { most = 2147483647, scale = 100 }),
            remove("Engine", "passes"),
            remove("Engine", "quality"),
            remove("Engine", "half_rate"),
            remove("Engine", "steps", { scale = 100 }),
            remove("Engine", "region"),
            remove("Engine", "detail", { most = 0.99 }),
            remove("Engine", "grain"),
            remove("Engine", "grain_amount"),
        },
        controls.setup_page()),
}

local key = of("key")

-- One of the three numbers of a color, which share one picker.
local function part(name, letter, number, default)
    return control("Screen", name, "color", letter,
        "The color of the screen in linear light, for picked: drag the eyedropper to a bright part of the screen.",
        { default = default, part = number, least = 0, most = 100, scale = 1 })
end

M.key = {
    name = "key", macro = "VoidbridgeKey", command = "key", button = "Key",
    inputs = {
        PLATE,
        { role = "hint", input = "Image1" },
        { role = "screen", input = "Image1", option = "--clean-screen", listed_by = "screen_frames" },
    },
    outputs = { { "result", "result" }, { "clean_screen", "clean screen" } },
    loads = {
        { role = "load_result", files = "result" },
        { role = "load_foreground", files = "result", layer = "fg" },
        { role = "load_screen", files = "result", layer = "screen" },
    },
    timed = { "result", "clean_screen" },
    controls = joined(
        controls.work_page(
            control("Voidbridge", "key", "button", "Key", "Render all connected inputs, and start the job."),
            8, {
                control("Voidbridge", "output", "choice", "output",
                    "The first output: the foreground with its alpha, premultiplied or straight, or the alpha. The second is "
                        .. "the screen without the foreground.",
                    { on = "result", id = "NumberIn3", default = "premultiplied",
                        choices = { "premultiplied", "straight", "alpha" } }),
            }),
        {
            key("Voidbridge", "layer", { option = false, within = "Key sets the plate's Loader to it." }),
            key("Screen", "screen_color", { kind = "choice", choices = { "auto", "green", "blue", "picked" },
                picks = { "screen_red", "screen_green", "screen_blue" } }),
            part("screen_red", "picked red", 0, 0.06),
            part("screen_green", "picked green", 1, 0.42),
            part("screen_blue", "picked blue", 2, 0.1),
            control("Screen", "screen_frames", "text", "screen frames",
                "Frames of the input screen to send, as 1001,1050-1052; each frame takes the nearest. Empty: every frame that "
                    .. "is keyed. One is enough if the camera stands still.",
                { result = true, default = "" }),
            key("Screen", "despill"),
            key("Screen", "despill_balance"),
            control("Hint", "hint_channel", "choice", "hint channel",
                "The channel of the input hint that holds the rough alpha of the foreground.",
                { result = true, on = "hint", id = "NumberIn1", default = "alpha", choices = CHANNELS }),
            control("Hint", "hint_invert", "check", "invert", "Treat 1 as screen and 0 as foreground.",
                { result = true, on = "hint", id = "NumberIn2", default = false }),
            key("Hint", "core", { scale = 64 }),
            key("Hint", "garbage", { scale = 500 }),
            key("Hint", "despeckle", { scale = 1000 }),
            key("Engine", "engine", { kind = "choice", choices = { "chroma", "corridorkey" } }),
            key("Engine", "quality"),
            key("Engine", "refiner"),
        },
        controls.setup_page()),
}

local mask = of("mask")

local function without(name, all)
    local found = {}
    for _, made in ipairs(all) do
        found[#found + 1] = made.name ~= name and made or nil
    end
    return found
end

M.mask = {
    name = "mask", macro = "VoidbridgeMask", command = "mask", button = "Track",
    flags = { "--one-file", "--origin=bottom-left-percent" },
    inputs = {
        PLATE,
        { role = "seed", input = "Image1", option = "--key", listed_by = "key_frames", within = true },
    },
    outputs = { { "result", "mattes" }, { "overlay", "overlay" }, { "quadmask", "quadmask" } },
    loads = { { role = "load_result", files = "result" } },
    timed = { "result", "overlay", "quadmask" },
    controls = joined(
        without("handles", controls.work_page(
            control("Voidbridge", "track", "button", "Track", "Render the plate, and start to track the objects."), 0, {
                control("Voidbridge", "again", "button", "Re-track from here",
                    "Keep the frames before the current one, and track again from it on."),
                control("Voidbridge", "use", "button", "Remove with these",
                    "Add a Voidbridge with the mattes at its inputs matte and affected."),
            })),
        {
            mask("Voidbridge", "layer", { option = false, within = "Track sets the plate's Loader to it." }),
            control("Track", "prompts", "text", "prompts",
                "All prompts, separated by semicolons, as point 12:48.5,60; not 12:70,60; box 12:40,40,60,70:ball; "
                    .. "role ball=affected. Places are percent of width and height from the bottom left.",
                { result = true, default = "", lines = 4 }),
            control("Track", "undo_prompt", "button", "Drop last", "Remove the last prompt."),
            control("Track", "place", "point", "point",
                "A place in the viewer: drag the cross. Connect it to a Tracker to take many frames at once.",
                { default = "0.5 0.5" }),
            control("Track", "add_point", "button", "On the object", "Add the point as a click on the object."),
            control("Track", "add_not", "button", "Beside it", "Add the point as a click beside the object."),
            control("Track", "corner", "point", "corner", "The corner of a box that is opposite to the point.",
                { default = "0.6 0.6" }),
            control("Track", "add_box", "button", "Add box",
                "Add the box between point and corner: a rectangle around the whole object."),
            control("Track", "noun", "text", "noun", "The object in words, such as the man in the red coat; for sam3.",
                { default = "" }),
            control("Track", "add_noun", "button", "Add noun", "Add the noun for the object, in place of clicks."),
            control("Track", "prompt_frames", "text", "at frames",
                "Frames at which point and box are taken, as 1001,1020-1024. Empty: the current frame.",
                { default = "" }),
            control("Track", "object", "text", "object", "Name of the object that a new prompt is for.",
                { default = "object" }),
            control("Track", "object_role", "choice", "role",
                "Role of a new prompt's object: primary and belonging are removed, affected is what they change.",
                { default = "primary", choices = { "primary", "belonging", "affected" } }),
            control("Track", "key_frames", "text", "key frames",
                "Frames on which the alpha of the input seed holds a painted or roto matte, as 1001,1050.",
                { result = true, default = "" }),
            mask("Track", "find"),
            control("Track", "ask", "button", "Ask for what is affected",
                "Draw the pictures for a vision language model, and name their folder. Nothing is sent."),
            control("Track", "send", "button", "Send", "Send these pictures to the endpoint that the machine's environment names."),
            control("Track", "affected", "text", "affected mattes",
                "Files of existing affected mattes, such as the answer of a language model: asked/affected.%04d.exr.",
                { result = true, option = "--affected", default = "" }),
            mask("Engine", "engine", { kind = "choice", choices = { "flow", "sam2", "sam3" } }),
        },
        controls.setup_page()),
}

local generate = of("generate")

M.generate = {
    name = "generate", macro = "VoidbridgeGenerate", command = "generate", button = "Generate", leading = "mode",
    inputs = {
        PLATE,
        { role = "tail", input = "Image1", missing = "Connect the clip behind the gap.", only_for = "bridge" },
        { role = "reference", input = "Image1", only_for = "from-frame" },
    },
    outputs = { { "result", "result" } },
    loads = { { role = "load_result", files = "result" } },
    timed = { "result" },
    controls = joined(
        without("test_frame", without("handles", controls.work_page(
            control("Voidbridge", "generate", "button", "Generate", "Render the frames around the range, and make the new ones."),
            0, {
                control("Voidbridge", "next_take", "button", "Next take", "Raise the seed by one, and generate."),
            }))),
        {
            generate("Voidbridge", "mode", { option = false, default = "retake",
                choices = { "retake", "bridge", "extend", "from-frame", "text", "hdr" } }),
            control("Voidbridge", "ahead", "check", "ahead", "Let extend make the frames ahead of the clip.",
                { result = true, default = false }),
            control("Voidbridge", "reference_frame", "text", "reference frame",
                "Frame of the input reference from which from-frame continues, instead of the plate's last one. Empty: the "
                    .. "comp's first.", { result = true, default = "" }),
            generate("Voidbridge", "motion"),
            generate("Voidbridge", "grain"),
            generate("Engine", "engine", { kind = "choice", choices = { "morph", "ltx" } }),
            generate("Engine", "prompt", { lines = 3 }),
            generate("Engine", "negative_prompt", { lines = 2 }),
            generate("Engine", "seed", { most = 2147483647, scale = 100 }),
            generate("Engine", "lora"),
            generate("Engine", "schedule"),
            generate("Engine", "steps", { scale = 100 }),
            generate("Engine", "upscale"),
            generate("Engine", "sound"),
            generate("Engine", "precision"),
        },
        controls.setup_page()),
}

M.ALL = { M.remove, M.key, M.mask, M.generate }
for _, operation in ipairs(M.ALL) do
    operation.by_name = {}
    for _, made in ipairs(operation.controls) do
        operation.by_name[made.name] = made
    end
end

return M
