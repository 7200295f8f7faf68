-- What the scripts do that carry out batches.
--
-- One call carries out one batch of one actor: those who wait in it, lane by lane, and then what
-- is new, in order, as `queueactors.engines.LocalEngine` does.

local SESSION, seq = KEYS[1], tonumber(ARGV[2])
local WAITING = { room = KEYS[3], takers = KEYS[4], syncs = KEYS[5] }
local remembered = redis.call('HMGET', SESSION, 'seq', 'until')
local done, forgotten_at = tonumber(remembered[1] or 0), tonumber(remembered[2] or nil)
if done == seq then -- it was sent again: its answer got lost
  return cmsgpack.unpack(redis.call('HGET', SESSION, 'reply'))
elseif done > seq then -- it was on its way while another one overtook it
  return redis.error_reply('OVERTAKEN a later batch of this session has been carried out')
end

-- A queue of another kind is let be, and one that is on its way to another store, or from one.
local known = redis.call('HMGET', HEAD, 'kind', 'moving', 'moving_until')
if known[2] and not (known[3] and now >= tonumber(known[3])) then
  return { '', 'moving', known[2] }
elseif known[1] and known[1] ~= KIND then
  return { '', 'kind', known[1] }
end

local request = cmsgpack.unpack(ARGV[4])
local options, lanes, batch = request[1], request[2], request[3]
local counts = {} -- what has happened, for the statistics
local notices = {} -- for the log

local NOT_YET = {} -- what an operation answers that has to wait
local LANES = { 'room', 'takers', 'syncs' } -- in the order in which they are served

-- The operations that take something in, and may be refused: a queue that drains does.
local ADDS = {
  add = true,
  enqueue = true,
  insert = true,
  push = true,
  wait_enqueue = true,
  wait_insert = true,
  wait_push = true,
}

local PATIENCE = 250000 -- microseconds in which those who are told come for it
local MOST_GONE = 1000 -- runtimes that waited and listen no more, of which one call takes note
local REMEMBERED = 7 * 86400 * 1000000 -- a message taken over is known again for so long

local function count(name, by)
  counts[name] = (counts[name] or 0) + by
end

local function notice(event, ...)
  notices[#notices + 1] = { event, ... }
end

-- Return the operation that tells a queue's numbers: as they are at its place in the batch.
local function telling(statistics)
  return function()
    local so_far = {}
    for name, number in pairs(counts) do
      so_far[name] = number
    end
    return { statistics(), so_far }
  end
end

local function refuse(name, ...)
  return { refused = { name, ... } }
end

-- Return some fields of a hash, which may be many; false for those that are not there.
local function fields(key, names)
  if #names <= FEW then
    return #names > 0 and redis.call('HMGET', key, unpack(names)) or {}
  end
  local found = {}
  for first = 1, #names, FEW do
    local last = math.min(first + FEW - 1, #names)
    for _, each in ipairs(redis.call('HMGET', key, unpack(names, first, last))) do
      found[#found + 1] = each
    end
  end
  return found
end

-- Return the first member of a sorted set and its score, as a number.
local function first_of(key)
  local found = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return found[1], tonumber(found[2])
end

local function is_paused(paused_until)
  return paused_until ~= nil and (paused_until == -1 or now < paused_until)
end

-- The least of some instants, any of which may be nil.
local function earliest(...)
  local first
  for index = 1, select('#', ...) do
    local each = select(index, ...)
    if each ~= nil and (first == nil or each < first) then
      first = each
    end
  end
  return first
end

-- How many operations wait in a lane, those included that are not in this request; for one that has
-- its turn in the lane for room: none, because it comes first.
local in_room = false

local function waiting(name)
  local lane = lanes[name]
  if in_room and name == 'room' then
    return 0
  end
  return lane == nil and 0 or lane.waiting or #lane.operations + lane.more -- before they run
end

-- Whether a message that comes from another queue has been taken over before: its answer got lost.
local function was_taken_over(key, from)
  return from and redis.call('ZSCORE', key, from)
end

-- Remember a message that was taken over, for as long as it may be sent again.
local function take_over(key, from)
  if from then
    write('ZADD', key, now, from)
    local old = redis.call('ZRANGE', key, '-inf', now - REMEMBERED, 'BYSCORE', 'LIMIT', 0, 10)
    call('ZREM', key, old)
  end
end

-- Tell runtimes elsewhere that wait: as many of them as there may be something for, whoever has
-- waited longest first. Who does not listen any more is forgotten, some of them in one call. Return
-- whether anybody is to come for it: was told, or is told when it is seen that nobody came.
local function wake(key, many)
  local told, gone, here = 0, 0, 0
  while told < many and gone < MOST_GONE do
    local session = redis.call('ZRANGE', key, here, here)[1]
    if not session then
      break
    elseif session == options.session then
      here = 1
    else
      write('ZREM', key, session)
      if redis.call('SPUBLISH', options.channel .. session, '') > 0 then
        told = told + 1
      else
        gone = gone + 1
      end
    end
  end
  return told > 0 or gone == MOST_GONE
end

-- Carry out the request with the methods of a kind; return what came of each operation that is
-- resolved: its number in the request, 0 and the answer, or 1 and the refusal.
--
-- Where takers are independent, each waits for what its first argument names. There are many of
-- them, and most operations help nobody: they are served once before what is new, unless there are
-- no news since this session's were served last, and once after it. They are not even here if
-- nothing in the batch is of use to them.
--
-- Several in a row that differ in their values or keys only are one entry of the batch: how many, and
-- one operation with all values or keys. If nobody waits whom the first of them might help, those of
-- them are carried out at once that the kind can so, the first ones, as its `joint[method].all`
-- answers; the others by themselves, as its `joint[method].one` tells them apart.
local function run(methods, joint, no_news)
  local results, number = {}, 0

  local function try(index, operation)
    local answer
    if options.drains and ADDS[operation[1]] then
      answer = refuse('closed')
    else
      answer = methods[operation[1]](operation)
    end
    if answer == NOT_YET then
      return false
    elseif type(answer) == 'table' and answer.refused then
      results[#results + 1] = { index, 1, answer.refused }
    else
      results[#results + 1] = { index, 0, answer }
    end
    return true
  end

  local function serve_lane(lane)
    local left = {}
    for _, each in ipairs(lane.each) do
      if #left > 0 and not options.independent then
        left[#left + 1] = each
      elseif try(each[1], each[2]) then
        lane.waiting = lane.waiting - 1
      else
        left[#left + 1] = each
      end
    end
    lane.each = left
  end

  local function serve()
    for _, name in ipairs(LANES) do
      local lane = lanes[name]
      if lane ~= nil and #lane.each > 0 then
        in_room = name == 'room'
        serve_lane(lane)
        in_room = false
      end
    end
  end

  local function stand(index, operation)
    local lane = lanes[operation[2]]
    if lane == nil then
      lane = { each = {}, waiting = 0, more = 0 }
      lanes[operation[2]] = lane
    end
    lane.waiting = lane.waiting + 1
    if lane.more == 0 then -- otherwise not all of those before it are here
      lane.each[#lane.each + 1] = { index, operation }
    end
  end

  -- Return what those of a lane wait for, each for its own.
  local function waited_for(name)
    local names = {}
    for _, each in ipairs(lanes[name].each) do
      names[each[2][3]] = true
    end
    return names
  end

  for _, name in ipairs(LANES) do
    local lane = lanes[name]
    if lane ~= nil then
      lane.each = {}
      for _, operation in ipairs(lane.operations) do
        number = number + 1
        lane.each[#lane.each + 1] = { number, operation }
      end
      lane.waiting = #lane.each + lane.more
    end
  end
  if not no_news then
    serve()
  end
  local late, ahead = false, nil -- what those wait for who come first, once something changed

  local function carry_out(index, operation)
    local behind = operation[2] and waiting(operation[2]) > 0
    if behind and options.independent then
      ahead = late and (ahead or waited_for(operation[2]))
      behind = late and ahead[operation[3]]
    end
    if behind or not try(index, operation) then
      stand(index, operation)
      if ahead then
        ahead[operation[3]] = true
      end
    elseif options.independent then
      late = late or waiting('takers') > 0
    else
      serve()
    end
  end

  local function all_at_once(operation, many)
    local somebody = waiting('room') + waiting('takers') + waiting('syncs') > 0
    if options.drains or (somebody and not options.independent) then
      return 0
    end
    local answers = joint[operation[1]].all(operation, many)
    if #answers > 0 then
      results[#results + 1] = { number + 1, 2, answers }
      late = late or waiting('takers') > 0
    end
    return #answers
  end

  for _, entry in ipairs(batch) do
    local many, operation = entry[1], entry[2]
    if type(many) == 'number' then
      for index = all_at_once(operation, many) + 1, many do
        carry_out(number + index, joint[operation[1]].one(operation, index))
      end
      number = number + many
    else
      number = number + 1
      carry_out(number, entry)
    end
  end
  if late then
    serve()
  end
  return results
end

-- How operations in a row are told apart that have their values, one each, in a row too.
local function one_value(operation, index)
  local one = {}
  for place, argument in pairs(operation) do
    one[place] = argument
  end
  one[3], one[4] = operation[3] + index - 1, 1
  return one
end

-- How operations are told apart that are all the same.
local function the_same(operation)
  return operation
end

local function times(answer, many)
  local answers = {}
  for index = 1, many do
    answers[index] = answer
  end
  return answers
end

-- What there is beside the messages. `set` changes it, and `conclude` writes it.
local head, changed = {}, {}

local function set(name, value)
  head[name], changed[name] = value, true
end

-- Read the head: fields that are numbers, and fields that are text.
local function read_head(numbers, texts)
  local names = {}
  for index, name in ipairs(numbers) do
    names[index] = name
  end
  for _, name in ipairs(texts) do
    names[#names + 1] = name
  end
  for index, value in ipairs(fields(HEAD, names)) do
    if index <= #numbers then
      head[names[index]] = tonumber(value or nil)
    else
      head[names[index]] = value or nil
    end
  end
end

local function write_head()
  local new, old = {}, {}
  if next(changed) and not known[1] then
    new = { 'kind', KIND }
  end
  for name in pairs(changed) do
    local value = head[name]
    if value == nil then
      old[#old + 1] = name
    else
      new[#new + 1] = name
      new[#new + 1] = type(value) == 'number' and whole(value) or value
    end
  end
  call('HSET', HEAD, new)
  call('HDEL', HEAD, old)
end

-- Add the operations by which a queue is closed, and hands out nothing for a while.
local function add_switches(methods)
  function methods.close()
    options.closed = true
    return false
  end

  function methods.pause(operation)
    set('paused_until', operation[3] and now + operation[3] or -1)
    return false
  end

  function methods.resume()
    set('paused_until', nil)
    return false
  end
end

-- A closure costs the server about as much as a command, in each batch: the methods that few batches
-- have a use for are made together when one has: those that every kind has, and those that `make` adds.
-- Return what makes them, and returns what `make` does.
local function made_late(methods, make)
  local made

  local function others()
    if not made then
      add_switches(methods)
      made = make() or true
    end
    return made
  end

  setmetatable(methods, {
    __index = function(_, name)
      others()
      return rawget(methods, name)
    end,
  })
  return others
end

-- Tell those who wait elsewhere of what there is for them, and note who waits here. Return when this
-- runtime is to ask again, and when something happens by itself.
local function inform(waits, news, there, due)
  -- Note whether this runtime waits in a lane. Return for how many others there may be something,
  -- beside the news: it was told of what it has no use for any more, or those who were told of what
  -- is there have not come for it. Also return when to look whether they have, if this runtime told
  -- them and they may still come.
  local function stand_in(name, waits, there)
    if waits then
      if redis.call('ZADD', WAITING[name], 'NX', now, options.session) > 0 then
        dirty = true
      end
    elseif options.waits[name] and write('ZREM', WAITING[name], options.session) == 0 and there > 0 then
      return 1
    end
    if there == 0 then
      return 0
    end
    local woken = redis.call('HMGET', HEAD, 'woken_' .. name, 'waker_' .. name)
    local look_at = woken[1] and tonumber(woken[1]) + PATIENCE
    if look_at and now >= look_at then
      return there
    end
    return 0, look_at and woken[2] == options.session and look_at or nil
  end

  -- Let somebody who waits know of an instant that comes before he asks by himself. Return it if that
  -- is this runtime: it calls then, even if it waits no more.
  local function keep(due, waits, told)
    if due == nil or due > now + options.poll then
      return nil
    end
    local known = redis.call('HMGET', HEAD, 'kept_at', 'keeper')
    local kept_at, keeper = tonumber(known[1] or nil), known[2]
    local is_kept = kept_at ~= nil and now < kept_at and kept_at <= due
    if waits and (not is_kept or keeper == '') then
      write('HSET', HEAD, 'kept_at', whole(due), 'keeper', options.session)
      return due
    elseif not waits and not is_kept and (told or wake(WAITING.takers, 1)) then
      -- Whoever has been told keeps it when he asks, or tells another one.
      local until_then = whole(math.min(due, now + PATIENCE))
      write('HSET', HEAD, 'kept_at', until_then, 'keeper', '')
    end
    return is_kept and keeper == options.session and kept_at or nil
  end

  local again_at, told
  for _, name in ipairs(LANES) do
    local more, look_at = stand_in(name, waits[name], there and there[name] or 0)
    again_at = earliest(again_at, look_at)
    local many = math.max(news[name], more)
    if name == 'syncs' and many > 0 then
      many = redis.call('ZCARD', WAITING[name])
    end
    if many > 0 and wake(WAITING[name], many) and there and there[name] then
      local waker = { 'woken_' .. name, whole(now), 'waker_' .. name, options.session }
      call('HSET', HEAD, waker)
      again_at = earliest(again_at, now + PATIENCE) -- whether they have come
      told = told or name == 'takers'
    end
  end
  return earliest(again_at, keep(due, waits.takers, told)), due
end

-- Write the head, tell those who wait elsewhere, and answer. The answer is remembered for as long
-- as it may be asked for again: half of the session's time at least.
--
-- `look` is asked only if anybody waits, here or elsewhere, and returns three things: for how many
-- there may be something new in each lane; for how many there is something: a lane that is not named
-- is not looked after; and when something happens next by itself.
local function conclude(packed, look)
  write_head()
  local again_at
  packed.waits = {}
  local lonely = redis.call('EXISTS', WAITING.room, WAITING.takers, WAITING.syncs) == 0
  for _, name in ipairs(LANES) do
    packed.waits[name] = waiting(name) > 0
    lonely = lonely and not packed.waits[name]
  end
  if not lonely then
    again_at, packed.due = inform(packed.waits, look())
  end
  if packed.errand_at and packed.errand_at > now then
    again_at = earliest(again_at, packed.errand_at)
  end
  packed.again_at = earliest(again_at, packed.again_at or nil) or false
  packed.errand_at = packed.errand_at or false
  packed.now, packed.counts, packed.notices = now, counts, notices
  packed.closed = options.closed or false
  packed.due = packed.due or false
  local answer = { cmsgpack.pack(packed) }
  for index, value in ipairs(values) do
    answer[index + 1] = value
  end
  if dirty then
    redis.call('HSET', SESSION, 'seq', seq, 'reply', cmsgpack.pack(answer))
    local lease = ARGV[3] * 1000
    local left = forgotten_at and forgotten_at - now or 0
    if left < lease / 2 or left > lease then -- not each time: it is one more command to replicate
      redis.call('HSET', SESSION, 'until', whole(now + lease))
      redis.call('PEXPIRE', SESSION, ARGV[3])
    end
  end
  return answer
end
