-- The capacity queue, as `queueactors.cores.capacity.CapacityCore` has it, but without chunks.
--
-- KEYS after those of all kinds: the items, oldest first, dead letters taken over, and those items
-- that are set aside, likewise: their codec was not known to who came to them.

local ITEMS, TAKEN_OVER, ASIDE = KEYS[6], KEYS[7], KEYS[8]

local STEPS = 1000 -- items that come back in one call
local TRIES = 1000 -- items that are set aside in one call, beside those that are asked for

read_head({ 'max_elements', 'size', 'paused_until', 'aside', 'coming_back' }, {})
head.size = head.size or 0 -- bytes of all items, without their codecs' names
if head.max_elements == nil then
  set('max_elements', options.max_elements)
elseif options.begins and head.max_elements ~= options.max_elements then
  notice('capacity_kept', head.max_elements, options.max_elements)
end

local length = redis.call('LLEN', ITEMS)
local made_room, told_all = false, false

-- Return how many bytes an item has, behind its codec's name.
local function size_of(body)
  return #body - (string.find(body, '\0', 1, true) or 0)
end

local methods, joint = {}, {}

-- -- taking in --------------------------------------------------------------------------------

local function push(first, many, in_turn)
  if options.closed then
    return refuse('closed')
  end
  local room = math.max(head.max_elements - length, 0)
  local crowded = many > 0 and not in_turn and waiting('room') > 0
  if many > room or crowded then
    return refuse('full', many, not crowded and room, head.max_elements)
  elseif many == 0 then
    return 0
  end
  local bodies, size = {}, head.size
  for index = 1, many do
    bodies[index] = ARGV[first + index - 1]
    size = size + size_of(bodies[index])
  end
  call('RPUSH', ITEMS, bodies)
  set('size', size)
  length = length + many
  count('pushed', many)
  return many
end

function methods.push(operation)
  return push(operation[3], operation[4], false)
end

joint.push = {
  all = function(operation, many)
    local answer = push(operation[3], many, false)
    return type(answer) == 'table' and {} or times(1, many)
  end,
  one = one_value,
}

function methods.wait_push(operation)
  local first, many, from = operation[3], operation[4], operation[5]
  if was_taken_over(TAKEN_OVER, from) then
    return many
  end
  local answer = push(first, many, true)
  if type(answer) == 'table' then
    local never_fits = many > head.max_elements
    return (options.closed or never_fits) and answer or NOT_YET
  end
  take_over(TAKEN_OVER, from)
  return answer
end

-- -- handing out ------------------------------------------------------------------------------

-- Take out items of known codecs, and set aside what is before them in others.
local function take(limit)
  local bodies, aside, size = {}, {}, head.size
  while #bodies < limit and length > 0 and #aside < TRIES do
    local some = write('LPOP', ITEMS, math.min(limit - #bodies, length))
    length = length - #some
    for _, body in ipairs(some) do
      size = size - size_of(body)
      if is_known(body) then
        bodies[#bodies + 1] = body
      else
        aside[#aside + 1] = body
        notice_aside(false, body)
      end
    end
  end
  if #aside > 0 then
    call('RPUSH', ASIDE, aside)
    set('aside', (head.aside or 0) + #aside)
  end
  if #bodies + #aside > 0 then
    made_room = true
    set('size', size)
  end
  return bodies
end

function methods.pop(operation)
  if options.closed and length == 0 then
    return refuse('closed')
  end
  local bodies = {}
  if not is_paused(head.paused_until) then
    if head.paused_until ~= nil then
      set('paused_until', nil)
    end
    if length > 0 then
      bodies = take(operation[3])
    end
  end
  if #bodies == 0 then
    return operation[2] and NOT_YET or { 1, 0 }
  end
  local first = #values + 1
  for _, body in ipairs(bodies) do
    answer_value(body)
  end
  count('popped', #bodies)
  return { first, #bodies }
end

-- Show the oldest items; they stay.
function methods.peek(operation)
  local first = #values + 1
  local bodies = redis.call('LRANGE', ITEMS, 0, math.min(operation[3], length) - 1)
  for _, body in ipairs(bodies) do
    if is_known(body) then
      answer_value(body)
    end
  end
  return { first, #values + 1 - first }
end

-- -- the whole queue --------------------------------------------------------------------------

function methods.clear()
  local held = length
  if held > 0 then
    write('UNLINK', ITEMS)
    set('size', 0)
    length, made_room = 0, true
    count('cleared', held)
  end
  return held
end

add_switches(methods)
local pause = methods.pause

function methods.pause(operation)
  told_all = true -- who waits elsewhere learns when it ends
  return pause(operation)
end

function methods.resize(operation)
  made_room = true
  set('max_elements', operation[3])
  return false
end

function methods.length()
  return length
end

function methods.is_empty()
  return length == 0
end

function methods.payload_size()
  return head.size
end

methods.disk_size = methods.payload_size

local function statistics()
  return {
    length = length,
    max_elements = head.max_elements,
    payload_size = head.size,
    set_aside = head.aside or 0,
    closed = options.closed or false,
    paused = is_paused(head.paused_until),
  }
end

methods.statistics = telling(statistics)

-- -- the batch --------------------------------------------------------------------------------

-- Let some of what was set aside come back, before all others: its codec may be known to a runtime that
-- begins; return whether that was all.
local function come_back_first()
  if options.begins and (head.aside or 0) > 0 then
    set('coming_back', head.aside)
  end
  if not head.coming_back then
    return true
  end
  local some, size = write('RPOP', ASIDE, math.min(STEPS, head.coming_back)) or {}, head.size
  for _, body in ipairs(some) do
    size = size + size_of(body)
  end
  call('LPUSH', ITEMS, some)
  length = length + #some
  set('size', size)
  set('aside', head.aside - #some)
  set('coming_back', #some == STEPS and head.coming_back > STEPS and head.coming_back - STEPS or nil)
  return head.coming_back == nil
end

local all, results = come_back_first(), {}
if all then
  results = run(methods, joint)
end

local paused = is_paused(head.paused_until)
local takers = paused and 0 or length
-- Not whenever there is room: who needs more than that would be told again and again. Who is told
-- and has left passes it on.
local told_room = made_room or (options.waits.room and waiting('room') == 0)

return conclude({
  all = all,
  results = results,
  errand = false,
  again_at = waiting('takers') > 0 and takers > 0 and now or nil, -- after so many that were set aside
  sync_after = false,
  statistics = options.statistics and statistics(),
}, function()
  local room = math.max(head.max_elements - length, 0)
  return {
    room = told_room and room or 0,
    takers = told_all and redis.call('ZCARD', WAITING.takers) or takers,
    syncs = 0,
  }, { room = room, takers = takers }, paused and head.paused_until ~= -1 and head.paused_until or nil
end)
