-- The room in which pre-function and post-function run: what Kong's default sandbox lets through, and no more.
--
-- Called once for each Lua state with the functions that the gateway lends. Gives back:
--   load(source, name)  a chunk, or an error
--   execute(chunk)      runs it; true when it ended in kong.response.exit
--   slots               ngx.arg: [1] the piece of the body, [2] whether it is the last, `assigned` when a filter wrote

local lent = ...

local function pick(module, names)
  local picked = {}
  for name in names:gmatch("%S+") do
    picked[name] = module[name]
  end
  return picked
end

local function protect(module, name)
  return setmetatable({}, {
    __index = module,
    __newindex = function(_, key)
      error("can not modify " .. name .. "." .. tostring(key) .. " in the sandbox")
    end,
  })
end

local base = pick(_G, "_VERSION assert error ipairs next pairs pcall select tonumber tostring type unpack xpcall")
base.coroutine = protect(pick(coroutine, "create resume running status wrap yield"), "coroutine")
base.math = protect(pick(math, [[abs acos asin atan atan2 ceil cos cosh deg exp fmod floor frexp huge ldexp log log10 max
  min modf pi pow rad random sin sinh sqrt tan tanh]]), "math")
base.os = protect(pick(os, "clock date difftime time"), "os")
base.string = protect(pick(string, "byte char find format gmatch gsub len lower match rep reverse sub upper"), "string")
base.table = protect(pick(table, "concat insert maxn remove sort"), "table")
base.require = function(module)
  error("require '" .. tostring(module) .. "' not allowed within sandbox")
end

-- Of the request that is being served.
local kong = lent.kong

kong.ctx = setmetatable({}, {
  __index = function(_, key)
    if key == "shared" then
      return lent.shared()
    end
  end,
})

-- As in Kong, an exit leaves the running code by a yield, so that no pcall of the plugin catches it.
for _, name in ipairs({ "exit", "error" }) do
  local answer = kong.response[name]
  kong.response[name] = function(...)
    answer(...)
    coroutine.yield()
  end
end

kong.log = setmetatable({}, {
  __index = function(_, level)
    if level == "serialize" or level == "set_serialize_value" then
      return lent[level]
    end
    return function(...)
      return lent.log(level, ...)
    end
  end,
  __call = function(_, ...)
    return lent.log("notice", ...)
  end,
})

local slots = {}

local ngx = lent.ngx

ngx.arg = setmetatable({}, {
  __index = slots,
  __newindex = function(_, key, value)
    slots.assigned = true
    slots[key] = value
  end,
})
ngx.var = setmetatable({}, {
  __index = function(_, name)
    return lent.variable(name)
  end,
  __newindex = function(_, name)
    error("the stand-in cannot set ngx.var." .. tostring(name))
  end,
})
ngx.header = setmetatable({}, {
  __index = function(_, name)
    return lent.get_header(name)
  end,
  __newindex = function(_, name, value)
    lent.put_header(name, value)
  end,
})
setmetatable(ngx, {
  __index = function(_, key)
    if key == "ctx" then
      return lent.nginx_ctx()
    elseif key == "status" then
      return lent.get_status()
    end
  end,
  __newindex = function(_, key, value)
    if key ~= "status" then
      error("the stand-in cannot set ngx." .. tostring(key))
    end
    lent.put_status(value)
  end,
})

local function load_chunk(source, name)
  local env = setmetatable({}, {
    __index = function(_, key)
      if key == "kong" then
        return kong
      elseif key == "ngx" then
        return ngx
      end
    end,
  })
  for key, value in pairs(base) do
    env[key] = value
  end
  env._G = env
  local entry, message = loadstring(source, name)
  if not entry then
    error(message, 0)
  end
  return { entry = setfenv(entry, env), started = false }
end

-- A chunk that returns a function is run once for that function, which then serves this and later calls.
local function invoke(chunk)
  local first = not chunk.started
  chunk.started = true
  local result = chunk.entry()
  if first and type(result) == "function" then
    chunk.entry = result
    result()
  end
end

local function execute(chunk)
  local thread = coroutine.create(invoke)
  local ok, message = coroutine.resume(thread, chunk)
  if not ok then
    error(message, 0)
  end
  return coroutine.status(thread) == "suspended"
end

return load_chunk, execute, slots
