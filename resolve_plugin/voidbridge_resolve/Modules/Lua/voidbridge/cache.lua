-- Plates and results on disk: the folders of a tool, and its versions.
--
--    CACHE/TOOL-ID/v003/plate.1001.exr matte.1001.exr result.1001.exr
--                       version.json    the request
--                       status.json     state of the job; launch.lua writes the other files
--
-- A version is never written twice. Only `delete` ends one that holds a result, and only if the artist says so.

local frames = require("voidbridge.frames")
local json = require("voidbridge.json")
local launch = require("voidbridge.launch")
local errors = require("voidbridge.errors")
local operations = require("voidbridge.operations")
local request = require("voidbridge.request")
local system = require("voidbridge.system")

local M = {}

M.RECORD = "version.json"
local STATUS = { "status.json", "status.json.cancel" }

function M.name(number)
    return ("v%03d"):format(number)
end

-- A version's name for the artist. It marks previews, which must not be delivered.
function M.called(version)
    local is_preview = version.made_with.engine == "void" and version.made_with.quality == "preview"
    return M.name(version.number) .. (is_preview and " (preview)" or "")
end

-- The folder of a tool's versions. `comp_file` is empty if the comp is not saved to a file. A relative cache folder is
-- beside the comp, or in the home folder.
function M.home(cache, comp_file, id)
    local beside = comp_file ~= "" and (system.slashes(comp_file):match("^(.*)/[^/]*$") or ".")
    local base = system.slashes(cache)
    if base == "" then
        base = beside and beside .. "/voidbridge" or (system.home() or ".") .. "/Voidbridge"
    elseif not (base:match("^/") or base:match("^%a:")) then
        base = (beside or system.home() or ".") .. "/" .. base
    end
    return base:gsub("/+$", "") .. "/" .. id
end

local function in_home(home, number)
    return home .. "/" .. M.name(number)
end

-- The names of the files of any operation.
function M.roles()
    local found, seen = { "result" }, {}
    for _, operation in ipairs(operations.ALL) do
        for _, spec in ipairs(operation.inputs) do
            found[#found + 1] = not seen[spec.role] and spec.role or nil
            seen[spec.role] = true
        end
    end
    return found
end

-- True if a folder holds a record, or a file that rendering or the command would replace.
local function is_taken(folder, wanted)
    if system.exists(folder .. "/" .. M.RECORD) then
        return true
    end
    for _, names in ipairs({ STATUS, launch.FILES }) do
        for _, name in ipairs(names) do
            if system.exists(folder .. "/" .. name) then
                return true
            end
        end
    end
    for _, role in ipairs(M.roles()) do
        for frame = wanted.rendered[1], wanted.rendered[2] do
            if system.exists(folder .. "/" .. frames.file(role, frame + wanted.offset))
                or system.exists(folder .. "/rendered/" .. frames.file(role, frame)) then
                return true
            end
        end
    end
    return false
end

-- Creates a version after `last`, the highest known number. Raises a refusal.
function M.begin(home, last, wanted, described)
    system.make_folders(home)
    local number = last + 1
    while is_taken(in_home(home, number), wanted) do
        number = number + 1
    end
    local version = {
        number = number,
        home = home,
        folder = in_home(home, number),
        wanted = wanted.wanted,
        rendered = wanted.rendered,
        offset = wanted.offset,
        roles = wanted.roles,
        listed = wanted.listed,
        made_with = described,
    }
    system.make_folder(version.folder)
    if not system.write(version.folder .. "/" .. M.RECORD, json.encode(version) .. "\n") then
        errors.because(("The folder %s cannot be written."):format(version.folder),
            "Choose another cache folder on the page Setup.")
    end
    return version
end

-- The version of a number; nil if it has no readable record. Its folder may have moved with its home.
function M.read(home, number)
    local version = json.decode(system.read(in_home(home, number) .. "/" .. M.RECORD))
    if not (version and version.wanted and version.made_with and version.roles and version.listed) then
        return nil
    end
    version.home, version.folder = home, in_home(home, number)
    return version
end

-- The numbers of a version's files.
function M.numbers(version, range)
    return frames.shifted(range, version.offset)
end

-- The name of the command's record of a range.
local function record_of(numbers)
    local spelled = numbers[1] == numbers[2] and ("%d"):format(numbers[1]) or frames.spelled(numbers)
    return ("result.%s.voidbridge.json"):format(spelled)
end

-- Names of missing result files, including the command's record, which is written last.
function M.missing(version)
    local found = {}
    local numbers = M.numbers(version, version.wanted)
    for number = numbers[1], numbers[2] do
        local name = frames.file("result", number)
        if not system.exists(version.folder .. "/" .. name) then
            found[#found + 1] = name
        end
    end
    local record = record_of(numbers)
    if not system.exists(version.folder .. "/" .. record) then
        found[#found + 1] = record
    end
    return found
end

function M.is_complete(version)
    return #M.missing(version) == 0
end

function M.result(version)
    return version.folder .. "/" .. frames.file("result", version.wanted[1] + version.offset)
end

-- The first file that was rendered: handles come before the frames of the result.
function M.plate(version)
    return version.folder .. "/" .. frames.file("plate", version.rendered[1] + version.offset)
end

-- The child's files, for `status.judged`.
function M.seen(version, now)
    local code = launch.exit_code(version.folder)
    return {
        code = code, -- read before the status: a child writes its last status and then ends
        status = system.read(version.folder .. "/status.json"),
        said = code and launch.said(version.folder),
        started = launch.has_started(version.folder),
        now = now,
    }
end

-- Asks the child to stop.
function M.cancel(version)
    return system.write(version.folder .. "/status.json.cancel", "")
end

-- The names of all files that a version may have, of its own and of its job.
local function names(version)
    local found = { M.RECORD }
    for _, list in ipairs({ STATUS, launch.FILES }) do
        for _, name in ipairs(list) do
            found[#found + 1] = name
        end
    end
    local numbers = M.numbers(version, version.wanted)
    found[#found + 1] = record_of(numbers)
    for number = numbers[1], numbers[2] do
        found[#found + 1] = frames.file("result", number)
    end
    numbers = M.numbers(version, version.rendered)
    for _, role in ipairs(version.roles) do
        for number = numbers[1], numbers[2] do
            found[#found + 1] = frames.file(role, number)
        end
        for _, frame in ipairs(version.listed[role] or {}) do
            found[#found + 1] = frames.file(role, frame + version.offset)
        end
    end
    return found
end

-- The bytes of a version's files.
function M.size(version)
    local sum, seen = 0, {}
    for _, name in ipairs(names(version)) do
        sum, seen[name] = sum + (seen[name] and 0 or system.size(version.folder .. "/" .. name)), true
    end
    return sum
end

-- Deletes a version with its result. Returns false if other files are left, or it is in use.
function M.delete(version)
    for _, name in ipairs(names(version)) do
        system.remove(version.folder .. "/" .. name)
    end
    for _, role in ipairs(version.roles) do
        for frame = version.rendered[1], version.rendered[2] do -- of a render that a crash ended
            system.remove(version.folder .. "/rendered/" .. frames.file(role, frame))
        end
    end
    system.remove_folder(version.folder .. "/rendered")
    launch.clean(version.folder)
    return system.make_folder(version.folder) and (system.remove_folder(version.folder) or true)
end

-- Deletes an attempt without any result frame. Returns true if it did.
function M.discard(version)
    local numbers = M.numbers(version, version.wanted)
    for number = numbers[1], numbers[2] do
        if system.exists(version.folder .. "/" .. frames.file("result", number)) then
            return false
        end
    end
    numbers = M.numbers(version, version.rendered)
    for _, role in ipairs(version.roles) do
        for number = numbers[1], numbers[2] do
            system.remove(version.folder .. "/" .. frames.file(role, number))
        end
        for _, frame in ipairs(version.listed[role] or {}) do
            system.remove(version.folder .. "/" .. frames.file(role, frame + version.offset))
        end
    end
    system.remove(version.folder .. "/" .. M.RECORD)
    for _, name in ipairs(STATUS) do
        system.remove(version.folder .. "/" .. name)
    end
    system.remove_folder(version.folder .. "/rendered")
    launch.clean(version.folder)
    return true
end

return M
