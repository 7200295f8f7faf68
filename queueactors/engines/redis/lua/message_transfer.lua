-- How the messages of a message queue are read and written; keys as in `message.lua`.

local MESSAGES, BODIES, NAMES, REQUEUES = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local HOLDERS, ASIDE = KEYS[13], KEYS[16]
local PLACES = { ready = KEYS[10], backoff = KEYS[11], locked = KEYS[12], done = KEYS[14] }

kind.facts = { 'next_id', 'last_key', 'paused_until' }

function kind.length()
  return redis.call('HLEN', MESSAGES) + redis.call('HLEN', ASIDE)
end

function kind.numbers(cursor)
  return fields_of({ MESSAGES, ASIDE }, cursor)
end

-- Return the messages of some numbers, as many as there is room for.
function kind.read(ids)
  local rows, size = {}, 0
  for index, id in ipairs(ids) do
    if size >= SIZE then
      break
    end
    local message, body = known_of(id, ASIDE)
    rows[index] = { id, answer_value(body), unpack(message, 1, 7) }
    size = size + #body
  end
  return rows
end

function kind.begin() end

function kind.write(rows)
  local messages, bodies, names, requeues, holders = {}, {}, {}, {}, {}
  local members = { ready = {}, backoff = {}, locked = {}, done = {} }
  for _, row in ipairs(rows) do
    local id, body, state, mid, key = row[1], ARGV[row[2]], row[3], row[4], row[9]
    local message = { unpack(row, 3, 9) }
    add(messages, id, cmsgpack.pack(message))
    add(bodies, id, body)
    if state == 'requeue' then
      add(requeues, mid, id)
    else
      add(names, mid, id)
      add(members[state], 0, pair(message[4], id))
    end
    if state == 'locked' then
      add(holders, key, id)
    end
  end
  call('HSET', MESSAGES, messages)
  call('HSET', BODIES, bodies)
  call('HSET', NAMES, names)
  call('HSET', REQUEUES, requeues)
  call('HSET', HOLDERS, holders)
  for state, key in pairs(PLACES) do
    call('ZADD', key, members[state])
  end
end

return carry_out()
