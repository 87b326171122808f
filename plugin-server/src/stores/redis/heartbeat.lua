-- Says that this process is alive, and counts who is.
--
-- # Model
--
-- KEYS  a sorted set of processes by when they were last heard, in milliseconds
-- ARGV  this process, and after how many milliseconds of silence another is taken for gone
-- Reply how many processes are alive, this one among them

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
