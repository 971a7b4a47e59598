-- In the menu of a selected tool: adds a Voidbridge Generate after it, or fetches the result if it is one.
local ok, voidbridge = pcall(require, "voidbridge")
if ok then
    voidbridge.add(comp, tool, "VoidbridgeGenerate")
else
    print("Voidbridge is not installed here: " .. tostring(voidbridge))
end
