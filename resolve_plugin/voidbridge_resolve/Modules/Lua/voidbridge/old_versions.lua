-- The buttons for versions: a plain Loader of the shown one, and the end of the others.
--
-- A free Resolve has no window that could ask a question. So the first press tells what would happen, and the second one
-- does it, if the versions are still the same.

local cache = require("voidbridge.cache")
local command = require("voidbridge.command")
local controller = require("voidbridge.controller")
local errors = require("voidbridge.errors")
local host = require("voidbridge.host")

local M = {}

local ASKED = {} -- what the last press told, by the tool's id

local function spelled(size)
    return size >= 1e9 and ("%.1f GB"):format(size / 1e9) or ("%d MB"):format(math.max(math.floor(size / 1e6 + 0.5), 1))
end

-- The versions that are neither shown nor at work, also on a farm. Raises a refusal if there is none.
local function old(inside, state, values)
    local found = {}
    for number = 1, state.last do
        local version = number ~= state.shown and number ~= state.job and controller.find(inside, state, values, number)
        found[#found + 1] = version and not controller.is_with_farm(version) and version or nil
    end
    if #found == 0 then
        errors.because("There is no other version.", "The one that is shown stays.")
    end
    return found
end

-- True at the second press. The first one says what the second would do.
local function is_sure(inside, state, what, versions)
    local parts, sum = {}, 0
    for i, version in ipairs(versions) do
        local size = cache.size(version)
        parts[i], sum = ("%s (%s)"):format(cache.called(version), spelled(size)), sum + size
    end
    local text = ("%s %s: %s in all? Other comps may use them. Press again to do it."):format(
        what, table.concat(parts, ", "), spelled(sum))
    if ASKED[state.id] == text then
        ASKED[state.id] = nil
        return true
    end
    ASKED[state.id] = text
    host.print(text)
    host.say(inside, text, "stale")
    return false
end

function M.purge(inside)
    local state, values = controller.own(inside), host.values(inside)
    local versions = old(inside, state, values)
    if not is_sure(inside, state, "Delete", versions) then
        return
    end
    local kept = {}
    for _, version in ipairs(versions) do
        kept[#kept + 1] = not cache.delete(version) and version.folder or nil
    end
    if #kept > 0 then
        errors.because(("Not all of %s could be deleted."):format(table.concat(kept, ", ")),
            "These folders hold other files too, or are in use.")
    end
    controller.say_standing(inside, "deleted; ")
end

-- Moves them to the archive folder. Each copy is verified before anything is deleted.
function M.archive(inside)
    local state, values = controller.own(inside), host.values(inside)
    local place = values.archive_to:match("^%s*(.-)%s*$")
    if place == "" then
        errors.because("No archive folder is named.", "Name one in 'archive folder'.")
    end
    local versions = old(inside, state, values)
    if not is_sure(inside, state, ("Move to %s:"):format(place), versions) then
        return
    end
    local words = { "archive" }
    for _, version in ipairs(versions) do
        words[#words + 1] = version.folder
    end
    for _, word in ipairs({ "--to=" .. place, "--move", "--json" }) do
        words[#words + 1] = word
    end
    host.say(inside, "archiving", "ready")
    local found = command.run(controller.home(inside, state, values), "archive", words)
    controller.say_standing(inside, ("%d versions lie in %s, each copy verified; "):format(#found, place))
end

-- Adds a Loader of the shown result, which plays without this tool.
function M.make_loader(inside)
    local state, values = controller.own(inside), host.values(inside)
    local version = state.shown > 0 and controller.find(inside, state, values, state.shown)
    if not version then
        errors.because("There is no result yet.", "Press " .. inside.operation.button .. ", then Fetch.")
    end
    host.add_loader(inside, cache.result(version), version.wanted)
end

return M
