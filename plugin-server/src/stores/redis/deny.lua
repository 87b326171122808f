-- Denies something, or denies it more firmly.
--
-- # Model
--
-- KEYS  the entries by key, and a sorted set of when each may go, in seconds
-- ARGV  the moment (empty: the server's), the entry's key, end, mark, making and text, the seconds that it stays beyond its end, and
--       how many entries there may be
-- Reply the entry as it is kept then, or nothing where there is no room
--
-- # Invariants
--
-- 1. The later end and the larger mark stay.
-- 2. What may go goes first; nothing else ever makes room.

local now = ARGV[1] == '' and tonumber(redis.call('TIME')[1]) or math.floor(tonumber(ARGV[1]) / 1000)
local key, ends, mark, made, text = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local grace, most = tonumber(ARGV[7]), tonumber(ARGV[8])

local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)
if #over > 0 then
  redis.call('HDEL', KEYS[1], unpack(over))
  redis.call('ZREM', KEYS[2], unpack(over))
end

local known = redis.call('HGET', KEYS[1], key)
if known then
  local known_ends, known_mark = string.match(known, '^(%d+) (%d+) ')
  ends = math.max(ends, tonumber(known_ends))
  mark = math.max(mark, tonumber(known_mark))
elseif redis.call('HLEN', KEYS[1]) >= most then
  return false
end

local entry = string.format('%.0f %.0f ', ends, mark) .. made .. ' ' .. text
redis.call('HSET', KEYS[1], key, entry)
redis.call('ZADD', KEYS[2], string.format('%.0f', ends + grace), key)
local last = tonumber(redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
for _, name in ipairs(KEYS) do
  redis.call('EXPIREAT', name, string.format('%.0f', last))
end
return entry
