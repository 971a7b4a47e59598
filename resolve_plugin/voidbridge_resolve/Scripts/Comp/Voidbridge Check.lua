-- Ends with an error if a result of this comp is missing or out of date. Run it before a render.
local ok, voidbridge = pcall(require, "voidbridge")
if ok then
    voidbridge.check(comp)
else
    error("Voidbridge is not installed here: " .. tostring(voidbridge))
end
