-- Access to Fusion: with `loaders` and `artist_loaders` the only module that knows compositions, tools and inputs. It
-- translates and decides nothing.
--
-- Resolve's render may not see values set while a comp is locked, so all values are set unlocked and inside an Undo.

local controls = require("voidbridge.controls")
local operations = require("voidbridge.operations")
local frames = require("voidbridge.frames")
local loaders = require("voidbridge.loaders")
local errors = require("voidbridge.errors")
local system = require("voidbridge.system")

local M = {}

M.COLORS = {
    ready = { R = 0.25, G = 0.37, B = 0.5 },
    stale = { R = 0.62, G = 0.5, B = 0.18 },
    failed = { R = 0.56, G = 0.18, B = 0.18 },
}
local ROLE = "Voidbridge" -- name of the data that holds an inner tool's role
local OPERATION = "VoidbridgeOperation" -- and of that of the operation; a tool without it removes
local STATE = "VoidbridgeState"
local QUIET = 524288 -- a render flag: no dialog at its end
local LOCKS = 64 -- more nested locks than any comp has

-- -- a tool and its inside ---------------------------------------------------------------------------

local function is_group(tool)
    return tool.ID == "GroupOperator" or tool.ID == "MacroOperator"
end

-- The inside of a Voidbridge from any of its tools: its inner tools by their roles, and `group`, `comp`, `operation`. nil if
-- the tool belongs to no Voidbridge.
function M.inside(tool)
    local group = is_group(tool) and tool or tool.ParentTool
    if not group then
        return nil
    end
    local found = { group = group, comp = group:Comp() }
    for _, child in pairs(group:GetChildrenList(false)) do
        local role = child:GetData(ROLE)
        if role then
            found[role] = child
        end
    end
    if not (found.plate and found.result) then
        return nil
    end
    found.operation = operations[found.plate:GetData(OPERATION) or "remove"]
    return found.operation and found or nil
end

-- Every Voidbridge of a comp.
function M.all(comp)
    local found = {}
    for _, tool in pairs(comp:GetToolList(false)) do
        local inside = is_group(tool) and M.inside(tool)
        if inside then
            found[#found + 1] = inside
        end
    end
    return found
end

-- The Voidbridges among the selected tools of a comp.
function M.selected(comp)
    local found, seen = {}, {}
    for _, tool in pairs(comp:GetToolList(true)) do
        local inside = M.inside(tool)
        if inside and not seen[inside.group.Name] then
            seen[inside.group.Name] = true
            found[#found + 1] = inside
        end
    end
    table.sort(found, function(one, other)
        return one.group.Name < other.group.Name
    end)
    return found
end

-- The version of the macro that made this tool.
function M.made_with(inside)
    return inside.plate:GetData(ROLE .. "Version") or controls.VERSION
end

-- The state stored in the comp: id, name, homes, last, job, shown.
function M.state(inside)
    return inside.plate:GetData(STATE) or { id = "", name = "", homes = "", last = 0, job = 0, shown = 0 }
end

function M.keep(inside, state)
    inside.plate:SetData(STATE, state)
end

function M.values(inside)
    local found = {}
    for _, control in ipairs(inside.operation.controls) do
        local tool = inside[control.on]
        if controls.holds_value(control) then
            found[control.name] = controls.meaning(control, tool and tool:GetInput(control.id))
        end
        if control.kind == "file" and found[control.name] ~= "" then
            found[control.name] = inside.comp:MapPath(found[control.name]) -- as Comp:/voidbridge
        end
    end
    return found
end

-- Runs a function with the comp unlocked, as one Undo step. Restores both afterwards, even after an error.
function M.changing(comp, what, change)
    local locks = 0
    while comp:IsLocked() and locks < LOCKS do
        comp:Unlock()
        locks = locks + 1
    end
    comp:StartUndo("Voidbridge: " .. what)
    local ok, problem = pcall(change)
    comp:EndUndo(true)
    for _ = 1, locks do
        comp:Lock()
    end
    if not ok then
        error(problem, 0)
    end
end

function M.put(inside, name, value)
    local control = inside.operation.by_name[name]
    local tool, held = inside[control.on], controls.held(control, value)
    if tool:GetInput(control.id) ~= held then
        M.changing(inside.comp, control.label, function()
            tool:SetInput(control.id, held)
        end)
    end
end

-- The status line and the color of the tile.
function M.say(inside, text, color)
    M.put(inside, "status", text)
    if inside.group.TileColor ~= M.COLORS[color] then
        inside.group.TileColor = M.COLORS[color]
    end
end

function M.print(text)
    print("Voidbridge: " .. text)
end

-- The frame that the comp shows.
function M.frame(inside)
    return frames.whole(inside.comp:GetAttrs().COMPN_CurrentTime)
end

-- A point at a frame, in shares of width and height: it may follow a Tracker.
function M.point(inside, name, frame)
    local control = inside.operation.by_name[name]
    local found = inside[control.on]:GetInput(control.id, frame)
    return { found[1], found[2] }
end

-- -- the comp around it -------------------------------------------------------------------------------

-- The path of the comp; empty in Resolve, and before it is saved.
function M.file(inside)
    return inside.comp:GetAttrs().COMPS_FileName or ""
end

-- The source of an input by name: the file of a Loader, otherwise the tool.
local function source(output)
    local tool = output:GetTool()
    local clip = tool.ID == "Loader" and tool:GetInput("Clip") or ""
    return tool.Name .. (clip ~= "" and " " .. system.slashes(clip):match("[^/]*$") or "")
end

function M.scene(inside)
    local attributes = inside.comp:GetAttrs()
    local found = { range = frames.of_comp(attributes), bounds = frames.bounds(attributes) }
    found.sources, found.operation = {}, inside.operation
    for i, spec in ipairs(inside.operation.inputs) do
        local input = inside.group:FindMainInput(i)
        local output = input and input:GetConnectedOutput()
        found.sources[spec.role] = output and source(output)
    end
    return found
end

-- -- rendering ----------------------------------------------------------------------------------------

local function set_saver(inside, saver, clip, depth, passed)
    M.changing(inside.comp, "render", function()
        saver:SetInput("Clip", clip)
        saver:SetInput("OpenEXRFormat.Depth", depth)
        saver:SetAttrs({ TOOLB_PassThrough = passed })
    end)
end

local function render(inside, role, version, depth, range)
    local saver = inside["save_" .. role]
    if not saver then
        errors.because(("The inside of this tool was changed: there is no Saver for the %s."):format(role),
            "Make a new one and connect it in the place of this one.")
    end
    local folder = version.folder .. "/rendered"
    system.make_folder(folder)
    set_saver(inside, saver, system.native(folder .. "/" .. role .. ".0000.exr"), depth, false)
    local ok, done = pcall(function()
        return inside.comp:Render({
            Tool = saver, Start = range[1], End = range[2], Step = 1, Wait = true, HiQ = true, MotionBlur = true,
            RenderFlags = QUIET,
        })
    end)
    set_saver(inside, saver, "", depth, true)
    for frame = range[1], range[2] do
        local name = frames.file(role, frame)
        local there = system.rename(folder .. "/" .. name,
            version.folder .. "/" .. frames.file(role, frame + version.offset))
        if not there then
            local why = ok and done and "it says that it did" or ok and "it was stopped, or failed" or tostring(done)
            errors.because(("Fusion did not write frame %d of the %s: %s."):format(frame, role, why),
                "Check the tools that feed this one; see the Console.")
        end
    end
    system.remove_folder(folder)
end

-- Renders the inputs to files of a version, with file numbers, and checks every frame. Raises a refusal.
function M.render(inside, version, depth)
    local kind = depth == "32 bit float" and 2 or 1
    for _, role in ipairs(version.roles) do
        local listed = version.listed[role]
        if not listed then
            render(inside, role, version, kind, version.rendered)
        end
        for _, run in ipairs(frames.runs(listed or {})) do
            render(inside, role, version, kind, run)
        end
    end
end

-- -- showing ------------------------------------------------------------------------------------------

-- first_files: those of `result` and `plate`, both of the frames `range`; the plate's begin `skip` frames before.
function M.show(inside, first_files, range, skip)
    M.changing(inside.comp, "show a result", function()
        local trim = loaders.trim(inside.load_result)
        local first, last
        for _, spec in ipairs(inside.operation.loads) do
            local loader, before = inside[spec.role], spec.files == "plate" and skip or 0
            first, last = loaders.load(inside.comp, loader, first_files[spec.files], range, before, trim)
            if spec.layer then
                loaders.choose_layer(loader, spec.layer)
            end
        end
        for _, role in ipairs(inside.operation.timed) do
            inside[role]:SetInput("NumberIn1", first)
            inside[role]:SetInput("NumberIn2", last)
        end
        inside.result:SetAttrs({ TOOLB_PassThrough = false })
    end)
end

-- Shows the plate, as without a result.
function M.hide(inside)
    M.changing(inside.comp, "show the plate", function()
        inside.result:SetAttrs({ TOOLB_PassThrough = true })
    end)
end

-- Adds a Loader with the files of a result, from the first one.
function M.add_loader(inside, first_file, range)
    M.changing(inside.comp, "add a Loader", function()
        local made = inside.comp:AddTool("Loader")
        loaders.load(inside.comp, made, first_file, range, 0, { 0, 0 })
        made:SetInput("MissingFrames", 0)
        made:SetAttrs({ TOOLS_Name = inside.group.Name .. "Files" })
    end)
end

-- Width and height of the plate as Fusion made it last; nil before that.
function M.size(inside)
    local attributes = inside.plate:GetAttrs()
    return attributes.TOOLI_ImageWidth, attributes.TOOLI_ImageHeight
end

-- True if the artist passes the whole tool through.
function M.is_off(inside)
    return inside.group:GetAttrs().TOOLB_PassThrough == true
end

-- Starts a script of Fusion's folder in the background. Returns false if that fails.
function M.run_script(inside, path)
    return (pcall(function()
        inside.comp:RunScript(path)
    end))
end

-- -- the application ----------------------------------------------------------------------------------

local function application()
    return rawget(_G, "fusion") or rawget(_G, "fu")
end

function M.version()
    return tostring(application().Version)
end

-- Copies to the clipboard. Returns false if that fails.
function M.copy(text)
    return (pcall(function()
        application():SetClipboard(text)
    end))
end

-- Adds the tool of a macro with this tool's mattes at its inputs matte and affected, and the same plate.
function M.use_mattes(inside, settings, values)
    local plate = inside.group:FindMainInput(1):GetConnectedOutput()
    local made = M.add(inside.comp, settings)
    M.changing(inside.comp, "connect", function()
        if plate then
            made.group:FindMainInput(1):ConnectTo(plate)
        end
        for i = 2, 3 do
            made.group:FindMainInput(i):ConnectTo(inside.group:FindMainOutput(1))
        end
    end)
    for _, name in ipairs({ "color_space", "color_space_name", "frame_offset", "depth", "daemon" }) do
        M.put(made, name, values[name])
    end
    M.put(made, "affected_channel", "red")
end

-- Adds a tool after `tool`, from the text of a macro.
function M.add(comp, settings, tool)
    local before = {}
    for _, inside in ipairs(M.all(comp)) do
        before[inside.group.Name] = true
    end
    local made
    M.changing(comp, "add", function()
        comp:Paste(settings)
        for _, inside in ipairs(M.all(comp)) do
            made = not before[inside.group.Name] and inside or made
        end
        if made and tool then
            made.group:FindMainInput(1):ConnectTo(tool:FindMainOutput(1))
        end
    end)
    return made
end

return M
