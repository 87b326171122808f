-- Denies something no more.
--
-- # Model
--
-- KEYS  the entries by key, and a sorted set of when each may go
-- ARGV  the moment, which does not matter, and the entry's key
-- Reply the entry as it was, or nothing

local entry = redis.call('HGET', KEYS[1], ARGV[2])
if entry then
  redis.call('HDEL', KEYS[1], ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return entry
