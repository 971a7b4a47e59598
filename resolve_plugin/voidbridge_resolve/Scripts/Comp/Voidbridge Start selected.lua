-- Starts the jobs of all selected tools.
local ok, voidbridge = pcall(require, "voidbridge")
if ok then
    voidbridge.start_selected(comp)
else
    print("Voidbridge is not installed here: " .. tostring(voidbridge))
end
