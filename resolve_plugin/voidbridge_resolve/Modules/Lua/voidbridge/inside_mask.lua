-- The inside of the macro that tracks, as a list of inner tools.
--
--    plate ──► Plate (float32) ──► SavePlate
--                 │
--    LoadResult ──┼─► Result     what is removed in alpha, what is affected in red; the plate without a result
--                 ├─► Overlay    both over the plate
--                 └─► Quadmask
--    seed ──► Seed ──► SaveSeed

local inner = require("voidbridge.inner")

local function shown(expression, otherwise)
    return ("if(%s, %s, %s)"):format(inner.SHOWN, expression, otherwise)
end

return function()
    return {
        inner.plate(),
        inner.matte("seed", { 0, 2 }),
        inner.saver("plate", { 2, -1 }),
        inner.saver("seed", { 2, 2 }, true),
        inner.loader("load_result", { 1, -3 }),
        inner.placed("result", { 4, 0 }, inner.custom({ "plate", "load_result" },
            { shown("r2", "r1"), shown("0", "g1"), shown("a2", "b1") }, shown("a2", "a1"),
            { passed = true, numbers = inner.NO_TIMES })),
        inner.placed("overlay", { 4, -2 }, inner.custom({ "plate", "load_result" },
            { shown("r1 + 0.4 * a2", "r1"), shown("g1 + 0.4 * r2", "g1"), "b1" }, shown("a2", "a1"),
            { numbers = inner.NO_TIMES })),
        inner.placed("quadmask", { 4, 2 }, inner.custom({ "load_result" },
            { shown("g1", "1"), shown("g1", "1"), shown("g1", "1") }, "1", { numbers = inner.NO_TIMES })),
    }
end
