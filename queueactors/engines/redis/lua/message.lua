-- The message queue, as `queueactors.cores.message.MessageCore` has it.
--
-- What an enqueue does, what the end of a claim does, and what happens by itself, is in tables that
-- stand before this text: STATUSES, STEPS, ENDS and PASSES of `queueactors.cores._message_table`.
--
-- KEYS after those of all kinds: what each message is, its value, the messages by mid, what waits
-- as the requeue of one, the ready ones, those that back off, the locked, the keys of locks, those
-- that are remembered, dead letters taken over, and what is set aside.

local NAMES, REQUEUES = KEYS[8], KEYS[9]
local READY, BACKOFFS, LOCKS, HOLDERS, DONE = KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local TAKEN_OVER, ASIDE = KEYS[15], KEYS[16]

local STEPS_AT_ONCE = 1000 -- messages that become due in one call
local PAGE = 1000 -- numbers of messages that are read in one call

-- Where the messages of a state are, in the order of their instants; a requeue is in REQUEUES only.
local PLACES = { ready = READY, backoff = BACKOFFS, locked = LOCKS, done = DONE }
local SHOWN = { READY, BACKOFFS, LOCKS, DONE } -- in the order in which they are looked at
local DUE = { LOCKS, BACKOFFS, DONE } -- those in which something becomes due

-- The places of what is known of a message. Its instant: when it became ready, or will; or when its
-- lock ends, or what it is remembered for.
local STATE, MID, ENQUEUED, INSTANT, LOCK_TIME, ATTEMPT, KEY = 1, 2, 3, 4, 5, 6, 7

read_head({ 'next_id', 'last_key', 'paused_until', 'aside' }, { 'coming_back' })
head.next_id, head.last_key = head.next_id or 1, head.last_key or 0

-- -- messages ---------------------------------------------------------------------------------

local function member_of(id, message)
  return pair(message[INSTANT], id)
end

local function instant_of(member)
  return (struct.unpack('>I8', member))
end

-- Return how many messages there are; requeues do not count.
local function length()
  return redis.call('HLEN', NAMES)
end

-- Return how many are still to be handled, requeues included.
local function unhandled()
  return redis.call('HLEN', MESSAGES) - redis.call('ZCARD', DONE)
end

local function status_of(message)
  return STATUSES[message[STATE]][redis.call('HEXISTS', REQUEUES, message[MID]) == 1]
end

local function age_of(message)
  return math.max(now - message[ENQUEUED], 0) -- a server's clock may be set back
end

-- Put a message that is nowhere where it belongs now.
local function place(id, message, state, instant)
  message[STATE], message[INSTANT] = state, instant
  write('ZADD', PLACES[state], 0, member_of(id, message))
  save(id, message)
end

-- Take a message out of where it is; its record and its name stay.
local function displace(id, message)
  write('ZREM', PLACES[message[STATE]], member_of(id, message))
  if message[STATE] == 'locked' then
    write('HDEL', HOLDERS, message[KEY])
  end
end

-- Remove a message that is nowhere any more. What waits as its requeue is ready then.
local function drop(id, message, at)
  write('HDEL', MESSAGES, id)
  write('HDEL', BODIES, id)
  local heir = tonumber(redis.call('HGET', REQUEUES, message[MID]) or nil)
  if not heir then
    write('HDEL', NAMES, message[MID])
    return
  end
  write('HDEL', REQUEUES, message[MID])
  write('HSET', NAMES, message[MID], heir)
  local requeue = message_of(heir)
  requeue[ENQUEUED] = at
  place(heir, requeue, 'ready', at)
end

-- -- what becomes due -------------------------------------------------------------------------

-- Let some of what is due happen; return whether that was all.
local function advance()
  local left = STEPS_AT_ONCE
  local until_now = '(' .. struct.pack('>I8', now + 1)
  for _, agenda in ipairs(DUE) do
    if left > 0 then
      local due = redis.call('ZRANGE', agenda, '-', until_now, 'BYLEX', 'LIMIT', 0, left)
      local ids = {}
      for index, member in ipairs(due) do
        ids[index] = second_of(member)
      end
      call('ZREM', agenda, due)
      local holders = {}
      for index, message in ipairs(messages_of(ids)) do
        local at, state = message[INSTANT], message[STATE]
        if state == 'locked' then
          holders[#holders + 1] = message[KEY]
        end
        if PASSES[state] == 'drop' then
          drop(ids[index], message, at)
        else
          place(ids[index], message, 'ready', at)
        end
      end
      call('HDEL', HOLDERS, holders)
      if #holders > 0 then
        count('expired', #holders)
      end
      left = left - #due
    end
  end
  return left > 0
end

-- -- taking in --------------------------------------------------------------------------------

local function refuse_full(in_turn)
  if options.max_length == nil then
    return nil
  end
  local room = math.max(options.max_length - unhandled(), 0)
  local crowded = not in_turn and waiting('room') > 0
  if crowded or room == 0 then
    return refuse('full', not crowded and room, options.max_length)
  end
end

local function come(mid, value, lock_time)
  local id = head.next_id
  set('next_id', id + 1)
  write('HSET', BODIES, id, ARGV[value])
  count('added', 1)
  return id, { false, mid, now, now, lock_time, 0, 0 }
end

local function change(id, message, value, lock_time)
  message[LOCK_TIME] = lock_time
  write('HSET', BODIES, id, ARGV[value])
end

-- Let a message that is queued be ready after another backoff.
local function back_off_anew(id, message, backoff)
  if message[STATE] == 'ready' and backoff == 0 then
    save(id, message) -- and keeps its place
    return
  end
  displace(id, message)
  place(id, message, backoff > 0 and 'backoff' or 'ready', now + backoff)
end

local function enqueue(operation, in_turn)
  if options.closed then
    return refuse('closed')
  end
  local mid, value, backoff, lock_time = operation[3], operation[4], operation[5], operation[6]
  local can_update, can_requeue, reset = operation[7], operation[8], operation[9]
  local id = tonumber(redis.call('HGET', NAMES, mid) or nil)
  local message = id and message_of(id)
  local status = message and status_of(message) or false
  local step = STEPS[status][can_update][can_requeue][reset]
  if step == 'add' or step == 'requeue' then
    local refusal = refuse_full(in_turn)
    if refusal then
      return refusal
    end
    id, message = come(mid, value, lock_time)
    if step == 'requeue' then
      write('HSET', REQUEUES, mid, id)
      message[STATE] = 'requeue'
      save(id, message)
    else
      write('HSET', NAMES, mid, id)
      place(id, message, backoff > 0 and 'backoff' or 'ready', now + backoff)
    end
  elseif step == 'update' or step == 'reset' then
    if step == 'update' then
      change(id, message, value, lock_time)
    end
    if reset then
      back_off_anew(id, message, backoff)
    else
      save(id, message)
    end
    count('updated', 1)
  elseif step == 'update-requeue' then
    id = tonumber(redis.call('HGET', REQUEUES, mid))
    message = message_of(id)
    change(id, message, value, lock_time)
    save(id, message)
    count('updated', 1)
  else
    count('refused', 1)
  end
  return step
end

local methods = {}

function methods.enqueue(operation)
  return enqueue(operation, false)
end

function methods.wait_enqueue(operation)
  local from = operation[10]
  if was_taken_over(TAKEN_OVER, from) then
    return 'add' -- it was taken over before, and the answer got lost
  end
  local answer = enqueue(operation, true)
  if type(answer) == 'table' then
    return answer.refused[1] == 'full' and NOT_YET or answer
  end
  take_over(TAKEN_OVER, from)
  return answer
end

-- -- handing out ------------------------------------------------------------------------------

-- Return a refusal if nothing will come any more.
local function drained()
  if options.closed and unhandled() == 0 then
    return refuse('closed')
  end
end

local function claim(limit)
  if is_paused(head.paused_until) then
    return {}, drained()
  end
  local popped = redis.call('ZPOPMIN', READY, limit)
  if #popped == 0 then
    return {}, drained()
  end
  local ids = {}
  for index = 1, #popped, 2 do
    ids[#ids + 1] = second_of(popped[index])
  end
  local bodies, claimed = fields(BODIES, ids), {}
  local packed, members, holders = {}, {}, {}
  local key = math.max(now, head.last_key + 1)
  for index, message in ipairs(messages_of(ids)) do
    local id, lock_time = ids[index], message[LOCK_TIME] or options.lock_time
    message[STATE], message[KEY], message[INSTANT] = 'locked', key, now + lock_time
    message[ATTEMPT] = message[ATTEMPT] + 1
    packed[2 * index - 1], packed[2 * index] = id, cmsgpack.pack(message)
    members[2 * index - 1], members[2 * index] = 0, member_of(id, message)
    holders[2 * index - 1], holders[2 * index] = key, id
    claimed[index] = {
      id, message[MID], answer_value(bodies[index]), message[ATTEMPT], lock_time,
      age_of(message), key, message[INSTANT],
    }
    key = key + 1
  end
  call('HSET', MESSAGES, packed)
  call('ZADD', LOCKS, members)
  call('HSET', HOLDERS, holders)
  set('last_key', key - 1)
  count('claimed', #claimed)
  return claimed
end

function methods.claim(operation)
  local claimed, refusal = claim(1)
  return refusal or claimed[1] or (operation[2] and NOT_YET)
end

local joint = {
  claim = {
    all = function(_, many)
      return (claim(many))
    end,
    one = the_same,
  },
}

function methods.claim_many(operation)
  local claimed, refusal = claim(operation[3])
  if refusal then
    return refusal
  end
  return #claimed == 0 and operation[2] and NOT_YET or claimed
end

-- -- what the holder of a claim does ----------------------------------------------------------

-- Return the message that a claim has locked, and its number; nil: it is lost.
local function locked_by(key)
  local id = tonumber(redis.call('HGET', HOLDERS, key) or nil)
  return id and message_of(id), id
end

local COUNTED = { success = 'succeeded', retry = 'retried', error = 'failed' }

function methods.finish(operation)
  local result, backoff = operation[4], operation[5]
  local message, id = locked_by(operation[3])
  if not message then
    return refuse('lost')
  end
  displace(id, message)
  message[KEY] = 0
  local last = ENDS[result][backoff > 0]
  if last == 'drop' then
    drop(id, message, now)
  elseif last == 'remember' then
    place(id, message, 'done', now + backoff)
  elseif last == 'ready' then
    place(id, message, 'ready', now)
  else
    place(id, message, 'backoff', now + backoff)
  end
  count(COUNTED[result], 1)
  return false
end

methods.length = length

local function statistics()
  local member = redis.call('ZRANGE', READY, 0, 0)[1]
  return {
    queued = redis.call('ZCARD', READY),
    backoff = redis.call('ZCARD', BACKOFFS),
    locked = redis.call('ZCARD', LOCKS),
    done = redis.call('ZCARD', DONE),
    requeues = redis.call('HLEN', REQUEUES),
    set_aside = head.aside or 0,
    oldest_at = member and instant_of(member),
    closed = options.closed or false,
    paused = is_paused(head.paused_until),
  }
end

methods.statistics = telling(statistics)

-- -- what is asked for seldom -----------------------------------------------------------------

local others = made_late(methods, function()
  function methods.extend(operation)
    local message, id = locked_by(operation[3])
    if not message then
      return refuse('lost')
    end
    write('ZREM', LOCKS, member_of(id, message))
    local duration = operation[4] or message[LOCK_TIME] or options.lock_time
    place(id, message, 'locked', now + duration)
    return message[INSTANT]
  end

  function methods.snooze(operation)
    local delay = operation[4]
    local message, id = locked_by(operation[3])
    if not message then
      return refuse('lost')
    end
    displace(id, message)
    message[KEY], message[ATTEMPT] = 0, message[ATTEMPT] - 1
    place(id, message, delay > 0 and 'backoff' or 'ready', now + delay)
    count('snoozed', 1)
    return false
  end

  -- Set messages aside that their holder cannot decode, as if they had never been claimed; return which
  -- of the keys were good. What waits as the requeue of one is ready.
  function methods.set_aside(operation)
    local done = {}
    for _, key in ipairs(operation[3]) do
      local message, id = locked_by(key)
      if message then
        local heir = redis.call('HGET', REQUEUES, message[MID])
        displace(id, message)
        message[ATTEMPT], message[KEY] = message[ATTEMPT] - 1, 0
        set_aside(ASIDE, id, message, redis.call('HGET', BODIES, id))
        drop(id, message, now)
        if heir then
          notice('requeue_freed', tonumber(heir), message[MID])
        end
        done[#done + 1] = key
      end
    end
    count('claimed', -#done)
    return done
  end

  -- What an operator does.

  function methods.message_status(operation)
    local id = redis.call('HGET', NAMES, operation[3])
    return id and status_of(message_of(id))
  end

  function methods.queue_status()
    local backoff = redis.call('ZCARD', BACKOFFS) + redis.call('ZCARD', DONE)
    return { redis.call('ZCARD', READY), redis.call('ZCARD', LOCKS), backoff, length() }
  end

  function methods.queue_size()
    return redis.call('ZCARD', READY)
  end

  -- Return the numbers of some messages, and where to go on: the how-manieth of SHOWN it is, and the
  -- last member of it that has been seen.
  function methods.ids(operation)
    local first, instant, last = operation[3], operation[4], operation[5]
    local after = first > 0 and '(' .. pair(instant, last) or '-'
    local ids = {}
    for number = math.max(first, 1), #SHOWN do
      local members =
        redis.call('ZRANGE', SHOWN[number], after, '+', 'BYLEX', 'LIMIT', 0, PAGE - #ids)
      for _, member in ipairs(members) do
        ids[#ids + 1] = second_of(member)
      end
      if #ids == PAGE then
        return { ids, number, instant_of(members[#members]), ids[#ids] }
      end
      after = '-'
    end
    return { ids }
  end

  function methods.content(operation)
    local ids, shown = operation[3], {}
    local bodies = fields(BODIES, ids)
    for index, message in ipairs(messages_of(ids)) do
      if message and message[STATE] ~= 'requeue' then
        local backs_off = message[STATE] == 'backoff' or message[STATE] == 'done'
        shown[#shown + 1] = {
          ids[index], message[MID], answer_value(bodies[index]), status_of(message), message[ATTEMPT],
          backs_off and message[INSTANT] - now, age_of(message),
        }
      end
    end
    return shown
  end

  function methods.remove(operation)
    local ids, removed = operation[3], 0
    local messages = messages_of(ids)
    for index, message in ipairs(messages) do
      if message and message[STATE] == 'requeue' then -- before what it waits for
        write('HDEL', REQUEUES, message[MID])
        write('HDEL', MESSAGES, ids[index])
        write('HDEL', BODIES, ids[index])
        removed = removed + 1
      end
    end
    for index, message in ipairs(messages) do
      if message and message[STATE] ~= 'requeue' then
        displace(ids[index], message)
        drop(ids[index], message, now)
        removed = removed + 1
      end
    end
    return removed
  end

  function methods.clear()
    local held = length()
    if held > 0 then
      write('UNLINK', MESSAGES, BODIES, NAMES, REQUEUES, READY, BACKOFFS, LOCKS, HOLDERS, DONE)
    end
    return held
  end

  -- Another message may have got its name meanwhile: neither may be lost.
  local function put_in_again(id, message, body)
    local was = message[MID]
    while redis.call('HEXISTS', NAMES, message[MID]) == 1 do
      message[MID] = message[MID] .. '#' .. whole(id)
    end
    if message[MID] ~= was then
      notice('message_renamed', id, message[MID], was)
    end
    write('HSET', NAMES, message[MID], id)
    if body then
      write('HSET', BODIES, id, body)
    end
    place(id, message, 'ready', message[ENQUEUED])
  end

  return put_in_again
end)

-- -- the batch --------------------------------------------------------------------------------

-- Return the next instant at which something happens by itself, or the queue hands out again.
local function next_due()
  local due = is_paused(head.paused_until) and head.paused_until ~= -1 and head.paused_until or nil
  for _, agenda in ipairs(DUE) do
    local member = redis.call('ZRANGE', agenda, 0, 0)[1]
    due = earliest(due, member and instant_of(member) or nil)
  end
  return due
end

local all, results = come_back(ASIDE, STEPS_AT_ONCE, function(...)
  others()(...)
end) and advance(), {}
if all then
  results = run(methods, joint)
end

return conclude({
  all = all,
  results = results,
  errand = false,
  sync_after = false,
  statistics = options.statistics and statistics(),
}, function()
  local there = {
    room = options.max_length and math.max(options.max_length - unhandled(), 0) or 0,
    takers = is_paused(head.paused_until) and 0 or redis.call('ZCARD', READY),
    syncs = 0,
  }
  return there, there, next_due()
end)
