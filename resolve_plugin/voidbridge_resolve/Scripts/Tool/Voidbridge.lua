-- In the menu of a selected tool: puts a Voidbridge behind it; where it is one, fetches its result.
local ok, voidbridge = pcall(require, "voidbridge")
if ok then
    voidbridge.add(comp, tool)
else
    print("Voidbridge is not installed here: " .. tostring(voidbridge))
end
