-- How counters stand. Writes nothing.
--
-- # Model
--
-- KEYS  the counters
-- ARGV  the moment ('' for the server's), then for each counter two: kind and the window's numbers
-- Reply for each counter two: what it holds, and how long until it holds nothing

local now = moment(ARGV[1])
local reply = {}
for i, key in ipairs(KEYS) do
  local at = 2 * i
  local used, reset = balance(counter(key, ARGV[at], numbers(ARGV[at + 1]), now), now)
  reply[#reply + 1] = used
  reply[#reply + 1] = reset
end
return reply
