-- The parts of the sandbox that have to be Lua, because values pass through them that a callback could not pass on
-- unchanged: errors, and strings that the garbage collector must see. Frames of this file are passed over where errors
-- name a line (see stack.rs). Nothing here may use globals: they are the scripts'.

local native, helper = ...
local pcall, xpcall, resume = native.pcall, native.xpcall, native.resume
local select, type, unpack = native.select, native.type, native.unpack
local translate, peek, catcher = helper.translate, helper.peek, helper.catcher
local bad_argument = helper.bad_argument
local gmatch_arguments, gmatch_step = helper.gmatch_arguments, helper.gmatch_step

local wrapped = {}

-- A caught error as the script may see it.
local function seen(err)
  if type(err) == 'userdata' then return translate(err) end
  return err
end

local function settle(ok, ...)
  if ok then return true, ... end
  return false, seen((...))
end

-- As Redis's pcall: of an error in the form of a reply only its text is shown; of another table also what its field holds.
local function settle_pcall(ok, ...)
  if ok then return true, ... end
  local err = seen((...))
  if type(err) == 'table' then
    local text = err.err
    if type(text) == 'string' or type(text) == 'number' then return false, text end
    return false, err, text
  end
  return false, err
end

function wrapped.pcall(...)
  -- What Redis's own pcall makes of no arguments.
  if select('#', ...) == 0 then return false, 'attempt to call a boolean value' end
  return settle_pcall(pcall(...))
end

function wrapped.xpcall(...)
  if select('#', ...) < 2 then bad_argument(2, 'value expected') end
  local f, handler = ...
  if type(handler) ~= 'function' then return settle(xpcall(f, handler)) end
  return settle(xpcall(f, function(err)
    if type(err) == 'userdata' then
      local value, is_kill = peek(err)
      -- A kill comes out of a hook, in which nothing counts instructions: the script's handler may not run there.
      if is_kill then return err end
      err = value
    end
    return handler(err)
  end))
end

function wrapped.resume(thread, ...)
  if type(thread) ~= 'thread' then bad_argument(1, 'coroutine expected') end
  return settle(resume(thread, ...))
end

function wrapped.gmatch(...)
  local source, pattern = gmatch_arguments(...)
  local from = 0
  local function advance(to, ...)
    if to then from = to end
    return ...
  end
  return function() return advance(gmatch_step(source, pattern, from)) end
end

-- Runs a function of the script for a callback. An error comes back with the place where it was raised noted.
function wrapped.invoke(f, ...)
  local count = select('#', ...)
  if count == 0 then return xpcall(f, catcher) end
  if count == 1 then
    local only = ...
    return xpcall(function() return f(only) end, catcher)
  end
  local arguments = { ... }
  return xpcall(function() return f(unpack(arguments, 1, count)) end, catcher)
end

function wrapped.index(container, key)
  return xpcall(function() return container[key] end, catcher)
end

return wrapped
