-- The timed queue, as `queueactors.cores.timed.TimedCore` has it.
--
-- KEYS after those of all kinds: what each message is, its value, the ready ones, the delayed, the
-- reserved, reservations' keys, the buried, the order of the dead and what they are, unique values,
-- dead letters taken over, and what is set aside.

local READY, DELAYED, RESERVED, HOLDERS = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local BURIED, DEAD, LETTERS, UNIQUE, TAKEN_OVER = KEYS[12], KEYS[13], KEYS[14], KEYS[15], KEYS[16]
local ASIDE = KEYS[17]

local STEPS = 1000 -- messages that become due in one call
local LATEST = 9e15 -- an instant that is exact as a double, in the year 2255
local LEASE = 60000000 -- a refill of whose runtime nothing is heard for so long is lost
local MIN_REFILL = 10000 -- a refill interval of 0 must not become a busy loop
local POSTED_WITHIN = 60000000 -- a dead letter that nobody has taken out by then is given again

-- The places of what is known of a message.
local STATE, PRIORITY, INSERTED, READY_AT, ATTEMPT, KEY, DEADLINE, ERROR = 1, 2, 3, 4, 5, 6, 7, 8

read_head({
  'next_id', 'last_key', 'paused_until', 'synced_at', 'refilling_until', 'last_refill', 'refills',
  'aside',
}, { 'refill_wanted', 'refiller', 'sync_error', 'initial', 'indexed', 'unindexed', 'coming_back' })
head.next_id, head.last_key = head.next_id or 1, head.last_key or 0
head.refills = head.refills or 0 -- that have ended

local made_room, refills_ended = 0, 0
local errand, sync_after = false, options.sync_after

-- A priority is 8 bytes that compare as it does, and an argument of its own; nil: 0.
local NORMAL = string.char(128, 0, 0, 0, 0, 0, 0, 0)

local function priority_of(argument)
  return argument and ARGV[argument] or NORMAL
end

-- -- messages ---------------------------------------------------------------------------------

local function ready_member(priority, ready_at, id)
  return priority .. pair(ready_at, id)
end

local function third_of(member)
  return (struct.unpack('>I8', member, 17))
end

local function refilling()
  return head.refilling_until ~= nil and now < head.refilling_until
end

local function refills_itself()
  return head.refilling_until ~= nil and head.refiller == options.session
end

-- Return how many messages it holds; those on their way to another queue do not count.
local function length()
  return redis.call('HLEN', MESSAGES)
end

local function make_ready(id, message, ready_at)
  message[STATE], message[READY_AT] = 'ready', ready_at
  write('ZADD', READY, 0, ready_member(message[PRIORITY], ready_at, id))
end

local function forget_value(id)
  if options.unique then
    local body = redis.call('HGET', BODIES, id)
    if body and tonumber(redis.call('HGET', UNIQUE, body)) == id then
      write('HDEL', UNIQUE, body)
    end
  end
end

local function next_key()
  return math.max(now, head.last_key + 1)
end

-- -- taking in --------------------------------------------------------------------------------

local methods, joint = {}, {}

-- Return which of some values are new to a unique queue, by their numbers. One that a runtime has
-- taken out for which the queue is not unique is known and not there.
local function new_ones(first, many)
  local names, places, ids, seen, new = {}, {}, {}, {}, {}
  for index = first, first + many - 1 do
    names[#names + 1] = ARGV[index]
  end
  for index, id in ipairs(fields(UNIQUE, names)) do
    if id then
      ids[#ids + 1] = id
      places[index] = #ids
    end
  end
  local bodies = fields(BODIES, ids)
  for index, name in ipairs(names) do
    local is_there = places[index] and bodies[places[index]] == name
    if not is_there and not seen[name] then
      seen[name] = true
      new[#new + 1] = first + index - 1
    end
  end
  return new
end

local function numbers(first, many)
  local found = {}
  for index = first, first + many - 1 do
    found[#found + 1] = index
  end
  return found
end

local function refuse_full(first, many, in_turn)
  if options.max_length == nil then
    return nil
  end
  local crowded = not in_turn and waiting('room') > 0
  local room = math.max(options.max_length - length(), 0)
  if many <= room and not crowded then
    return nil
  end
  local new = options.unique and #new_ones(first, many) or many
  if new > room or (crowded and new > 0) then
    return refuse('full', new, not crowded and room, options.max_length)
  end
end

-- Note that there are values which the index of a unique queue does not have.
local function not_indexed()
  if head.indexed then
    set('indexed', nil)
  end
end

local function insert(first, many, delay, priority, at, in_turn)
  if options.closed then
    return refuse('closed')
  end
  local refusal = refuse_full(first, many, in_turn)
  if refusal then
    return refusal
  end
  priority = priority_of(priority)
  local ready_at = math.max(now + delay, at or 0)
  local state = ready_at > now and 'delayed' or 'ready'
  local chosen = options.unique and new_ones(first, many) or numbers(first, many)
  local id = head.next_id
  local packed = cmsgpack.pack({ state, priority, now, ready_at, 0, 0, 0 })
  local messages, bodies, members, unique = {}, {}, {}, {}
  local start = state == 'ready' and priority .. struct.pack('>I8', ready_at)
  for index, argument in ipairs(chosen) do
    local odd, even, body = 2 * index - 1, 2 * index, ARGV[argument]
    messages[odd], messages[even] = id, packed
    bodies[odd], bodies[even] = id, body
    unique[odd], unique[even] = body, id
    if start then
      members[odd], members[even] = 0, start .. struct.pack('>I8', id)
    else
      members[odd], members[even] = ready_at, pair(ready_at, id)
    end
    id = id + 1
  end
  if #chosen > 0 then
    call('HSET', MESSAGES, messages)
    call('HSET', BODIES, bodies)
    call('ZADD', start and READY or DELAYED, members)
    if options.unique then
      call('HSET', UNIQUE, unique)
    else
      not_indexed()
    end
    set('next_id', id)
  end
  count('inserted', #chosen)
  count('duplicates', many - #chosen)
  return #chosen, chosen
end

function methods.insert(operation)
  return insert(operation[3], operation[4], operation[5], operation[6], operation[7], false)
end

local function insert_all(operation, many)
  local first = operation[3]
  local answer, chosen = insert(first, many, operation[5], operation[6], operation[7], false)
  if type(answer) == 'table' then
    return {} -- each by itself
  end
  local answers = times(answer == many and 1 or 0, many)
  for _, argument in ipairs(answer == many and {} or chosen) do
    answers[argument - first + 1] = 1
  end
  return answers
end

joint.insert = { all = insert_all, one = one_value }

joint.insert_nowait = joint.insert

function methods.insert_nowait(operation)
  local answer = options.drains and refuse('closed') or methods.insert(operation)
  if type(answer) == 'table' then
    notice('insert_dropped', operation[4], answer.refused)
    count('dropped', operation[4])
    return 0
  end
  return answer
end

function methods.wait_insert(operation)
  local from = operation[8]
  if was_taken_over(TAKEN_OVER, from) then
    return operation[4] -- it was taken over before, and the answer got lost
  end
  local answer = insert(operation[3], operation[4], operation[5], operation[6], operation[7], true)
  if type(answer) == 'table' and answer.refused[1] == 'full' then
    return answer.refused[2] > answer.refused[4] and answer or NOT_YET
  end
  if type(answer) == 'number' then
    take_over(TAKEN_OVER, from)
  end
  return answer
end

-- -- handing out ------------------------------------------------------------------------------

-- Return a refusal if nothing will come any more.
local function drained()
  if options.closed and length() == redis.call('ZCARD', BURIED) then
    return refuse('closed')
  end
end

local function refill_at()
  return head.synced_at == nil and 0 or head.synced_at + math.max(options.sync_interval, MIN_REFILL)
end

local function may_refill()
  return options.sync_interval ~= nil
    and not refilling()
    and not options.closed
    and not options.drains
end

local function found_nothing()
  local refusal = drained()
  if refusal then
    return refusal
  end
  if may_refill() and now >= refill_at() then
    if not head.refill_wanted then
      set('refill_wanted', '1')
    end
    errand = true
  end
end

local function take(limit, duration)
  if is_paused(head.paused_until) then
    return {}, drained()
  elseif head.paused_until ~= nil then
    set('paused_until', nil)
  end
  local popped = redis.call('ZPOPMIN', READY, limit)
  if #popped == 0 then
    return {}, found_nothing()
  end
  local ids = {}
  for index = 1, #popped, 2 do
    ids[#ids + 1] = third_of(popped[index])
  end
  local bodies, taken = fields(BODIES, ids), {}
  local stale, packed, members, holders = {}, {}, {}, {}
  local key, deadline = next_key(), now + duration
  for index, message in ipairs(messages_of(ids)) do
    local id = ids[index]
    if message[KEY] ~= 0 then
      stale[#stale + 1] = message[KEY]
    end
    message[STATE], message[KEY], message[DEADLINE] = 'reserved', key, deadline
    message[ATTEMPT] = message[ATTEMPT] + 1
    packed[2 * index - 1], packed[2 * index] = id, cmsgpack.pack(message)
    members[2 * index - 1], members[2 * index] = deadline, pair(key, id)
    holders[2 * index - 1], holders[2 * index] = key, id
    taken[index] =
      { id, key, answer_value(bodies[index]), deadline, message[ATTEMPT], message[INSERTED] }
    key = key + 1
  end
  call('HDEL', HOLDERS, stale)
  call('HSET', MESSAGES, packed)
  call('ZADD', RESERVED, members)
  call('HSET', HOLDERS, holders)
  set('last_key', key - 1)
  count('reserved_total', #taken)
  return taken
end

function methods.reserve(operation)
  local taken, refusal = take(1, operation[3])
  return refusal or taken[1] or (operation[2] and NOT_YET)
end

joint.reserve = {
  all = function(operation, many)
    return (take(many, operation[3]))
  end,
  one = the_same,
}

function methods.reserve_many(operation)
  local taken, refusal = take(operation[3], operation[4])
  if refusal then
    return refusal
  end
  return #taken == 0 and operation[2] and NOT_YET or taken
end

-- -- finishing --------------------------------------------------------------------------------

-- Return what keys that can be finished belong to: numbers, messages and the keys; the other keys;
-- and which keys are known.
local function sort_out(keys, expired_ok)
  local ids, known, numbers = {}, {}, {}
  for index, id in ipairs(fields(HOLDERS, keys)) do
    if id then
      ids[#ids + 1], numbers[index] = tonumber(id), #ids + 1
    end
  end
  local messages, found, stale, seen = messages_of(ids), {}, {}, {}
  for index, key in ipairs(keys) do
    local number = numbers[index]
    local message = number and messages[number]
    if not seen[key] then
      seen[key] = true
      known[key] = message and message[KEY] == key
      if known[key] and (message[STATE] == 'reserved' or expired_ok) then
        found[#found + 1] = { ids[number], message, key }
      else
        stale[#stale + 1] = key
      end
    end
  end
  return found, stale, known
end

local function finish(found)
  local ids, keys, reserved, ready = {}, {}, {}, {}
  for index, each in ipairs(found) do
    local id, message = each[1], each[2]
    ids[index], keys[index] = id, each[3]
    if message[STATE] == 'reserved' then
      reserved[#reserved + 1] = pair(each[3], id)
    else
      ready[#ready + 1] = ready_member(message[PRIORITY], message[READY_AT], id)
    end
    forget_value(id)
  end
  call('ZREM', RESERVED, reserved)
  call('ZREM', READY, ready)
  call('HDEL', HOLDERS, keys)
  call('HDEL', MESSAGES, ids)
  call('HDEL', BODIES, ids)
  made_room = made_room + #ids
  count('deleted', #ids)
end

function methods.delete(operation)
  local found, stale, known = sort_out(operation[3], operation[4])
  if #found > 0 then
    finish(found)
  end
  if #stale > 0 then
    return refuse(known[stale[1]] and 'expired' or 'not_found', stale)
  end
  return #found
end

joint.delete = {
  all = function(operation, many)
    local found = sort_out(operation[3], operation[4])
    if #found < many then
      return {} -- each by itself
    end
    finish(found)
    return times(1, many)
  end,
  one = function(operation, index)
    return { 'delete', operation[2], { operation[3][index] }, operation[4] }
  end,
}

local function statistics()
  local member = redis.call('ZRANGE', READY, 0, 0)[1]
  return {
    ready = redis.call('ZCARD', READY),
    delayed = redis.call('ZCARD', DELAYED),
    reserved = redis.call('ZCARD', RESERVED),
    buried = redis.call('ZCARD', BURIED),
    set_aside = head.aside or 0,
    dead = redis.call('ZCARD', DEAD),
    oldest_at = member and (struct.unpack('>I8', member, 9)) or nil,
    refilling = refilling(),
    last_refill = head.last_refill,
    closed = options.closed or false,
    paused = is_paused(head.paused_until),
  }
end

methods.statistics = telling(statistics)

-- -- what is asked for seldom -----------------------------------------------------------------

local others = made_late(methods, function()
  local function put_back(id, message, ready_at)
    if ready_at > now then
      message[STATE], message[READY_AT] = 'delayed', ready_at
      write('ZADD', DELAYED, ready_at, pair(ready_at, id))
    else
      make_ready(id, message, ready_at)
    end
  end

  local function let_go(id, message)
    write('ZREM', RESERVED, pair(message[KEY], id))
    write('HDEL', HOLDERS, message[KEY])
  end

  local function erase(id)
    write('HDEL', MESSAGES, id)
    write('HDEL', BODIES, id)
    made_room = made_room + 1
  end

  local function bury(id, message, error)
    message[STATE], message[ERROR], message[KEY] = 'buried', error, 0
    write('ZADD', BURIED, id, pair(0, id))
    save(id, message)
  end

  local function exhaust(id, message, error)
    count('exhausted', 1)
    if options.on_exhausted == 'bury' then
      notice('message_buried', id, message[ATTEMPT], error)
      bury(id, message, error)
      return
    end
    forget_value(id)
    if options.on_exhausted == 'drop' then
      notice('message_dropped', id, message[ATTEMPT], error)
      erase(id)
    else
      notice('message_dead', id, message[ATTEMPT], error)
      local letter = { message[ATTEMPT], error or false, message[INSERTED], message[PRIORITY] }
      letter[5] = redis.call('HGET', BODIES, id)
      write('ZADD', DEAD, now, pair(0, id))
      write('HSET', LETTERS, id, cmsgpack.pack(letter))
      erase(id)
      errand = true
    end
  end

  local function is_exhausted(message)
    return options.max_reservations ~= nil and message[ATTEMPT] >= options.max_reservations
  end

  -- Take a message out of wherever it is.
  local function leave(id, message)
    local state = message[STATE]
    forget_value(id)
    if state == 'ready' then
      write('ZREM', READY, ready_member(message[PRIORITY], message[READY_AT], id))
      if message[KEY] ~= 0 then
        write('HDEL', HOLDERS, message[KEY])
      end
    elseif state == 'delayed' then
      write('ZREM', DELAYED, pair(message[READY_AT], id))
    elseif state == 'reserved' then
      let_go(id, message)
    else
      write('ZREM', BURIED, pair(0, id))
    end
    erase(id)
  end

  -- Return the message of a live reservation and its number; nil: it is not live.
  local function live(key)
    local id = tonumber(redis.call('HGET', HOLDERS, key))
    local message = id and message_of(id)
    if message and message[STATE] == 'reserved' and message[KEY] == key then
      return message, id
    end
  end

  local function refuse_keys(keys)
    local expired = redis.call('HEXISTS', HOLDERS, keys[1]) == 1
    return refuse(expired and 'expired' or 'not_found', keys)
  end

  -- What becomes due.

  local function expire(member, deadline)
    local id = second_of(member)
    local message = message_of(id)
    write('ZREM', RESERVED, member)
    count('expired', 1)
    if is_exhausted(message) then
      write('HDEL', HOLDERS, message[KEY])
      exhaust(id, message, message[ERROR])
    else
      make_ready(id, message, deadline) -- its key is known until it is taken again
      save(id, message)
    end
  end

  -- Let some of what is due happen; return whether that was all.
  local function advance()
    local due = redis.call('ZRANGE', RESERVED, '-inf', now, 'BYSCORE', 'LIMIT', 0, STEPS, 'WITHSCORES')
    for index = 1, #due, 2 do
      expire(due[index], tonumber(due[index + 1]))
    end
    local steps = #due / 2
    due = redis.call('ZRANGE', DELAYED, '-inf', now, 'BYSCORE', 'LIMIT', 0, STEPS - steps, 'WITHSCORES')
    for index = 1, #due, 2 do
      local id = second_of(due[index])
      local message = message_of(id)
      make_ready(id, message, tonumber(due[index + 1]))
      save(id, message)
    end
    call('ZREM', DELAYED, (function()
      local members = {}
      for index = 1, #due, 2 do
        members[#members + 1] = due[index]
      end
      return members
    end)())
    return steps + #due / 2 < STEPS
  end

  -- What the holder of a reservation does.

  local function rekey(key, deadline_of)
    local message, id = live(key)
    if not message then
      return refuse_keys({ key })
    end
    let_go(id, message)
    local deadline, new = math.min(deadline_of(message), LATEST), next_key()
    message[KEY], message[DEADLINE] = new, deadline
    write('ZADD', RESERVED, deadline, pair(new, id))
    write('HSET', HOLDERS, new, id)
    save(id, message)
    set('last_key', new)
    local body = answer_value(redis.call('HGET', BODIES, id))
    return { id, new, body, deadline, message[ATTEMPT], message[INSERTED] }
  end

  function methods.prolongate(operation)
    return rekey(operation[3], function(message)
      return message[DEADLINE] + operation[4]
    end)
  end

  function methods.touch(operation)
    return rekey(operation[3], function()
      return now + operation[4]
    end)
  end

  function methods.release(operation)
    local key, delay, priority, error = operation[3], operation[4], operation[5], operation[6]
    local message, id = live(key)
    if not message then
      return refuse_keys({ key })
    end
    let_go(id, message)
    count('released', 1)
    error = error or message[ERROR]
    if is_exhausted(message) then
      exhaust(id, message, error)
      return false
    end
    message[PRIORITY] = priority and ARGV[priority] or message[PRIORITY]
    message[ERROR], message[KEY] = error, 0
    put_back(id, message, now + delay)
    save(id, message)
    return false
  end

  function methods.snooze(operation)
    local message, id = live(operation[3])
    if not message then
      return refuse_keys({ operation[3] })
    end
    let_go(id, message)
    count('released', 1)
    message[ATTEMPT], message[KEY] = message[ATTEMPT] - 1, 0
    put_back(id, message, now + operation[4])
    save(id, message)
    return false
  end

  function methods.fail(operation)
    local message, id = live(operation[3])
    if not message then
      return refuse_keys({ operation[3] })
    end
    let_go(id, message)
    exhaust(id, message, operation[4] or message[ERROR])
    return false
  end

  -- Set messages aside that their holder cannot decode, as if they had never been taken; return which of
  -- the keys were good.
  function methods.set_aside(operation)
    local done = {}
    for _, key in ipairs(operation[3]) do
      local message, id = live(key)
      if message then
        let_go(id, message)
        forget_value(id)
        message[ATTEMPT], message[KEY] = message[ATTEMPT] - 1, 0
        set_aside(ASIDE, id, message, redis.call('HGET', BODIES, id))
        erase(id)
        done[#done + 1] = key
      end
    end
    count('reserved_total', -#done)
    return done
  end

  function methods.bury(operation)
    local message, id = live(operation[3])
    if not message then
      return refuse_keys({ operation[3] })
    end
    let_go(id, message)
    bury(id, message, operation[4] or message[ERROR])
    return false
  end

  -- What an operator does.

  function methods.kick(operation)
    local popped = redis.call('ZPOPMIN', BURIED, operation[3])
    for index = 1, #popped, 2 do
      dirty = true
      local id = second_of(popped[index])
      local message = message_of(id)
      message[ATTEMPT] = 0
      make_ready(id, message, now)
      save(id, message)
    end
    return #popped / 2
  end

  local PLACES = {
    ready = { READY, third_of },
    delayed = { DELAYED, second_of },
    reserved = { RESERVED, second_of },
    buried = { BURIED, second_of },
  }

  function methods.peek(operation)
    local place, ids, shown = PLACES[operation[3]], {}, {}
    for index, member in ipairs(redis.call('ZRANGE', place[1], 0, operation[4] - 1)) do
      ids[index] = place[2](member)
    end
    local bodies = fields(BODIES, ids)
    for index, message in ipairs(messages_of(ids)) do
      shown[index] = {
        ids[index], answer_value(bodies[index]), operation[3], message[ATTEMPT],
        answer_value(message[PRIORITY]), message[INSERTED], message[READY_AT], message[ERROR] or false,
      }
    end
    return shown
  end

  function methods.remove(operation)
    local removed, seen = 0, {}
    for index, message in ipairs(messages_of(operation[3])) do
      local id = operation[3][index]
      if message and not seen[id] then
        seen[id] = true
        leave(id, message)
        removed = removed + 1
      elseif redis.call('HDEL', LETTERS, id) == 1 then
        write('ZREM', DEAD, pair(0, id))
        removed = removed + 1
      end
    end
    return removed
  end

  function methods.clear()
    local held = length()
    if held == 0 then
      return 0
    end
    write('UNLINK', MESSAGES, BODIES, READY, DELAYED, RESERVED, HOLDERS, BURIED, UNIQUE)
    made_room = made_room + held
    return held
  end

  function methods.length()
    return length()
  end

  function methods.size()
    return redis.call('ZCARD', READY)
  end

  -- Errands.

  function methods.begin_refill()
    if refills_itself() then
      return true -- it began already, and the answer got lost
    elseif not head.refill_wanted or refilling() or options.closed or options.drains then
      return false
    end
    set('refill_wanted', nil)
    set('refilling_until', now + LEASE)
    set('refiller', options.session)
    set('synced_at', now)
    count('refills', 1)
    return true
  end

  local function no_refill()
    set('refilling_until', nil)
    set('refiller', nil)
  end

  local function end_refill(added, error)
    if refills_itself() or not refilling() then -- otherwise another one has begun since
      no_refill()
    end
    set('last_refill', added)
    set('synced_at', now)
    set('sync_error', error)
    set('refills', head.refills + 1)
    refills_ended = 1
  end

  function methods.refilled(operation)
    local first, many, error, number = operation[3], operation[4], operation[5], operation[6]
    if tonumber(redis.call('HGET', SESSION, 'refilled') or nil) == number then
      return head.last_refill -- it was told before, and the answer got lost
    end
    write('HSET', SESSION, 'refilled', number)
    if not many then
      count('refill_errors', 1)
      end_refill(0, error or '')
      return 0
    end
    local added = 0
    if not options.closed then
      local fitting = many
      if options.max_length ~= nil then
        local room = math.max(options.max_length - length(), 0)
        if waiting('room') > 0 then
          room = 0
        end
        if options.unique then
          local new = new_ones(first, many)
          if #new > room then
            fitting = new[room + 1] - first
          end
        else
          fitting = math.min(many, room)
        end
      end
      if fitting < many then
        notice('refill_left_out', many - fitting)
        count('left_out', many - fitting)
      end
      added = insert(first, fitting, 0, nil, nil, true)
    end
    end_refill(added, nil)
    return added
  end

  function methods.refill_lost()
    if refills_itself() or (head.refilling_until ~= nil and not refilling()) then
      if waiting('syncs') > 0 then
        set('refill_wanted', '1')
        errand = true
      end
      count('refill_errors', 1)
      no_refill()
    end
    return false
  end

  function methods.sync()
    if options.closed then
      return refuse('closed')
    end
    sync_after = math.min(sync_after or head.refills, head.refills) -- it may have been dropped
    if head.refills <= sync_after then
      if not refilling() and not options.drains then
        set('refill_wanted', '1')
        errand = true
      end
      return NOT_YET
    end
    if head.sync_error then
      return refuse('refill', head.sync_error)
    end
    return head.last_refill or 0
  end

  function methods.dead_letters(operation)
    local letters, ids = {}, {}
    local free = redis.call('ZRANGE', DEAD, '-inf', now, 'BYSCORE', 'LIMIT', 0, operation[3])
    for index, member in ipairs(free) do
      ids[index] = second_of(member)
      write('ZADD', DEAD, now + POSTED_WITHIN, member) -- nobody else posts it meanwhile
    end
    for index, packed in ipairs(fields(LETTERS, ids)) do
      local letter = cmsgpack.unpack(packed)
      letters[index] = { ids[index], answer_value(letter[5]), letter[1], letter[2], letter[3] }
    end
    return letters
  end

  function methods.bury_dead(operation)
    local id = operation[3]
    local packed = redis.call('HGET', LETTERS, id)
    if packed then
      local letter = cmsgpack.unpack(packed)
      write('HDEL', LETTERS, id)
      write('ZREM', DEAD, pair(0, id))
      write('HSET', BODIES, id, letter[5])
      if options.unique then
        write('HSETNX', UNIQUE, letter[5], id)
      end
      bury(id, { 'buried', letter[4], letter[3], letter[3], letter[1], 0, 0 }, letter[2] or nil)
    end
    return false
  end

  -- Make known some of the values of a queue that was not unique, or that came from another store, see
  -- `transfer.lua`; return whether that was all.
  local function index_values()
    local found = redis.call('HSCAN', BODIES, head.unindexed, 'COUNT', STEPS)
    for index = 1, #found[2], 2 do
      write('HSETNX', UNIQUE, found[2][index + 1], found[2][index])
    end
    set('unindexed', found[1] ~= '0' and found[1] or nil)
    return head.unindexed == nil
  end

  local function put_in_again(id, message, body)
    make_ready(id, message, message[READY_AT])
    save(id, message)
    if body then
      write('HSET', BODIES, id, body)
      if options.unique then
        write('HSETNX', UNIQUE, body, id)
      else
        not_indexed()
      end
    end
  end

  return { advance = advance, index_values = index_values, put_in_again = put_in_again }
end)

-- -- the batch --------------------------------------------------------------------------------

if options.unique and options.begins and not head.indexed then
  set('indexed', '1')
  if length() > 0 then
    set('unindexed', '0')
  end
end

if options.initial and not head.initial then
  set('initial', '1')
  insert(options.initial[1], options.initial[2], 0, nil, nil, true)
end

if refills_itself() and head.refilling_until - now <= LEASE * 2 / 3 then
  set('refilling_until', now + LEASE) -- it is alive
end

local function is_due(key)
  local due = select(2, first_of(key))
  return due ~= nil and due <= now
end

local all, results = true, {}
if options.unique and head.unindexed then
  all = others().index_values()
end
all = all and come_back(ASIDE, STEPS, function(...)
  others().put_in_again(...)
end)
if all and (is_due(RESERVED) or is_due(DELAYED)) then
  all = others().advance()
end
if all then
  results = run(methods, joint)
end

local errand_at -- a dead letter's: that nobody posts, or that is about to be one
if options.on_exhausted ~= 'drop' and options.on_exhausted ~= 'bury' then
  errand_at = earliest(
    select(2, first_of(DEAD)),
    options.max_reservations and select(2, first_of(RESERVED)) or nil
  )
end

-- Return the next instant at which something happens by itself.
local function next_due(paused)
  local due = earliest(select(2, first_of(RESERVED)), select(2, first_of(DELAYED)))
  if paused and head.paused_until ~= -1 then
    due = earliest(due, head.paused_until)
  elseif not paused and waiting('takers') > 0 and may_refill() and not head.refill_wanted then
    due = earliest(due, refill_at())
  end
  if refilling() and (waiting('takers') > 0 or waiting('syncs') > 0) then
    due = earliest(due, head.refilling_until) -- it may be lost
  end
  return due
end

return conclude({
  all = all,
  results = results,
  errand = errand,
  errand_at = errand_at,
  again_at = refills_itself() and head.refilling_until - LEASE * 2 / 3 or nil,
  sync_after = waiting('syncs') > 0 and sync_after,
  statistics = options.statistics and statistics(),
}, function()
  local paused = is_paused(head.paused_until)
  local ready = paused and 0 or redis.call('ZCARD', READY)
  local room = options.max_length ~= nil and math.max(options.max_length - length(), 0) or 0
  return {
    room = options.max_length ~= nil and made_room or 0,
    takers = ready,
    syncs = refills_ended,
  }, { room = room, takers = ready }, next_due(paused)
end)
