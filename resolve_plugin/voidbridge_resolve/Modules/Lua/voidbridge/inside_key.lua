-- The inside of the macro that keys, as a list of inner tools.
--
--    plate ──► Plate (float32) ──► SavePlate
--                 │
--    LoadResult ──┼─► Result       the foreground of the chosen kind, or its alpha; the plate without a result
--    LoadForeground ──┘
--    LoadScreen ──┴─► CleanScreen
--    hint ──► Hint ──► SaveHint
--    screen ──► Screen ──► SaveScreen
--
-- Fusion reads red, green, blue and alpha of a file. The layers come through Loaders that name their channels.

local inner = require("voidbridge.inner")

-- premultiplied, straight, alpha
local function chosen(channel)
    return ("if(%s, if(n3 < 0.5, %s2, if(n3 < 1.5, %s3, a2)), %s1)"):format(inner.SHOWN, channel, channel, channel)
end

return function()
    return {
        inner.plate(),
        inner.matte("hint", { 0, 2 }),
        inner.placed("screen", { 0, 4 }, inner.custom({}, { "r1", "g1", "b1" }, "1")),
        inner.saver("plate", { 2, -1 }),
        inner.saver("hint", { 2, 2 }, true),
        inner.saver("screen", { 2, 4 }),
        inner.loader("load_result", { 1, -3 }),
        inner.loader("load_foreground", { 3, -3 }),
        inner.loader("load_screen", { 5, -3 }),
        inner.placed("result", { 4, 0 }, inner.custom({ "plate", "load_result", "load_foreground" },
            { chosen("r"), chosen("g"), chosen("b") }, ("if(%s, a2, a1)"):format(inner.SHOWN),
            { passed = true, numbers = inner.NO_TIMES })),
        inner.placed("clean_screen", { 6, 0 }, inner.custom({ "plate", "load_screen" },
            inner.each(("if(%s, %%s2, %%s1)"):format(inner.SHOWN)), "1", { numbers = inner.NO_TIMES })),
    }
end
