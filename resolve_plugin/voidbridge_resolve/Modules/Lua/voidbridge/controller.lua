-- Reacts to buttons and changed controls, by calling the other modules.
--
-- The button of the operation starts a child process and returns. The artist continues in Fusion, and Fetch checks the result.

local artist_loaders = require("voidbridge.artist_loaders")
local cache = require("voidbridge.cache")
local command = require("voidbridge.command")
local config = require("voidbridge.config")
local controls = require("voidbridge.controls")
local frames = require("voidbridge.frames")
local host = require("voidbridge.host")
local launch = require("voidbridge.launch")
local errors = require("voidbridge.errors")
local request = require("voidbridge.request")
local site = require("voidbridge.site")
local status = require("voidbridge.status")
local system = require("voidbridge.system")

local M = {}

M.CANCEL_S = 5
local LOOK_S = 0.2
local SEVERAL = 3 -- maximum number of changed controls in the status line

local LAST = {} -- output of a tool's last job, by its id, for the report

-- -- what a tool has --------------------------------------------------------------------------------

local function new_id()
    local seed = os.time() * 1000 + math.floor(os.clock() * 1000) % 1000
    local address = tonumber((tostring({}):match("0x(%x+)") or "0"):sub(-8), 16) or 0
    return ("%012x"):format(seed % 2 ^ 40):sub(-10) .. ("%04x"):format(address / 8 % 65536)
end

-- The state, with a unique id: a copy keeps the original's id until it is first used.
function M.own(inside)
    local state = host.state(inside)
    local name = inside.group.Name
    local is_copy = false
    for _, other in ipairs(host.all(inside.comp)) do
        if other.group.Name ~= name and host.state(other).id == state.id and state.name ~= name then
            is_copy = true
        end
    end
    if state.id == "" then
        site.give_defaults(inside)
    end
    if state.id == "" or is_copy then
        if is_copy then
            host.hide(inside) -- it may get another plate, so it must not show the original's result
            host.put(inside, "version_shown", 0)
        end
        state = { id = new_id(), name = name, homes = "", last = 0, job = 0, shown = 0 }
        host.keep(inside, state)
    end
    return state
end

-- Every folder with versions of this tool; the next version goes to the last one.
local function homes(inside, state, values)
    local now = cache.home(values.cache, host.file(inside), state.id)
    local found = {}
    for home in state.homes:gmatch("[^\n]+") do
        if home ~= now then
            found[#found + 1] = home
        end
    end
    found[#found + 1] = now
    return found
end

-- A version by its number, or nil.
function M.find(inside, state, values, number)
    local known = homes(inside, state, values)
    for i = #known, 1, -1 do
        local version = number > 0 and cache.read(known[i], number)
        if version then
            return version
        end
    end
    return nil
end

-- The folder of the next version.
function M.home(inside, state, values)
    local known = homes(inside, state, values)
    return known[#known]
end

local function spelled(version)
    local files = version.offset == 0 and "" or
        (" (files %s)"):format(frames.spelled(frames.shifted(version.wanted, version.offset)))
    return ("%s, frames %s%s"):format(cache.called(version), frames.spelled(version.wanted), files)
end

-- -- how it stands ------------------------------------------------------------------------------------

-- The status line and its color, from the controls and the files on disk.
local function standing(inside, state, values, thorough)
    local shown = M.find(inside, state, values, state.shown)
    if state.shown == 0 then
        return "not rendered", "ready"
    elseif not shown then
        return ("the result %s is not where it was"):format(cache.name(state.shown)), "failed"
    end
    local lost = thorough and cache.missing(shown) or {}
    if #lost > 0 then
        return ("%s lacks %d files, %s first"):format(cache.called(shown), #lost, lost[1]), "failed"
    end
    local ok, asked = pcall(request.resolve, values, host.scene(inside))
    if not ok then
        return ("%s, but now: %s"):format(cache.called(shown), tostring(asked)), "stale"
    end
    local changes = request.differences(request.described(asked), shown.made_with)
    if #changes > 0 then
        local names = table.concat(changes, ", ", 1, math.min(#changes, SEVERAL)) .. (#changes > SEVERAL and ", ..." or "")
        return ("out of date: %s changed since %s"):format(names, cache.called(shown)), "stale"
    end
    return "done: " .. spelled(shown), "ready"
end

-- The same, of a tool that is not at work, from everything.
function M.standing(inside)
    return standing(inside, host.state(inside), host.values(inside), true)
end

function M.say_standing(inside, before, after)
    local text, color = M.standing(inside)
    text = (before or "") .. text .. (after or "")
    host.say(inside, text, color)
    return text
end

local function show(inside, state, version)
    host.show(inside, { result = cache.result(version), plate = cache.plate(version) }, version.wanted,
        version.wanted[1] - version.rendered[1])
    state.shown = version.number
    host.keep(inside, state)
    host.put(inside, "version_shown", version.number)
end

-- -- a job ----------------------------------------------------------------------------------------------

local ENDS = { done = true, failed = true, cancelled = true }

-- True for a version that a farm may still read and write, from Submit until its job has ended.
function M.is_with_farm(version)
    return launch.is_handed_over(version.folder) and not ENDS[status.judged(cache.seen(version, os.time()))]
end

-- Checks the job, and shows its result or error if it has ended. Returns its phase.
local function look(inside, state, version)
    local phase, line, last = status.judged(cache.seen(version, os.time()))
    if phase == "working" then
        host.say(inside, line, "ready")
        return phase
    elseif phase == "waiting" then
        host.say(inside, launch.is_handed_over(version.folder) and "the farm has not started it yet"
            or "not started yet; by hand: " .. launch.by_hand(version.folder), "ready")
        return phase
    elseif phase == "lost" then
        host.say(inside, line, "failed")
        return phase
    end
    LAST[state.id] = line .. "\n" .. launch.said(version.folder)
    state.job = 0
    host.keep(inside, state)
    if phase == "done" then
        show(inside, state, version)
        for _, warning in ipairs(last.warnings or {}) do
            host.print("note: " .. warning)
        end
        host.print(M.say_standing(inside, nil, last.from_store and ", from the daemon's store" or nil))
        site.publish({
            comp = host.file(inside), tool = inside.group.Name, operation = inside.operation.name,
            version = cache.called(version), files = cache.result(version), frames = version.wanted,
            settings = version.made_with,
        })
    else
        cache.discard(version)
        if phase == "cancelled" then
            M.say_standing(inside, "cancelled; ")
        else
            host.say(inside, line, "failed")
            host.print(line)
        end
    end
    return phase
end

local function stay(inside, state, version, seconds, until_phase)
    local till = os.time() + seconds
    local phase
    repeat
        system.sleep(LOOK_S)
        phase = look(inside, state, version)
    until (phase ~= "working" and phase ~= until_phase) or os.time() > till
    return phase
end

-- Renders the inputs into a new version, whose job is ready to start. With `again_from`, the frames before it are kept;
-- `only` is the one frame that is wanted. Returns the state, the version and the request. Raises a refusal.
function M.prepared(inside, again_from, only)
    if host.made_with(inside) > controls.VERSION then
        errors.because("This tool was made by a later release of Voidbridge.", "Install that one: voidbridge install resolve")
    end
    local state = M.own(inside)
    local values = host.values(inside)
    if only then
        values.frame_range, values.first, values.last = "custom", only, only
    end
    local before = M.find(inside, state, values, state.job)
    if before then
        local phase = look(inside, state, before)
        if phase == "working" then
            errors.because("This tool is already working.", "Press Fetch to see how far it is, or Cancel.")
        elseif M.is_with_farm(before) then
            errors.because(("A farm has the job of %s, which has not ended."):format(cache.called(before)),
                "Press Fetch when it is done. To give it up, delete it on the farm, then press Cancel.")
        elseif phase == "waiting" then
            cache.discard(before)
        end
    end
    local wanted = request.resolve(values, host.scene(inside))
    artist_loaders.set(inside, wanted.loaders)
    local known = homes(inside, state, values)
    if again_from then
        wanted.again_from, wanted.earlier = again_from, M.kept_before(inside, state, values, again_from, known[#known])
    end
    local version = cache.begin(known[#known], state.last, wanted, request.described(wanted))
    state.homes, state.last, state.name = table.concat(known, "\n"), version.number, inside.group.Name
    host.keep(inside, state)
    host.say(inside, ("rendering the plate, frames %s"):format(frames.spelled(version.rendered)), "ready")
    local ok, problem = pcall(host.render, inside, version, values.depth)
    if not ok then
        cache.discard(version)
        error(problem, 0)
    end
    if not launch.prepare(version.folder, config.command(), request.words(wanted)) then
        cache.discard(version)
        errors.because(("The folder %s cannot be written any more."):format(version.folder), "Is its disk full?")
    end
    state.job = version.number
    host.keep(inside, state)
    return state, version, wanted
end

-- Renders the inputs and starts a job, of any operation.
function M.begin(inside, again_from, only)
    local state, version = M.prepared(inside, again_from, only)
    local values = host.values(inside)
    if not launch.start(version.folder) then
        local by_hand = launch.by_hand(version.folder)
        host.print("this host starts no programs. Type in a terminal, then press Fetch:\n" .. by_hand)
        host.say(inside, "start it by hand, then press Fetch: " .. by_hand, "stale")
    elseif values.wait then
        stay(inside, state, version, math.huge)
    elseif values.follow and host.run_script(inside, config.script("Comp/Voidbridge Follow.lua")) then
        host.say(inside, "working", "ready")
    else
        host.say(inside, "working; press Fetch", "ready")
    end
end

-- A version of the frame that the comp shows, and no other.
function M.test_frame(inside)
    M.begin(inside, nil, host.frame(inside))
end

-- Finds a job that a Fusion started which ended before its comp was saved: the version behind the last known one.
local function adopt(inside, state, values)
    local number = state.id ~= "" and state.job == 0 and state.last + 1 or 0
    local version = M.find(inside, state, values, number)
    while version and launch.is_prepared(version.folder) do
        state.job, state.last, number = number, number, number + 1
        host.keep(inside, state)
        version = M.find(inside, state, values, number)
    end
end

-- Looks at the job of a tool, and shows its result if it has ended. Returns true while it works.
function M.look_again(inside)
    local state, values = host.state(inside), host.values(inside)
    adopt(inside, state, values)
    local version = state.job > 0 and M.find(inside, state, values, state.job)
    return version and look(inside, state, version) == "working" or false
end

-- The files of the shown result as a new version sees them. Raises a refusal without one that has frames before.
function M.kept_before(inside, state, values, frame, home)
    local shown = M.find(inside, state, values, state.shown)
    if state.shown == 0 or not shown then
        errors.because("There is no result yet.", "Press " .. inside.operation.button .. ", then Fetch.")
    elseif frame <= shown.wanted[1] or frame > shown.wanted[2] then
        errors.because(("Frame %d is not after the first of the frames %s."):format(frame, frames.spelled(shown.wanted)),
            "Go to the frame from which to track again, or track everything.")
    end
    local folder = shown.home == home and "../" .. cache.name(shown.number) or shown.folder
    return folder .. "/result.%04d.exr"
end

function M.track_again(inside)
    M.begin(inside, host.frame(inside))
end

function M.fetch(inside)
    local state, values = M.own(inside), host.values(inside)
    adopt(inside, state, values)
    local version = M.find(inside, state, values, state.job)
    if version then
        look(inside, state, version)
    else
        host.print(M.say_standing(inside))
    end
end

function M.cancel(inside)
    local state = M.own(inside)
    local version = M.find(inside, state, host.values(inside), state.job)
    if not version then
        errors.because("This tool is not working.", "There is no job to cancel.")
    end
    if not launch.has_started(version.folder) then
        state.job = 0
        host.keep(inside, state)
        cache.discard(version)
        M.say_standing(inside, "cancelled; ")
        return
    end
    cache.cancel(version)
    local phase = stay(inside, state, version, M.CANCEL_S)
    if phase == "working" then
        host.say(inside, "cancelling; press Fetch", "ready")
    elseif phase == "lost" then
        launch.take_back(version.folder)
    end
end

-- -- the rest ---------------------------------------------------------------------------------------------

-- The output of a tool's last job since Fusion was started, or nil.
function M.last_said(id)
    return LAST[id]
end

-- Shows the version whose number the artist typed; 0 is the plate.
function M.show_version(inside)
    local state, values = M.own(inside), host.values(inside)
    local version = M.find(inside, state, values, values.version_shown)
    if version and cache.is_complete(version) then
        show(inside, state, version)
    elseif values.version_shown == 0 then
        host.hide(inside)
        state.shown = 0
        host.keep(inside, state)
    else
        host.say(inside, ("there is no result %s"):format(cache.name(values.version_shown)), "failed")
        return
    end
    M.say_standing(inside)
end

-- After a changed control: updates the status, also of a job at work. Fusion calls this for every value of a drag, so it
-- loads nothing.
function M.changed(inside)
    local state, values = host.state(inside), host.values(inside)
    local version = M.find(inside, state, values, state.job)
    if version then
        local phase, line = status.judged(cache.seen(version, os.time()))
        host.say(inside, phase == "done" and "finished; press Fetch" or line, phase == "failed" and "failed" or "ready")
    elseif state.id ~= "" then
        host.say(inside, standing(inside, state, values, false))
    end
end

return M
