-- The inside of the macro that removes, as a list of inner tools.
--
--    plate ──► Plate (float32) ──► SavePlate
--                 │           └──────────────┐
--    LoadResult ──┼─► Result ──► Difference ◄┘   Result: the input, but for pixels where the result
--    LoadPlate ───┴─► Layer                              differs from the plate that was sent
--    matte ──► Matte ──► SaveMatte
--    affected ──► Affected ──► SaveAffected
--    clean ──► Clean ──► SaveClean
--                 Matte, Affected ──► Quadmask
--
-- A Loader outside of its clip gives no picture and stops the render. So both hold their first and last frames, and
-- Result and Layer take pixels only at times from `n1` to `n2`.

local inner = require("voidbridge.inner")

-- True where the result differs from the sent plate. A NaN differs from itself; the result has it too.
local function differs(one, other)
    return ("(r%d != r%d) || (g%d != g%d) || (b%d != b%d)"):format(one, other, one, other, one, other)
end

local CODE = ("if(n1 > 1.5, r1, if(r1 >= n2, if(r2 >= n2, %.9g, 0), if(r2 >= n2, %.9g, 1)))"):format(63 / 255, 127 / 255)

return function()
    return {
        inner.plate(),
        inner.matte("matte", { 0, 2 }),
        inner.matte("affected", { 0, 4 }),
        inner.placed("clean", { 0, 6 }, inner.custom({}, { "r1", "g1", "b1" }, "if(n1 > 0.5, 1, a1)")),
        inner.saver("plate", { 2, -1 }),
        inner.saver("matte", { 2, 2 }, true),
        inner.saver("affected", { 2, 4 }, true),
        inner.saver("clean", { 2, 6 }),
        inner.loader("load_result", { 1, -3 }),
        inner.loader("load_plate", { 3, -3 }),
        inner.placed("result", { 4, 0 }, inner.custom({ "plate", "load_result", "load_plate" },
            inner.each(("if(%s && (%s), %%s2, %%s1)"):format(inner.SHOWN, differs(2, 3))), "a1",
            { passed = true, numbers = inner.NO_TIMES })),
        inner.placed("layer", { 4, -2 }, inner.custom({ "load_result", "load_plate" },
            inner.each(("if(%s && (%s), %%s1, 0)"):format(inner.SHOWN, differs(1, 2))),
            ("if(%s && (%s), 1, 0)"):format(inner.SHOWN, differs(1, 2)), { numbers = inner.NO_TIMES })),
        inner.placed("quadmask", { 4, 3 }, inner.custom({ "matte", "affected" }, { CODE, CODE, CODE }, "1")),
        inner.placed("difference", { 6, 0 }, inner.custom({ "result", "plate" }, inner.each("abs(%s1 - %s2)"), "a1")),
    }
end
