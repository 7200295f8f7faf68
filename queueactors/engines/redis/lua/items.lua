-- What the scripts share of those kinds whose queues hold items, which are their values and no more:
-- which of them this runtime can decode.

local KNOWN = {} -- codecs' names, and whether this runtime can decode what is in them

for _, name in ipairs(options.codecs or {}) do
  KNOWN[name] = true
end

-- Return what precedes the value itself: its codec's name; nil: there is none.
local function codec_of(body)
  local stop = string.find(body, '\0', 1, true)
  return stop and string.sub(body, 1, stop - 1)
end

-- Whether this runtime knows the codec of what is kept, as `Values.check` has it.
local function is_known(body)
  local name = codec_of(body)
  if name and KNOWN[name] == nil then
    local bare, letters = name, nil
    repeat
      bare, letters = string.gsub(bare, '^' .. options.letter, '')
    until letters == 0
    KNOWN[name] = KNOWN[bare] or false
  end
  return name and KNOWN[name]
end

-- Tell the log of what has been set aside: its number, if it has one, and its codec's name.
local function notice_aside(id, body)
  local name = codec_of(body)
  local is_name = name and #name < 100 and string.find(name, '^[%w_.:-]*$')
  notice('message_set_aside', id, is_name and name or '?')
end
