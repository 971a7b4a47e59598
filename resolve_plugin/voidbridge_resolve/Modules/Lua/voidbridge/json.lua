-- A JSON decoder, and an encoder with sorted keys. null is omitted.

local M = {}

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function utf8(code)
    if code < 0x80 then
        return string.char(code)
    elseif code < 0x800 then
        return string.char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40)
    elseif code < 0x10000 then
        return string.char(0xE0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return string.char(0xF0 + math.floor(code / 0x40000), 0x80 + math.floor(code / 0x1000) % 0x40,
        0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
end

local value

local function skip(text, at)
    return text:find("%S", at) or #text + 1
end

local function text_of(text, at)
    local found = {}
    at = at + 1
    while true do
        local stop = text:find('["\\]', at)
        assert(stop, "a text does not end")
        found[#found + 1] = text:sub(at, stop - 1)
        if text:sub(stop, stop) == '"' then
            return table.concat(found), stop + 1
        end
        local letter = text:sub(stop + 1, stop + 1)
        at = stop + 2
        if letter == "u" then
            local code = tonumber(text:sub(at, at + 3), 16)
            at = at + 4
            local low = code >= 0xD800 and code < 0xDC00 and tonumber(text:match("^\\u(%x%x%x%x)", at) or "", 16)
            if low then -- a pair of surrogates
                code = 0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00)
                at = at + 6
            end
            found[#found + 1] = utf8(code)
        else
            found[#found + 1] = assert(ESCAPES[letter], "an unknown escape")
        end
    end
end

local function items(text, at, close, each)
    at = skip(text, at + 1)
    if text:sub(at, at) == close then
        return at + 1
    end
    while true do
        at = skip(text, each(at))
        local mark = text:sub(at, at)
        if mark == close then
            return at + 1
        end
        assert(mark == ",", "a comma is missing")
        at = skip(text, at + 1)
    end
end

function value(text, at)
    local mark = text:sub(at, at)
    if mark == '"' then
        return text_of(text, at)
    elseif mark == "{" then
        local made = {}
        local after = items(text, at, "}", function(here)
            local key, colon = text_of(text, here)
            colon = skip(text, colon)
            assert(text:sub(colon, colon) == ":", "a colon is missing")
            made[key], here = value(text, skip(text, colon + 1))
            return here
        end)
        return made, after
    elseif mark == "[" then
        local made = {}
        local after = items(text, at, "]", function(here)
            made[#made + 1], here = value(text, here)
            return here
        end)
        return made, after
    end
    local word = text:match("^[%w.+-]+", at) or ""
    local words = { ["true"] = true, ["false"] = false }
    if word ~= "null" and words[word] == nil then
        words[word] = assert(tonumber(word), "no value")
    end
    return words[word], at + #word
end

-- Returns nil if the text is not JSON, for example a partly written file.
function M.decode(text)
    local ok, found = pcall(value, text or "", skip(text or "", 1))
    if ok then
        return found
    end
    return nil
end

function M.encode(what, indent)
    indent = indent or ""
    local inner = indent .. " "
    if type(what) == "string" then
        return '"' .. what:gsub('[%c"\\]', function(c)
            return ("\\u%04x"):format(c:byte())
        end) .. '"'
    elseif type(what) ~= "table" then
        return tostring(what)
    end
    local lines = {}
    if #what > 0 then
        for _, item in ipairs(what) do
            lines[#lines + 1] = inner .. M.encode(item, inner)
        end
        return "[\n" .. table.concat(lines, ",\n") .. "\n" .. indent .. "]"
    end
    for key, item in pairs(what) do
        lines[#lines + 1] = inner .. M.encode(tostring(key)) .. ": " .. M.encode(item, inner)
    end
    table.sort(lines)
    return "{\n" .. table.concat(lines, ",\n") .. "\n" .. indent .. "}"
end

return M
