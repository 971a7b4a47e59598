-- The inside of the macro that generates, as a list of inner tools.
--
--    plate ──► Plate (float32) ──► SavePlate
--                 │
--    LoadResult ──┴─► Result     the new frames; the plate at all other times
--    tail ──► Tail ──► SaveTail
--    reference ──► Reference ──► SaveReference

local inner = require("voidbridge.inner")

local function picture(role, at)
    return inner.placed(role, at, inner.custom({}, { "r1", "g1", "b1" }, "1"))
end

return function()
    return {
        inner.plate(),
        picture("tail", { 0, 2 }),
        picture("reference", { 0, 4 }),
        inner.saver("plate", { 2, -1 }),
        inner.saver("tail", { 2, 2 }),
        inner.saver("reference", { 2, 4 }),
        inner.loader("load_result", { 1, -3 }),
        inner.placed("result", { 4, 0 }, inner.custom({ "plate", "load_result" },
            inner.each(("if(%s, %%s2, %%s1)"):format(inner.SHOWN)), "a1",
            { passed = true, numbers = inner.NO_TIMES })),
    }
end
