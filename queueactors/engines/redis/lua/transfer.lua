-- What the scripts do that move a queue to another store, or from one: that of a kind tells how its
-- messages are read and written. The request is the operation and its arguments.
--
-- While a queue is moved its head has a mark, by which the scripts of `common.lua` refuse
-- everything: `moving` is "out" while it is read, "in" while it comes, and "gone" when it has left.
-- Each call does a bounded part and can be sent again: what comes is counted in the head.

local request = cmsgpack.unpack(ARGV[4])

local PAGE = 1000 -- messages in one answer
local SIZE = 4194304 -- bytes of the answer, from which on no more are added
local REMEMBERED = 86400000 -- milliseconds: a queue that has left is not made anew for so long

local function add(list, ...)
  for index = 1, select('#', ...) do
    list[#list + 1] = (select(index, ...))
  end
end

-- What a kind brings: `facts`, the fields of its head that come along; `length()`, how many records
-- it has; `read(...)`, a part of them; and `write(rows)`. `numbers(cursor)`: some of the numbers of
-- its messages, if they have any.
local kind = {}

-- Return the numbers that are the fields of some hashes, some at a time. The cursor: which hash it
-- is, from 1, and where to go on in it; false: that was all.
local function fields_of(keys, cursor)
  local number, place = cursor[1], cursor[2]
  local found = redis.call('HSCAN', keys[number], place, 'COUNT', PAGE)
  local ids = {}
  for index = 1, #found[2], 2 do
    ids[#ids + 1] = tonumber(found[2][index])
  end
  local after = { number, found[1] }
  if found[1] == '0' then
    after = number < #keys and { number + 1, '0' } or false
  end
  return { ids, after }
end

-- Return what a message is, and its value; one that is set aside is ready.
local function known_of(id, aside)
  local packed = redis.call('HGET', KEYS[6], id)
  if packed then
    return cmsgpack.unpack(packed), redis.call('HGET', KEYS[7], id) or ''
  end
  packed = redis.call('HGET', aside, id)
  if packed then
    local message, body = unpack(cmsgpack.unpack(packed))
    message[1] = 'ready'
    return message, body or ''
  end
end

local function head_of(names)
  local found, head = redis.call('HMGET', HEAD, unpack(names)), {}
  for index, name in ipairs(names) do
    head[name] = found[index] or nil
  end
  return head
end

local mark = head_of({ 'kind', 'moving', 'moving_at', 'moving_until', 'came', 'arrived' })

local function held()
  return mark.moving == 'out' and (not mark.moving_until or now < tonumber(mark.moving_until))
end

local function facts()
  local found = {}
  for name, value in pairs(head_of(kind.facts)) do
    found[name] = tonumber(value)
  end
  return found
end

local function set(...)
  redis.call('HSET', HEAD, ...)
end

local function unmark()
  redis.call('HDEL', HEAD, 'moving', 'moving_at', 'moving_until')
end

-- Keep others off for some microseconds; false: until it is ended.
local function keep(lease)
  if lease then
    set('moving_until', whole(now + lease))
  elseif mark.moving_until then
    redis.call('HDEL', HEAD, 'moving_until')
  end
end

local function unlink()
  for index = 2, #KEYS do
    redis.call('UNLINK', KEYS[index])
  end
end

local operations = {}

-- Return what is there: its kind, its mark, and what came last.
function operations.look()
  return { mark.kind or false, mark.moving or false, mark.came or false }
end

-- Return the names of some keys, and where to go on.
function operations.names(cursor, pattern)
  if string.find(redis.call('INFO', 'cluster'), 'cluster_enabled:1', 1, true) then
    return false
  end
  local found = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', PAGE)
  local first = #values + 1
  for _, key in ipairs(found[2]) do
    answer_value(key)
  end
  return { found[1], first, #found[2] }
end

-- Keep all others off the queue; return false if somebody exports it, or whether that is new, since when, how many records there
-- are, and what it is beside them.
function operations.hold(lease)
  local is_new = not held()
  if not is_new and mark.moving_until and not lease then
    return false -- it is exported
  end
  if is_new then
    mark.moving_at = whole(now)
    set('moving', 'out', 'moving_at', mark.moving_at)
  end
  if is_new or not lease then -- one that is moved is not let go by who exports it
    keep(lease)
  end
  return { is_new, tonumber(mark.moving_at), kind.length(), facts() }
end

function operations.release()
  if mark.moving == 'out' then
    unmark()
  end
  return true
end

function operations.numbers(cursor, lease)
  if not held() then
    return false
  end
  keep(lease)
  return kind.numbers(cursor)
end

function operations.read(argument, lease)
  if not held() then
    return false
  end
  keep(lease)
  return kind.read(argument)
end

-- Let a queue begin to come, that is not there or empty; return how much of it has. What identifies
-- it is that of those lines; the facts: pairs of names and numbers.
function operations.begin(came, facts_of_head)
  if mark.moving == 'in' then
    return mark.came == came and { 'coming', tonumber(mark.arrived) } or { 'another' }
  elseif mark.came == came and not mark.moving then
    return { 'complete' }
  elseif mark.moving == 'out' then
    return { 'leaving' }
  elseif mark.moving ~= 'gone' then
    if mark.kind and mark.kind ~= KIND then
      return { 'kind', mark.kind }
    elseif kind.length() > 0 then
      return { 'filled', kind.length() }
    end
  end
  unlink()
  set('kind', KIND, 'moving', 'in', 'came', came, 'arrived', '0')
  for index = 1, #facts_of_head, 2 do
    set(facts_of_head[index], whole(facts_of_head[index + 1]))
  end
  kind.begin()
  return { 'coming', 0 }
end

-- Write some records, if so many have come before; return how many have then.
function operations.write(came, before, lines, rows)
  if mark.moving ~= 'in' or mark.came ~= came then
    return false
  elseif tonumber(mark.arrived) ~= before then
    return tonumber(mark.arrived)
  end
  kind.write(rows)
  set('arrived', whole(before + lines))
  return before + lines
end

function operations.finish(came)
  if mark.moving == 'in' and mark.came == came then
    unmark()
  end
  return true
end

-- Remove the queue that has left; those who still have it open are told.
function operations.empty()
  if mark.moving == 'out' then
    unlink()
    set('kind', KIND, 'moving', 'gone', 'moving_at', whole(now))
    redis.call('PEXPIRE', HEAD, REMEMBERED)
  end
  return mark.moving == 'out' or mark.moving == 'gone'
end

-- Remove what has come of some lines; return false if all of them have.
function operations.discard(came)
  if mark.came == came and mark.moving == 'in' then
    unlink()
  end
  return mark.came ~= came or mark.moving == 'in'
end

local function carry_out()
  local answer = operations[request[1]](unpack(request, 2))
  table.insert(values, 1, cmsgpack.pack({ answer }))
  return values
end
