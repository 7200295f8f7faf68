-- Removes a queue, whatever its kind, and tells all who wait for it elsewhere: what they wait for may
-- come anew, and they are not noted any more.
--
-- ARGV: the session's number of this, milliseconds that a session is remembered, and the channel, at
-- which each session has its own. KEYS: as those of a queue's script.

local SESSION, seq = KEYS[1], tonumber(ARGV[1])
if tonumber(redis.call('HGET', SESSION, 'seq') or 0) >= seq then
  return {} -- it was sent again: its answer got lost
end

local waiting = {}
for index = 3, 5 do -- for room, for messages, and for refills
  for _, session in ipairs(redis.call('ZRANGE', KEYS[index], 0, -1)) do
    waiting[session] = true
  end
end
redis.call('UNLINK', unpack(KEYS, 2))
redis.call('HSET', SESSION, 'seq', seq, 'reply', cmsgpack.pack({}))
redis.call('PEXPIRE', SESSION, ARGV[2])
for session in pairs(waiting) do
  redis.call('SPUBLISH', ARGV[3] .. session, '')
end
return {}
