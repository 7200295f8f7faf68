-- What all scripts begin with that read or change a queue. A script is this file, one for what it
-- does, `common.lua` or `transfer.lua`, one for what a queue holds, `messages.lua` or `items.lua`, if
-- it needs that, and that of its kind; and before all of it the name of that, KIND.
--
-- Instants and durations are microseconds: a Lua number is a double, and has no room for nanoseconds
-- since 1970.
--
-- ARGV: the instant ("": the server's own), the session's number of this call, milliseconds that a
-- session is remembered, the packed request, and the values, one an argument.
-- KEYS: the session's, the queue's head, who waits elsewhere for room, for messages and for refills,
-- and then those of the kind, in the order of its wire.
-- Answers: the packed reply, and the values.

local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
else
  now = tonumber(ARGV[1])
end

local HEAD = KEYS[2]
local FEW = 4000 -- arguments of one command: a Lua function takes 8,000

local values = {} -- those of the answer
local dirty = false -- whether anything was written

-- Call a command with any number of arguments, which may be many.
local function call(command, key, arguments)
  for first = 1, #arguments, FEW do
    redis.call(command, key, unpack(arguments, first, math.min(first + FEW - 1, #arguments)))
  end
  dirty = dirty or #arguments > 0
end

local function write(command, ...)
  dirty = true
  return redis.call(command, ...)
end

local function whole(number)
  return string.format('%.0f', number)
end

-- Put a value into the answer; return its number there.
local function answer_value(value)
  values[#values + 1] = value
  return #values
end

-- Return a member of a sorted set that is ordered by its first number.
local function pair(first, second)
  return struct.pack('>I8I8', first, second)
end
