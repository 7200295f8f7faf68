-- The log queue, as `queueactors.cores.log.LogCore` has it, but without chunks.
--
-- Items have numbers, from 0 on, and those that are there have successive ones. They are in a
-- stream, an item's id being `<number>-1`. When they came is in another stream: one entry
-- `<instant>-<number of the first>` for those that came together. So the first one that has not
-- expired is found by the instant, at once; the room of the others is given back bit by bit.
--
-- KEYS after those of all kinds: the items, when they came, the labels in the order in which they
-- were made, where they stand, dead letters taken over, and the numbers of those items whose codec was
-- not known to who came to them: they are where they were, and are passed over.

local ITEMS, TIMES, LABELS, POSITIONS, TAKEN_OVER = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local ASIDE = KEYS[11]

local PART, PART_SIZE = 1000, 1048576 -- items of one entry of the times, and their bytes, at most
-- What one call gives back, beside twice what came with it: so none that came is left for ever.
local STEPS, ENTRIES, SIZE = 2000, 16, 67108864
local TRIES = 1000 -- items that are passed over in one call, beside those that are asked for
local SOON = 100000 -- microseconds until more is given back, if somebody waits

-- When it was made, items that were ever added, bytes of those that are there, the newest one's
-- instant, labels that were ever made, and removed.
read_head({ 'begun_at', 'added', 'size', 'last_at', 'made', 'removed', 'paused_until', 'aside' }, {})
for _, name in ipairs({ 'added', 'size', 'last_at', 'made', 'removed' }) do
  head[name] = head[name] or 0
end

if head.begun_at == nil then
  set('begun_at', now)
end

local told_all = false

-- Return the instant and the number of an entry of the times.
local function parts_of(id)
  local at, first = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(at), tonumber(first)
end

-- -- what has expired -------------------------------------------------------------------------

-- The last instant of which items have expired; nil: none has.
local expired_at = options.ttl and now > options.ttl and now - options.ttl or nil

-- Return the instant and the number of the first item that came after one; nil: from the beginning.
local function first_after(at)
  local found = redis.call('XRANGE', TIMES, at and whole(at + 1) or '-', '+', 'COUNT', 1)[1]
  if found then
    return parts_of(found[1])
  end
  return nil, head.added
end

-- The first item that is there, and the first that has not expired; without one, the next to come.
local kept_at, kept = first_after()
local begin = kept
if expired_at and kept_at and kept_at <= expired_at then
  begin = select(2, first_after(expired_at))
end

-- Give back the room of some of what has expired.
local function give_back()
  local new = #ARGV - 4
  local old = redis.call('XRANGE', TIMES, '-', whole(expired_at), 'COUNT', ENTRIES + 2 * new)
  local items, size, last = 0, 0, nil
  for _, each in ipairs(old) do
    if items > STEPS + 2 * new or size > SIZE then
      break
    end
    last = each[1]
    items, size = items + each[2][2], size + each[2][4]
  end
  local at, first = parts_of(last)
  kept = kept + items
  write('XTRIM', TIMES, 'MINID', whole(at) .. '-' .. whole(first + 1))
  write('XTRIM', ITEMS, 'MINID', whole(kept))
  set('size', head.size - size)
  if (head.aside or 0) > 0 then
    write('ZREMRANGEBYSCORE', ASIDE, '-inf', '(' .. whole(kept))
    set('aside', redis.call('ZCARD', ASIDE))
  end
  count('expired', items)
end

if kept < begin then
  give_back()
end

-- -- taking in --------------------------------------------------------------------------------

local came = nil -- those items of this call whose instant is still to be written

local function write_times()
  if came then
    local id = whole(head.last_at) .. '-' .. whole(came.first)
    write('XADD', TIMES, id, 'n', came.many, 's', came.size)
    came = nil
  end
end

local methods, joint = {}, {}

function methods.add(operation)
  local first, many, from = operation[3], operation[4], operation[5]
  if was_taken_over(TAKEN_OVER, from) then
    return many
  elseif options.closed then
    return refuse('closed')
  elseif many == 0 then
    return 0
  end
  set('last_at', math.max(now, head.last_at)) -- a server's clock may be set back
  local number, size = head.added, 0
  for index = first, first + many - 1 do
    local body = ARGV[index]
    local bytes = #body - string.find(body, '\0', 1, true) -- behind its codec's name
    redis.call('XADD', ITEMS, whole(number) .. '-1', 'v', body)
    if came and (came.many >= PART or came.size >= PART_SIZE) then
      write_times()
    end
    came = came or { first = number, many = 0, size = 0 }
    came.many, came.size = came.many + 1, came.size + bytes
    number, size = number + 1, size + bytes
  end
  set('added', number)
  set('size', head.size + size)
  told_all = told_all or not is_paused(head.paused_until)
  count('added', many)
  take_over(TAKEN_OVER, from)
  return many
end

joint.add = {
  all = function(operation, many)
    local answer = methods.add(operation)
    return type(answer) == 'table' and {} or times(1, many)
  end,
  one = one_value,
}

-- -- reading ----------------------------------------------------------------------------------

local function pass_over(number, body)
  if redis.call('ZADD', ASIDE, 'NX', number, whole(number)) > 0 then
    dirty = true
    set('aside', (head.aside or 0) + 1)
    notice_aside(number, body)
  end
end

-- Return some items from a number on, and the number behind the last of them.
local function gather(number, limit)
  local bodies, passed = {}, 0
  while number < head.added and #bodies < limit and passed < TRIES do
    local most = math.min(limit - #bodies, head.added - number)
    local found = redis.call('XRANGE', ITEMS, whole(number), '+', 'COUNT', most)
    for _, each in ipairs(found) do
      local body = each[2][2]
      number = parts_of(each[1]) + 1
      if is_known(body) then
        bodies[#bodies + 1] = body
      else
        passed = passed + 1
        pass_over(number - 1, body)
      end
    end
    if #found == 0 then -- somebody else has removed them
      number = head.added
    end
  end
  return bodies, number
end

-- Return where a label stands, or nil; the items; how many it has lost; where it stands, or a new
-- one would; and where it will. The items are not in the answer yet.
local function look(operation)
  local label, start, limit = operation[3], operation[4], operation[5]
  local known = tonumber(redis.call('ZSCORE', POSITIONS, label) or nil)
  local position = known
  if known == nil then
    position = start == 'oldest' and begin or math.max(begin, head.added - 1)
  end
  if is_paused(head.paused_until) then
    return known, {}, 0, position, position
  elseif head.paused_until ~= nil then
    set('paused_until', nil)
  end
  local bodies, after = gather(math.max(begin, position), limit)
  return known, bodies, after - position - #bodies, position, after
end

-- Let a label stand at a position; make it if it is not known.
local function stand(label, known, position)
  if known == nil then
    set('made', head.made + 1)
    write('ZADD', LABELS, head.made, label)
  end
  if known ~= position then
    write('ZADD', POSITIONS, position, label)
  end
end

-- Return the number of the first of some items in the answer, and how many they are.
local function show(bodies)
  local first = #values + 1
  for _, body in ipairs(bodies) do
    answer_value(body)
  end
  return first, #bodies
end

local function hand_out(bodies)
  count('read', #bodies)
  return show(bodies)
end

-- Return a refusal if nothing will come at a position.
local function over(position)
  if options.closed and math.max(position, begin) >= head.added then
    return refuse('closed')
  end
end

-- Whether one who waits has to: after very many items in a row whose codec is not known there may be
-- others, and the label has to get there.
local function is_to_wait(bodies, after)
  return #bodies == 0 and (is_paused(head.paused_until) or after >= head.added)
end

local function next_items(operation, waits)
  local known, bodies, lost, position, after = look(operation)
  if waits and is_to_wait(bodies, after) then
    local refusal = over(after)
    if not refusal then
      stand(operation[3], known, position)
    end
    return refusal or NOT_YET
  end
  stand(operation[3], known, after)
  local first, many = hand_out(bodies)
  return { first, many, lost }
end

local function read(operation, waits)
  local known, bodies, lost, position, after = look(operation)
  local to_wait = waits and is_to_wait(bodies, after)
  local refusal = to_wait and over(after)
  if refusal then
    return refusal
  end
  stand(operation[3], known, position)
  if to_wait then
    return NOT_YET
  end
  local first, many = hand_out(bodies)
  return { first, many, lost, after }
end

function methods.next(operation)
  return next_items(operation, false)
end

function methods.wait_next(operation)
  return next_items(operation, true)
end

function methods.read(operation)
  return read(operation, false)
end

function methods.wait_read(operation)
  return read(operation, true)
end

function methods.commit(operation)
  local label, position = operation[3], operation[4]
  local known = tonumber(redis.call('ZSCORE', POSITIONS, label) or nil)
  if known == nil or position < known or position > head.added then
    return refuse('position', known or false, head.added)
  end
  stand(label, known, position)
  return position - known
end

-- Show the oldest items, to nobody: all labels stay where they are.
function methods.peek(operation)
  local bodies = gather(begin, operation[3])
  return { show(bodies) }
end

local function statistics()
  local length, slowest = head.added - begin, select(2, first_of(POSITIONS))
  return {
    length = length,
    ['end'] = head.added,
    labels = redis.call('ZCARD', LABELS),
    behind = slowest and math.min(head.added - slowest, length),
    disk_size = head.size,
    set_aside = head.aside or 0,
    expired = begin - kept, -- and not counted yet
    closed = options.closed or false,
    paused = is_paused(head.paused_until),
  }
end

methods.statistics = telling(statistics)

-- -- what is asked for seldom -----------------------------------------------------------------

made_late(methods, function()
  -- Labels.

  function methods.labels()
    return redis.call('ZRANGE', LABELS, 0, -1)
  end

  function methods.remove_label(operation)
    if write('ZREM', LABELS, operation[3]) == 0 then
      return false
    end
    write('ZREM', POSITIONS, operation[3])
    set('removed', head.removed + 1)
    told_all = true -- who waits with it begins anew
    return true
  end

  -- The whole queue.

  function methods.clear()
    local expired, held = begin - kept, head.added - begin
    if expired + held > 0 then
      came = nil
      write('UNLINK', ITEMS, TIMES, ASIDE)
      set('size', 0)
      set('aside', nil)
      kept, begin = head.added, head.added
      count('expired', expired)
      count('cleared', held)
    end
    return held
  end

  for _, name in ipairs({ 'pause', 'resume' }) do
    local switch = methods[name]
    methods[name] = function(operation)
      told_all = true -- who waits elsewhere learns of it, and when it ends
      return switch(operation)
    end
  end

  function methods.length()
    return head.added - begin
  end

  function methods.disk_size()
    return head.size
  end
end)

-- -- the batch --------------------------------------------------------------------------------

-- What is equal as long as nothing has come that a reader may wait for.
local function news()
  return table.concat({
    whole(head.begun_at), -- it may have been dropped, and made again
    is_paused(head.paused_until) and 'paused' or whole(head.added),
    whole(head.removed),
    options.closed and whole(begin) or '',
  }, ' ')
end

if options.begins and head.aside then -- it may know them
  write('UNLINK', ASIDE)
  set('aside', nil)
end

local heard = redis.call('HGET', SESSION, 'heard') -- by all of this session who wait

local all, results = true, {}
if lanes.takers and lanes.takers.more > 0 and heard ~= news() then
  all = false -- there may be something for those who are not here: they come first
else
  results = run(methods, joint, heard == news())
end
write_times()

local due
if waiting('takers') > 0 then
  if all and heard ~= news() then
    write('HSET', SESSION, 'heard', news())
  end
  if is_paused(head.paused_until) and head.paused_until ~= -1 then
    due = head.paused_until
  end
  if options.closed and options.ttl and begin < head.added then -- then nothing is left
    due = earliest(due, head.last_at + options.ttl)
  end
  if kept < begin then
    due = earliest(due, now + SOON)
  end
elseif heard then
  write('HDEL', SESSION, 'heard')
end

return conclude({
  all = all,
  results = results,
  errand = false,
  sync_after = false,
  statistics = options.statistics and statistics(),
}, function()
  -- All who read elsewhere are told of whatever they may wait for. So there is nothing to stand in for
  -- if one of them does not come: it keeps nobody from reading.
  return {
    room = 0,
    takers = told_all and redis.call('ZCARD', WAITING.takers) or 0,
    syncs = 0,
  }, nil, due
end)
