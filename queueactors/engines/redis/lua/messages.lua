-- What the scripts share of those kinds whose queues hold messages: each has a number, and is two
-- entries of hashes, what it is and its value.

local MESSAGES, BODIES = KEYS[6], KEYS[7]

-- Return the second number of a member, see `pair`.
local function second_of(member)
  return (struct.unpack('>I8', member, 9))
end

local function message_of(id)
  local packed = redis.call('HGET', MESSAGES, id)
  return packed and cmsgpack.unpack(packed)
end

local function messages_of(ids)
  local found = {}
  for index, packed in ipairs(fields(MESSAGES, ids)) do
    found[index] = packed and cmsgpack.unpack(packed)
  end
  return found
end

local function save(id, message)
  write('HSET', MESSAGES, id, cmsgpack.pack(message))
end

-- What a runtime cannot decode is set aside: nobody gets it, and it counts for nothing. Messages come
-- back when a runtime begins with the queue: it may know their codec. `ASIDE` is a hash: by number, a
-- message and its value.
local function set_aside(ASIDE, id, message, body)
  write('HSET', ASIDE, id, cmsgpack.pack({ message, body }))
  set('aside', (head.aside or 0) + 1)
end

-- Let some of what was set aside come back by `put`; return whether that was all.
local function come_back(ASIDE, most, put)
  if options.begins and (head.aside or 0) > 0 and not head.coming_back then
    set('coming_back', '0')
  end
  if not head.coming_back then
    return true
  end
  local found = redis.call('HSCAN', ASIDE, head.coming_back, 'COUNT', most)
  local ids = {}
  for index = 1, #found[2], 2 do
    ids[#ids + 1] = found[2][index]
    put(tonumber(found[2][index]), unpack(cmsgpack.unpack(found[2][index + 1])))
  end
  call('HDEL', ASIDE, ids)
  set('aside', head.aside - #ids)
  set('coming_back', found[1] ~= '0' and found[1] or nil)
  return head.coming_back == nil
end
