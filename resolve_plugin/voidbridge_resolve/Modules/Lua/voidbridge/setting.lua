-- The text of the macro, Macros/Voidbridge/Voidbridge.setting, from the table of controls. It opens and plays its result
-- without this module: its buttons are one guarded call each, and Fusion's own tools make its picture.
--
--    plate ──► Plate (float32) ──► SavePlate
--                 │           └──────────────┐
--    LoadResult ──┼─► Result ──► Difference ◄┘   Result: the input, but for pixels where the result
--    LoadPlate ───┴─► Layer                              differs from the plate that was sent
--    matte ──► Matte ──► SaveMatte
--    affected ──► Affected ──► SaveAffected
--    clean ──► Clean ──► SaveClean
--                 Matte, Affected ──► Quadmask
--
-- A Loader outside of its clip gives no picture and stops the render. So both hold their first and last frames, and
-- Result and Layer take pixels only at times from `n1` to `n2`.

local controls = require("voidbridge.controls")

local M = {}

-- Names of inner tools contain the macro's name, so that they stay recognizable.
local PREFIX = "Voidbridge"

-- True where the result differs from the sent plate. A NaN differs from itself; the result has it too.
local function differs(one, other)
    return ("(r%d != r%d) || (g%d != g%d) || (b%d != b%d)"):format(one, other, one, other, one, other)
end

-- The times that have a result; none without one.
local SHOWN = "(time >= n1) && (time <= n2)"
local NO_TIMES = { { "NumberIn1", 0 }, { "NumberIn2", -1 } }

local CHOSEN = "if(n1 < 0.5, a1, if(n1 < 1.5, r1, if(n1 < 2.5, g1, if(n1 < 3.5, b1, a1))))" -- a named one is everywhere
local MATTE = ("if(n2 > 0.5, 1 - (%s), %s)"):format(CHOSEN, CHOSEN)
local CODE = ("if(n1 > 1.5, r1, if(r1 >= n2, if(r2 >= n2, %.9g, 0), if(r2 >= n2, %.9g, 1)))"):format(63 / 255, 127 / 255)

-- role, class, position, inputs by name: {tool, } connects, other values are set.
local function link(role)
    return { link = role }
end

local function each(text)
    return { text:format("r", "r"), text:format("g", "g"), text:format("b", "b") }
end

local function custom(images, rgb, alpha, more)
    local inputs = { { "RedExpression", rgb[1] }, { "GreenExpression", rgb[2] }, { "BlueExpression", rgb[3] },
        { "AlphaExpression", alpha } }
    for i, role in ipairs(images) do
        table.insert(inputs, i, { "Image" .. i, link(role) })
    end
    for _, input in ipairs(more and more.numbers or {}) do
        inputs[#inputs + 1] = input
    end
    local made = { class = "Custom", inputs = inputs }
    for key, value in pairs(more or {}) do
        made[key] = value
    end
    return made
end

-- Passed through, so that neither Render All nor a farm runs it; a matte saver writes only its own alpha.
local function saver(role, at, only_alpha)
    local inputs = { { "Input", link(role) }, { "OutputFormat", { id = "OpenEXRFormat" } }, { "CreateDir", 1 },
        { "OpenEXRFormat.Depth", 1 }, { "OpenEXRFormat.Compression", 2 } }
    if only_alpha then
        for _, color in ipairs({ "Red", "Green", "Blue" }) do
            inputs[#inputs + 1] = { ("OpenEXRFormat.%sEnable"):format(color), 0 }
        end
    end
    return { role = "save_" .. role, class = "Saver", at = at, inputs = inputs, passed = true }
end

local function placed(role, at, made)
    made.role, made.at = role, at
    return made
end

local LOADER = { { "MissingFrames", 0 } } -- a hole is an error, not an earlier frame

local function tools()
    return {
        placed("plate", { 0, 0 }, { class = "ChangeDepth", inputs = { { "Depth", 4 } } }),
        placed("matte", { 0, 2 }, custom({}, { MATTE, MATTE, MATTE }, MATTE)),
        placed("affected", { 0, 4 }, custom({}, { MATTE, MATTE, MATTE }, MATTE)),
        placed("clean", { 0, 6 }, custom({}, { "r1", "g1", "b1" }, "if(n1 > 0.5, 1, a1)")),
        saver("plate", { 2, -1 }),
        saver("matte", { 2, 2 }, true),
        saver("affected", { 2, 4 }, true),
        saver("clean", { 2, 6 }),
        placed("load_result", { 1, -3 }, { class = "Loader", inputs = LOADER }),
        placed("load_plate", { 3, -3 }, { class = "Loader", inputs = LOADER }),
        placed("result", { 4, 0 }, custom({ "plate", "load_result", "load_plate" },
            each(("if(%s && (%s), %%s2, %%s1)"):format(SHOWN, differs(2, 3))), "a1", { passed = true, numbers = NO_TIMES })),
        placed("layer", { 4, -2 }, custom({ "load_result", "load_plate" },
            each(("if(%s && (%s), %%s1, 0)"):format(SHOWN, differs(1, 2))),
            ("if(%s && (%s), 1, 0)"):format(SHOWN, differs(1, 2)), { numbers = NO_TIMES })),
        placed("quadmask", { 4, 3 }, custom({ "matte", "affected" }, { CODE, CODE, CODE }, "1")),
        placed("difference", { 6, 0 }, custom({ "result", "plate" }, each("abs(%s1 - %s2)"), "a1")),
    }
end

-- -- text -----------------------------------------------------------------------------------------------

local function camel(role)
    return (("_" .. role):gsub("_(%l)", string.upper))
end

local function name_of(role)
    return PREFIX .. camel(role)
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

local function input_line(input)
    local name, value = input[1], input[2]
    local key = name:find("%.") and ('["%s"]'):format(name) or name
    if type(value) == "table" and value.link then
        return ('%s = Input { SourceOp = "%s", Source = "Output", },'):format(key, name_of(value.link))
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
}

-- A control as the pairs of a table, in order.
local function declared(control)
    local kind = KINDS[control.kind]
    local pairs_of = {
        { "LINKS_Name", control.label }, { "LINKID_DataType", kind[2] }, { "INPID_InputControl", kind[1] },
        { "INPS_StatusText", control.tip }, { "INP_External", false }, { "ICS_ControlPage", control.page },
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
    else
        add("INP_Default", controls.held(control, control.default))
        add("INP_Integer", control.kind ~= "float")
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

local function user_controls(role, line)
    line(4, "UserControls = ordered() {")
    for _, control in ipairs(controls.ALL) do
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

local function has_controls(role)
    for _, control in ipairs(controls.ALL) do
        if control.on == role then
            return true
        end
    end
    return false
end

-- The initial values of an inner tool's controls.
local function values_of(role, line)
    for _, control in ipairs(controls.ALL) do
        if control.on == role and control.default ~= nil then
            line(5, input_line({ control.id, controls.held(control, control.default) }))
        end
    end
end

local function tool_text(tool, line)
    line(3, ("%s = %s {"):format(name_of(tool.role), tool.class))
    if tool.passed then
        line(4, "PassThrough = true,")
    end
    local version = tool.role == "plate" and (" VoidbridgeVersion = %d,"):format(controls.VERSION) or ""
    line(4, ('CustomData = { Voidbridge = "%s",%s },'):format(tool.role, version))
    line(4, "Inputs = {")
    for _, input in ipairs(tool.inputs) do
        line(5, input_line(input))
    end
    values_of(tool.role, line)
    line(4, "},")
    line(4, ("ViewInfo = OperatorInfo { Pos = { %d, %d } },"):format(tool.at[1] * 110, tool.at[2] * 50))
    if has_controls(tool.role) then
        user_controls(tool.role, line)
    end
    line(3, "},")
end

-- The text of a macro named `name`.
function M.text(name)
    local lines = {}
    local function line(depth, text)
        lines[#lines + 1] = ("\t"):rep(depth) .. text
    end
    line(0, "{")
    line(1, "Tools = ordered() {")
    line(2, (name or "Voidbridge") .. " = GroupOperator {")
    line(3, "Inputs = ordered() {")
    for i, main in ipairs({ { "plate", "Input" }, { "matte", "Image1" }, { "affected", "Image1" },
        { "clean", "Image1" } }) do
        line(4, ('MainInput%d = InstanceInput { SourceOp = "%s", Source = "%s", Name = "%s", },'):format(
            i, name_of(main[1]), main[2], main[1]))
    end
    for _, control in ipairs(controls.ALL) do
        line(4, ('%s = InstanceInput { SourceOp = "%s", Source = "%s", Name = %s, Page = "%s", },'):format(
            "Vb" .. camel(control.name), name_of(control.on), control.id, quoted(control.label), control.page))
    end
    line(3, "},")
    line(3, "Outputs = {")
    for i, role in ipairs({ "result", "quadmask", "layer", "difference" }) do
        line(4, ('MainOutput%d = InstanceOutput { SourceOp = "%s", Source = "Output", Name = "%s", },'):format(
            i, name_of(role), role))
    end
    line(3, "},")
    line(3, "ViewInfo = GroupInfo { Pos = { 0, 0 } },")
    line(3, "Tools = ordered() {")
    for _, tool in ipairs(tools()) do
        tool_text(tool, function(depth, text)
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
