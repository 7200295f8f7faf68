-- How the items and labels of a log queue are read and written; keys as in `log.lua`.

local ITEMS, TIMES, LABELS, POSITIONS = KEYS[6], KEYS[7], KEYS[8], KEYS[9]

kind.facts = { 'added', 'paused_until' }

function kind.length()
  return redis.call('XLEN', ITEMS) + redis.call('ZCARD', LABELS)
end

local function parts_of(id)
  local first, second = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(first), tonumber(second)
end

local function read_labels(first)
  local names, shown = redis.call('ZRANGE', LABELS, first, first + PAGE - 1), {}
  for index, name in ipairs(names) do
    shown[index] = { answer_value(name), tonumber(redis.call('ZSCORE', POSITIONS, name)) }
  end
  return shown
end

-- Return some items: for those that came together when that was, the number of the first, of its
-- value, and how many they are. Or some labels, if asked for from which one on.
function kind.read(argument)
  if argument[1] == 'labels' then
    return read_labels(argument[2])
  end
  local after, items, size, rows = argument[2], 0, 0, {}
  for _, each in ipairs(redis.call('XRANGE', TIMES, after, '+', 'COUNT', 100)) do
    if #rows > 0 and (items >= PAGE or size >= SIZE) then
      break
    end
    local at, first = parts_of(each[1])
    local many = tonumber(each[2][2])
    local found = redis.call('XRANGE', ITEMS, whole(first) .. '-1', '+', 'COUNT', many)
    rows[#rows + 1] = { at, first, #values + 1, many, each[1] }
    for _, item in ipairs(found) do
      answer_value(item[2][2])
    end
    items, size = items + many, size + tonumber(each[2][4])
  end
  return rows
end

function kind.begin()
  redis.call('HSET', HEAD, 'begun_at', whole(now), 'size', '0')
end

-- A row of items: the number of the first, when they came, the first value, how many there are, and
-- how many bytes. Of a label: its name, and where it stands.
function kind.write(rows)
  local head = head_of({ 'last_at', 'made', 'added' })
  local last_at, made, size = tonumber(head.last_at or 0), tonumber(head.made or 0), 0
  for _, row in ipairs(rows) do
    if #row == 2 then
      made = made + 1
      redis.call('ZADD', LABELS, made, row[1])
      redis.call('ZADD', POSITIONS, row[2], row[1])
    else
      local first, at, value, many = row[1], row[2], row[3], row[4]
      last_at = math.max(at, last_at) -- as in a stream
      for index = 0, many - 1 do
        redis.call('XADD', ITEMS, whole(first + index) .. '-1', 'v', ARGV[value + index])
      end
      local id = whole(last_at) .. '-' .. whole(first)
      redis.call('XADD', TIMES, id, 'n', many, 's', row[5])
      size = size + row[5]
    end
  end
  redis.call('HSET', HEAD, 'last_at', whole(last_at), 'made', whole(made))
  redis.call('HINCRBY', HEAD, 'size', whole(size))
end

return carry_out()
