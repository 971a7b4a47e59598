-- An impossible request, explained to the artist: an error with a text and a hint.

local M = {}
local Refused = {}
Refused.__index = Refused
Refused.__tostring = function(self)
    return self.text .. " " .. self.hint
end

-- Raises it.
function M.because(text, hint)
    error(setmetatable({ text = text, hint = hint }, Refused), 0)
end

function M.is(what)
    return getmetatable(what) == Refused
end

return M
