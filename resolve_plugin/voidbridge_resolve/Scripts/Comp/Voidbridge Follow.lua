-- Follows the jobs of this comp and shows their results, until none is left.
local ok, voidbridge = pcall(require, "voidbridge")
if ok then
    voidbridge.follow(comp)
else
    print("Voidbridge is not installed here: " .. tostring(voidbridge))
end
