-- How the items of a capacity queue are read and written; keys as in `capacity.lua`.

local ITEMS, ASIDE = KEYS[6], KEYS[8]

kind.facts = { 'max_elements', 'paused_until' }

function kind.length()
  return redis.call('LLEN', ASIDE) + redis.call('LLEN', ITEMS)
end

-- Return how many items come, from one on, the oldest being 0; what is set aside is older.
function kind.read(first)
  local aside = redis.call('LLEN', ASIDE)
  local key = first < aside and ASIDE or ITEMS
  local begin = first < aside and first or first - aside
  local items = redis.call('LRANGE', key, begin, begin + 255)
  for _, body in ipairs(items) do
    answer_value(body)
  end
  return { 1, #items }
end

function kind.begin()
  redis.call('HSET', HEAD, 'size', '0')
end

-- A row: the first of some items, how many there are, and how many bytes.
function kind.write(rows)
  local bodies, size = {}, 0
  for _, row in ipairs(rows) do
    for index = row[1], row[1] + row[2] - 1 do
      bodies[#bodies + 1] = ARGV[index]
    end
    size = size + row[3]
  end
  call('RPUSH', ITEMS, bodies)
  redis.call('HINCRBY', HEAD, 'size', whole(size))
end

return carry_out()
