-- Prompts of the tracker as one control holds them: `point 12:48.5,60; not 12:70,60:ball; role ball=affected`.
--
-- Frames are those of the comp. Places are in percent of width and height, from the bottom left corner. Touches nothing.

local M = {}

M.UNNAMED, M.PRIMARY = "object", "primary"

local NUMBERS = { point = 2, ["not"] = 2, box = 4 }
local ROLES = { primary = true, belonging = true, affected = true }

local function trimmed(text)
    return (text:match("^%s*(.-)%s*$"))
end

local function parts(text)
    local found = {}
    for part in text:gmatch("[^;]+") do
        found[#found + 1] = trimmed(part) ~= "" and trimmed(part) or nil
    end
    return found
end

-- True for words with an object's name behind a colon at most.
local function is_noun(value)
    local words, name = value:match("^([^:;]+)(.*)$")
    return words and words:find("%S") and #words <= 100 and (name == "" or name:match("^:%a[%w_-]*$")) and true or false
end

local function entry(word)
    local kind, value = word:match("^(%a+)%s+(%S+)$")
    if word:match("^noun%s") then
        kind, value = "noun", trimmed(word:match("^noun%s+(.*)$"))
        if not is_noun(value) then
            return nil
        end
    end
    if kind == "role" then
        local name, role = value:match("^(%a[%w_-]*)=(%a+)$")
        return name and ROLES[role] and { kind = kind, value = value } or nil
    end
    if kind == "noun" then
        return { kind = kind, value = value }
    end
    local frame, numbers, name = (value or ""):match("^(%-?%d+):([%d%.,%-]+)(.*)$")
    local count = 0
    for number in (numbers or ""):gmatch("[^,]+") do
        count = tonumber(number) and count + 1 or -100
    end
    if not (kind and frame and count == NUMBERS[kind] and (name == "" or name:match("^:%a[%w_-]*$"))) then
        return nil
    end
    return { kind = kind, frame = tonumber(frame), value = numbers .. name }
end

-- Each prompt: kind, value, frame. nil and the prompt that cannot be read.
function M.entries(text)
    local found = {}
    for _, word in ipairs(parts(text)) do
        local made = entry(word)
        if not made then
            return nil, word
        end
        found[#found + 1] = made
    end
    return found
end

-- The words of the command, with the numbers of files.
function M.options(text, offset)
    local found = {}
    for _, made in ipairs(M.entries(text) or {}) do
        local frame = made.frame and ("%d:"):format(made.frame + offset) or ""
        found[#found + 1] = ("--%s=%s%s"):format(made.kind, frame, made.value)
    end
    return found
end

-- The prompts as text, with the role of this object if the text does not name it.
local function with_role(all, text, name, role)
    local of_role = ("role %s=%s"):format(name == "" and M.UNNAMED or name, role)
    if role ~= M.PRIMARY and not text:find(of_role, 1, true) then
        all[#all + 1] = of_role
    end
    return table.concat(all, "; ")
end

-- The text with one more prompt, and with the role of its object if that is not the usual one.
function M.added(text, kind, frame, numbers, name, role)
    local all, spelled = parts(text), {}
    for i, number in ipairs(numbers) do
        spelled[i] = ("%.7g"):format(math.floor(number * 1000 + 0.5) / 1000)
    end
    name = trimmed(name)
    local of_name = (name == "" or name == M.UNNAMED) and "" or ":" .. name
    all[#all + 1] = ("%s %d:%s%s"):format(kind, frame, table.concat(spelled, ","), of_name)
    return with_role(all, text, name, role)
end

-- The text with a noun for an object, in place of clicks. nil for what is no noun.
function M.noun_added(text, noun, name, role)
    local all = parts(text)
    name = trimmed(name)
    local value = trimmed(noun) .. ((name == "" or name == M.UNNAMED) and "" or ":" .. name)
    if noun:find(":") or not is_noun(value) then
        return nil
    end
    all[#all + 1] = "noun " .. value
    return with_role(all, text, name, role)
end

-- The text without its last prompt.
function M.without_last(text)
    local all = parts(text)
    all[#all] = nil
    return table.concat(all, "; ")
end

return M
