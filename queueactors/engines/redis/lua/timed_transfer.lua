-- How the messages of a timed queue are read and written; keys as in `timed.lua`.

local MESSAGES, BODIES = KEYS[6], KEYS[7]
local READY, DELAYED, RESERVED, HOLDERS = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local BURIED, DEAD, LETTERS, ASIDE = KEYS[12], KEYS[13], KEYS[14], KEYS[17]

kind.facts = { 'next_id', 'last_key', 'synced_at', 'paused_until' }

function kind.length()
  return redis.call('HLEN', MESSAGES) + redis.call('HLEN', LETTERS) + redis.call('HLEN', ASIDE)
end

function kind.numbers(cursor)
  return fields_of({ MESSAGES, LETTERS, ASIDE }, cursor)
end

local function read_letter(id)
  local letter = cmsgpack.unpack(redis.call('HGET', LETTERS, id))
  return {
    id, answer_value(letter[5]), 'dead', answer_value(letter[4]), letter[3], letter[6] or letter[3],
    letter[1], 0, letter[7] or 0, letter[2],
  }
end

-- Return the messages of some numbers, as many as there is room for.
function kind.read(ids)
  local rows, size = {}, 0
  for index, id in ipairs(ids) do
    if size >= SIZE then
      break
    end
    local message, body = known_of(id, ASIDE)
    if message then
      rows[index] = {
        id, answer_value(body), message[1], answer_value(message[2]), message[3], message[4],
        message[5], message[6], message[7], message[8] or false,
      }
    else
      rows[index] = read_letter(id)
    end
    size = size + #values[rows[index][2]]
  end
  return rows
end

-- Which values are there is made known to a queue with unique values when it is used.
function kind.begin()
  redis.call('HSET', HEAD, 'initial', '1', 'unindexed', '0')
end

function kind.write(rows)
  local messages, bodies, holders = {}, {}, {}
  local ready, delayed, reserved, buried, dead, letters = {}, {}, {}, {}, {}, {}
  for _, row in ipairs(rows) do
    local id, body, state, priority = row[1], ARGV[row[2]], row[3], ARGV[row[4]]
    local inserted, ready_at, attempt, key = row[5], row[6], row[7], row[8]
    local deadline, error = row[9], row[10]
    if state == 'dead' then
      local letter = { attempt, error, inserted, priority, body, ready_at, deadline }
      add(letters, id, cmsgpack.pack(letter))
      add(dead, 0, pair(0, id))
    else
      local message = { state, priority, inserted, ready_at, attempt, key, deadline }
      message[8] = error or nil
      add(messages, id, cmsgpack.pack(message))
      add(bodies, id, body)
      if state == 'ready' then
        add(ready, 0, priority .. pair(ready_at, id))
      elseif state == 'delayed' then
        add(delayed, ready_at, pair(ready_at, id))
      elseif state == 'reserved' then
        add(reserved, deadline, pair(key, id))
      else
        add(buried, id, pair(0, id))
      end
      if key ~= 0 and (state == 'ready' or state == 'reserved') then
        add(holders, key, id)
      end
    end
  end
  call('HSET', MESSAGES, messages)
  call('HSET', BODIES, bodies)
  call('HSET', HOLDERS, holders)
  call('HSET', LETTERS, letters)
  call('ZADD', READY, ready)
  call('ZADD', DELAYED, delayed)
  call('ZADD', RESERVED, reserved)
  call('ZADD', BURIED, buried)
  call('ZADD', DEAD, dead)
end

return carry_out()
