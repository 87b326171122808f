-- Charges every limit of a request, or none, and remembers the charges until they are settled.
--
-- # Model
--
-- KEYS  the reservation's record, then each charge's counter
-- ARGV  the moment ('' for the server's), the lease, '1' to decide without charging, then for each charge five: kind, cost,
--       ceiling, '1' if it is enforced, and the window's numbers
-- Reply granted (1 or 0), the binding charge (from 1; 0 if granted), how long until the request passes; then for each charge three:
--       what the counter holds, how long until it holds nothing, and whether the charge exceeds its ceiling
--
-- # Algorithm
--
-- 1. Every counter is brought to the present. A charge exceeds if what is held and its cost are more than its ceiling.
-- 2. An enforced charge that exceeds refuses the request; the one whose room comes back last binds.
-- 3. Nothing refused: every counter is charged, and the record is written, one line a charge: key, kind, window, cost, mark.
--
-- # Invariants
--
-- 1. A refused request writes nothing. 2. The record lives as long as the lease, by the server's clock and by the moments sent.

local WIDTH = 5
local now = moment(ARGV[1])
local lease = tonumber(ARGV[2])
local states, costs, exceeds = {}, {}, {}
local binding, passes = 0, 0

for i = 1, #KEYS - 1 do
  local at = 4 + (i - 1) * WIDTH
  local cost, ceiling = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local state = counter(KEYS[i + 1], ARGV[at], numbers(ARGV[at + 4]), now)
  states[i], costs[i] = state, cost
  local frees = state:lacks_room(cost, ceiling)
  exceeds[i] = frees and 1 or 0
  if frees and frees > passes and ARGV[at + 3] == '1' then
    binding, passes = i, frees
  end
end

local granted = binding == 0
if granted and ARGV[3] ~= '1' then
  local record = { text(now + lease) }
  for i, state in ipairs(states) do
    local at = 4 + (i - 1) * WIDTH
    local first, second = state:charge(costs[i], now)
    record[i + 1] = table.concat({
      KEYS[i + 1], ARGV[at], ARGV[at + 4], ARGV[at + 1], text(first), text(second),
    }, ' ')
  end
  redis.call('SET', KEYS[1], table.concat(record, '\n'), 'PX', text(math.max(lease, 1)))
end

local reply = { granted and 1 or 0, binding, granted and 0 or math.max(passes - now, 1) }
for i, state in ipairs(states) do
  local used, reset = balance(state, now)
  reply[#reply + 1] = used
  reply[#reply + 1] = reset
  reply[#reply + 1] = exceeds[i]
end
return reply
