-- The text of a macro, Macros/Voidbridge/*.setting, from its operation's controls and its inside. It opens and plays its result
-- without this module: its buttons are one guarded call each, and Fusion's own tools make its picture.

local controls = require("voidbridge.controls")
local operations = require("voidbridge.operations")

local M = {}

-- The inside of each operation's macro.
local INSIDES = {
    remove = require("voidbridge.inside_remove"),
    key = require("voidbridge.inside_key"),
    mask = require("voidbridge.inside_mask"),
    generate = require("voidbridge.inside_generate"),
}

-- -- text -----------------------------------------------------------------------------------------------

local function camel(role)
    return (("_" .. role):gsub("_(%l)", string.upper))
end

-- Names of inner tools contain the macro's name, so that they stay recognizable.
local function name_of(operation, role)
    return operation.macro .. camel(role)
end

local function quoted(text)
    return '"' .. text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
end

local function literal(value)
    if type(value) == "string" then
        return quoted(value)
    elseif type(value) == "number" then
        return ("%.9g"):format(value)
    end
    return tostring(value)
end

local function input_line(operation, input)
    local name, value = input[1], input[2]
    local key = name:find("%.") and ('["%s"]'):format(name) or name
    if type(value) == "table" and #value == 2 then
        return ("%s = Input { Value = { %s, %s }, },"):format(key, literal(value[1]), literal(value[2]))
    elseif type(value) == "table" and value.link then
        return ('%s = Input { SourceOp = "%s", Source = "Output", },'):format(key, name_of(operation, value.link))
    elseif type(value) == "table" then
        return ('%s = Input { Value = FuID { "%s" }, },'):format(key, value.id)
    end
    return ("%s = Input { Value = %s, },"):format(key, literal(value))
end

local ABSENT = "print('Voidbridge is not installed here: ' .. tostring(voidbridge))"

local function button(name)
    return ("local ok, voidbridge = pcall(require, 'voidbridge') if ok then voidbridge.press(tool, '%s') else %s end"):format(
        name, ABSENT)
end

local CHANGED = "local ok, voidbridge = pcall(require, 'voidbridge') if ok then voidbridge.changed(tool) end"

local KINDS = {
    button = { "ButtonControl", "Number" },
    status = { "TextEditControl", "Text" },
    text = { "TextEditControl", "Text" },
    file = { "FileControl", "Text" },
    int = { "SliderControl", "Number" },
    float = { "SliderControl", "Number" },
    check = { "CheckboxControl", "Number" },
    choice = { "ComboControl", "Number" },
    color = { "ColorControl", "Number" },
    point = { "OffsetControl", "Point" },
}

-- A control as the pairs of a table, in order.
local function declared(control)
    local kind = KINDS[control.kind]
    local pairs_of = {
        { "LINKS_Name", control.label }, { "LINKID_DataType", kind[2] }, { "INPID_InputControl", kind[1] },
        { "INPS_StatusText", control.tip }, { "INP_External", kind[2] == "Point" }, { "ICS_ControlPage", control.page },
    }
    -- A passive control changes no picture and makes no Undo step. Numbers of Custom tools do change pictures.
    if control.on == "plate" then
        table.insert(pairs_of, 5, { control.kind == "button" and "INP_Passive" or "INP_InteractivePassive", true })
    end
    local function add(name, value)
        pairs_of[#pairs_of + 1] = { name, value }
    end
    if control.kind == "button" then
        add("BTNCS_Execute", button(control.name))
        return pairs_of
    elseif kind[2] == "Text" then
        add("INPS_DefaultText", control.default)
    elseif kind[2] == "Point" then
        local place = controls.held(control, control.default)
        add("INPID_PreviewControl", "CrosshairControl") -- on the screen
        add("INP_DefaultX", place[1])
        add("INP_DefaultY", place[2])
    else
        add("INP_Default", controls.held(control, control.default))
        add("INP_Integer", control.kind ~= "float" and control.kind ~= "color")
    end
    if control.part then
        add("IC_ControlGroup", 1) -- the three numbers share one picker
        add("IC_ControlID", control.part)
        add("CLRC_ShowWheel", false)
    end
    if kind[1] == "TextEditControl" then
        add("TEC_Lines", control.kind == "status" and 4 or control.lines or 1)
        add("TEC_Wrap", control.kind == "status" or control.lines ~= nil)
        add("TEC_ReadOnly", control.kind == "status")
    elseif control.kind == "file" then
        add("FC_PathBrowse", true) -- a folder, not a file to save
    elseif control.least then
        add("INP_MinAllowed", control.least)
        add("INP_MaxAllowed", control.most)
        add("INP_MinScale", control.least > -10000 and control.least or 0)
        add("INP_MaxScale", control.scale or math.min(control.most, 2000))
    end
    if control.result then
        add("INPS_ExecuteOnChange", CHANGED)
    end
    return pairs_of
end

local function user_controls(operation, role, line)
    line(4, "UserControls = ordered() {")
    for _, control in ipairs(operation.controls) do
        if control.on == role then
            line(5, control.id .. " = {")
            for _, pair in ipairs(declared(control)) do
                line(6, ("%s = %s,"):format(pair[1], literal(pair[2])))
            end
            for _, choice in ipairs(control.choices or {}) do
                line(6, ("{ CCS_AddString = %s, },"):format(quoted(choice)))
            end
            line(5, "},")
        end
    end
    line(4, "},")
end

local function has_controls(operation, role)
    for _, control in ipairs(operation.controls) do
        if control.on == role then
            return true
        end
    end
    return false
end

-- The initial values of an inner tool's controls.
local function values_of(operation, role, line)
    for _, control in ipairs(operation.controls) do
        if control.on == role and control.default ~= nil then
            line(5, input_line(operation, { control.id, controls.held(control, control.default) }))
        end
    end
end

local function tool_text(operation, tool, line)
    line(3, ("%s = %s {"):format(name_of(operation, tool.role), tool.class))
    if tool.passed then
        line(4, "PassThrough = true,")
    end
    local version = tool.role == "plate" and (' VoidbridgeVersion = %d, VoidbridgeOperation = "%s",')
        :format(controls.VERSION, operation.name) or ""
    line(4, ('CustomData = { Voidbridge = "%s",%s },'):format(tool.role, version))
    line(4, "Inputs = {")
    for _, input in ipairs(tool.inputs) do
        line(5, input_line(operation, input))
    end
    values_of(operation, tool.role, line)
    line(4, "},")
    line(4, ("ViewInfo = OperatorInfo { Pos = { %d, %d } },"):format(tool.at[1] * 110, tool.at[2] * 50))
    if has_controls(operation, tool.role) then
        user_controls(operation, tool.role, line)
    end
    line(3, "},")
end

-- The text of an operation's macro; by default of the one that removes.
function M.text(operation_name)
    local operation = operations[operation_name or "remove"]
    local lines = {}
    local function line(depth, text)
        lines[#lines + 1] = ("\t"):rep(depth) .. text
    end
    line(0, "{")
    line(1, "Tools = ordered() {")
    line(2, operation.macro .. " = GroupOperator {")
    line(3, "Inputs = ordered() {")
    for i, spec in ipairs(operation.inputs) do
        line(4, ('MainInput%d = InstanceInput { SourceOp = "%s", Source = "%s", Name = "%s", },'):format(
            i, name_of(operation, spec.role), spec.input, spec.role))
    end
    for _, control in ipairs(operation.controls) do
        local group = control.part and "ControlGroup = 1, " or ""
        line(4, ('%s = InstanceInput { SourceOp = "%s", Source = "%s", Name = %s, %sPage = "%s", },'):format("Vb"
            .. camel(control.name), name_of(operation, control.on), control.id, quoted(control.label), group, control.page))
    end
    line(3, "},")
    line(3, "Outputs = {")
    for i, output in ipairs(operation.outputs) do
        line(4, ('MainOutput%d = InstanceOutput { SourceOp = "%s", Source = "Output", Name = "%s", },'):format(
            i, name_of(operation, output[1]), output[2]))
    end
    line(3, "},")
    line(3, "ViewInfo = GroupInfo { Pos = { 0, 0 } },")
    line(3, "Tools = ordered() {")
    for _, tool in ipairs(INSIDES[operation.name]()) do
        tool_text(operation, tool, function(depth, text)
            line(depth + 1, text)
        end)
    end
    line(3, "},")
    line(2, "},")
    line(1, "},")
    line(0, "}")
    return table.concat(lines, "\n") .. "\n"
end

return M
