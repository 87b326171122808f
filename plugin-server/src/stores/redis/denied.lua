-- Lists what is denied, what may go last first.
--
-- # Model
--
-- KEYS  the entries by key, and a sorted set of when each may go, in seconds
-- ARGV  the moment (empty: the server's), how many entries to pass over, and how many to list
-- Reply how many there are, and a list of keys, each followed by its entry

local now = ARGV[1] == '' and tonumber(redis.call('TIME')[1]) or math.floor(tonumber(ARGV[1]) / 1000)
local after = string.format('(%.0f', now)
local keys = redis.call('ZREVRANGEBYSCORE', KEYS[2], '+inf', after, 'LIMIT', ARGV[2], ARGV[3])
local listed = {}
if #keys > 0 then
  local entries = redis.call('HMGET', KEYS[1], unpack(keys))
  for at, key in ipairs(keys) do
    if entries[at] then
      listed[#listed + 1] = key
      listed[#listed + 1] = entries[at]
    end
  end
end
return { redis.call('ZCOUNT', KEYS[2], after, '+inf'), listed }
