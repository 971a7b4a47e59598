-- The parts of which the inside of a macro is made: inner tools as tables.

local M = {}

-- The times that have a result; none without one.
M.SHOWN = "(time >= n1) && (time <= n2)"
M.NO_TIMES = { { "NumberIn1", 0 }, { "NumberIn2", -1 } }

local CHOSEN = "if(n1 < 0.5, a1, if(n1 < 1.5, r1, if(n1 < 2.5, g1, if(n1 < 3.5, b1, a1))))" -- a named one is everywhere
-- A matte from the chosen channel, inverted on demand.
M.MATTE = ("if(n2 > 0.5, 1 - (%s), %s)"):format(CHOSEN, CHOSEN)

-- An inner tool has role, class, position, and inputs by name. A link connects one to another inner tool.
function M.link(role)
    return { link = role }
end

-- An expression for red, green and blue.
function M.each(text)
    return { text:format("r", "r"), text:format("g", "g"), text:format("b", "b") }
end

-- A Custom tool of up to three images, by their roles. `more`: numbers, and other fields of the tool.
function M.custom(images, rgb, alpha, more)
    local inputs = { { "RedExpression", rgb[1] }, { "GreenExpression", rgb[2] }, { "BlueExpression", rgb[3] },
        { "AlphaExpression", alpha } }
    for i, role in ipairs(images) do
        table.insert(inputs, i, { "Image" .. i, M.link(role) })
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
function M.saver(role, at, only_alpha)
    local inputs = { { "Input", M.link(role) }, { "OutputFormat", { id = "OpenEXRFormat" } }, { "CreateDir", 1 },
        { "OpenEXRFormat.Depth", 1 }, { "OpenEXRFormat.Compression", 2 } }
    if only_alpha then
        for _, color in ipairs({ "Red", "Green", "Blue" }) do
            inputs[#inputs + 1] = { ("OpenEXRFormat.%sEnable"):format(color), 0 }
        end
    end
    return { role = "save_" .. role, class = "Saver", at = at, inputs = inputs, passed = true }
end

-- Gives a tool its role and its position.
function M.placed(role, at, made)
    made.role, made.at = role, at
    return made
end

-- A tool that takes a matte from the chosen channel of its input.
function M.matte(role, at)
    return M.placed(role, at, M.custom({}, { M.MATTE, M.MATTE, M.MATTE }, M.MATTE))
end

-- The plate in float, as all that follows needs it.
function M.plate()
    return M.placed("plate", { 0, 0 }, { class = "ChangeDepth", inputs = { { "Depth", 4 } } })
end

function M.loader(role, at)
    return M.placed(role, at, { class = "Loader", inputs = { { "MissingFrames", 0 } } }) -- a hole is an error
end

return M
