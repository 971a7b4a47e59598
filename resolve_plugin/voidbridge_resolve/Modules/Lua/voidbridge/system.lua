-- The operating system: files, folders, the environment, and FFI where this Lua has it. The only module that knows which
-- system this is. Paths are UTF-8 with forward slashes.
--
-- On Windows the C library takes paths in the code page of the machine, so names beyond it go through the wide
-- functions by FFI.

local M = {}

local has_ffi, ffi = pcall(require, "ffi")
M.ffi = has_ffi and ffi or nil
M.windows = package.config:sub(1, 1) == "\\"

local function declare(text)
    pcall(ffi.cdef, text) -- a second declaration, as after a reload, is an error
end

if M.ffi and M.windows then
    declare([[
        int MultiByteToWideChar(unsigned int page, unsigned long flags, const char *from, int bytes, wchar_t *to, int size);
        void *_wfopen(const wchar_t *path, const wchar_t *mode);
        size_t fread(void *to, size_t size, size_t count, void *file);
        size_t fwrite(const void *from, size_t size, size_t count, void *file);
        int fclose(void *file);
        int _fseeki64(void *file, long long offset, int origin);
        long long _ftelli64(void *file);
        int CreateDirectoryW(const wchar_t *path, void *security);
        int MoveFileExW(const wchar_t *from, const wchar_t *to, unsigned long flags);
        int DeleteFileW(const wchar_t *path);
        int RemoveDirectoryW(const wchar_t *path);
        void *ShellExecuteW(void *window, const wchar_t *verb, const wchar_t *file, const wchar_t *words,
            const wchar_t *folder, int show);
    ]])
elseif M.ffi then
    declare([[
        int mkdir(const char *path, unsigned int mode);
        int system(const char *command);
        long readlink(const char *path, char *to, size_t size);
    ]])
end

-- Converts UTF-8 to a Windows string.
function M.wide(text)
    local count = ffi.C.MultiByteToWideChar(65001, 0, text, #text, nil, 0)
    local made = ffi.new("wchar_t[?]", count + 1)
    ffi.C.MultiByteToWideChar(65001, 0, text, #text, made, count)
    return made
end

local wide_files = M.ffi and M.windows

-- Reads a whole file; nil if it cannot be read.
function M.read(path)
    if wide_files then
        local file = ffi.C._wfopen(M.wide(path), M.wide("rb"))
        if file == nil then
            return nil
        end
        local parts, buffer = {}, ffi.new("char[65536]")
        repeat
            local got = tonumber(ffi.C.fread(buffer, 1, 65536, file))
            parts[#parts + 1] = ffi.string(buffer, got)
        until got == 0
        ffi.C.fclose(file)
        return table.concat(parts)
    end
    local file = io.open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read("*a")
    file:close()
    return text
end

-- Creates or replaces a file. Returns false if that fails, as on a full disk.
function M.write(path, text)
    if wide_files then
        local file = ffi.C._wfopen(M.wide(path), M.wide("wb"))
        if file == nil then
            return false
        end
        local put = tonumber(ffi.C.fwrite(text, 1, #text, file))
        return ffi.C.fclose(file) == 0 and put == #text
    end
    local file = io.open(path, "wb")
    if not file then
        return false
    end
    local put = file:write(text)
    return (file:close() and put) and true or false
end

function M.exists(path)
    if wide_files then
        local file = ffi.C._wfopen(M.wide(path), M.wide("rb"))
        return file ~= nil and ffi.C.fclose(file) == 0
    end
    local file = io.open(path, "rb")
    return file ~= nil and file:close() ~= nil
end

-- The bytes of a file; 0 if it cannot be read.
function M.size(path)
    if wide_files then
        local file = ffi.C._wfopen(M.wide(path), M.wide("rb"))
        if file == nil then
            return 0
        end
        ffi.C._fseeki64(file, 0, 2)
        local count = tonumber(ffi.C._ftelli64(file))
        ffi.C.fclose(file)
        return count
    end
    local file = io.open(path, "rb")
    local count = file and file:seek("end") or 0
    if file then
        file:close()
    end
    return count
end

-- Renames a file and replaces an existing one.
function M.rename(from, to)
    if wide_files then
        return ffi.C.MoveFileExW(M.wide(from), M.wide(to), 1) ~= 0
    end
    return os.rename(from, to) ~= nil
end

function M.remove(path)
    if wide_files then
        return ffi.C.DeleteFileW(M.wide(path)) ~= 0
    end
    return os.remove(path) ~= nil
end

-- Deletes an empty folder; any other stays.
function M.remove_folder(path)
    if wide_files then
        return ffi.C.RemoveDirectoryW(M.wide(path)) ~= 0
    elseif M.windows then
        return false
    end
    return os.remove(path) ~= nil
end

-- Creates a folder in an existing one. Returns false if it exists, or cannot be created.
function M.make_folder(path)
    if wide_files then
        return ffi.C.CreateDirectoryW(M.wide(path), nil) ~= 0
    elseif M.ffi then
        return ffi.C.mkdir(path, 511) == 0 -- 0777, minus the user's umask
    end
    local bmd = rawget(_G, "bmd")
    if bmd and bmd.createdir and not M.exists(path .. "/.") then
        bmd.createdir(path)
        return true
    end
    return false
end

-- Creates a folder with its parents.
function M.make_folders(path)
    local made = path:match("^//[^/]+/[^/]+") or path:match("^%a:") or "" -- a share, a drive, or the root
    for part in path:sub(#made + 1):gmatch("[^/]+") do
        made = made .. "/" .. part
        M.make_folder(made)
    end
end

function M.slashes(path)
    return (path:gsub("\\", "/"))
end

-- Converts a path to the system's form.
function M.native(path)
    return M.windows and (path:gsub("/", "\\")) or path
end

-- Reads an environment variable; Fusion has it as UTF-8.
function M.variable(name)
    local fusion = rawget(_G, "fusion") or rawget(_G, "fu")
    local value = fusion and fusion:GetEnv(name) or os.getenv(name)
    return value ~= "" and value or nil
end

function M.home()
    local home = M.variable(M.windows and "USERPROFILE" or "HOME")
    return home and M.slashes(home)
end

-- The folder of the host's installation; empty if it is not known, or not the host's own. Only Linux needs it.
function M.host_folder()
    if not M.ffi or M.windows then
        return ""
    end
    local buffer = ffi.new("char[4096]")
    local length = tonumber(ffi.C.readlink("/proc/self/exe", buffer, 4096))
    local program = length > 0 and ffi.string(buffer, length) or ""
    local folder = (program:match("^(.*)/[^/]*$") or ""):gsub("/bin$", "")
    return (folder == "/usr" or folder == "/usr/local") and "" or folder
end

function M.sleep(seconds)
    local bmd = rawget(_G, "bmd")
    if bmd and bmd.wait then
        bmd.wait(seconds)
    end
end

return M
