-- Closes a reservation with what was really spent.
--
-- # Model
--
-- KEYS  the reservation's record, then each charge's counter
-- ARGV  the moment ('' for the server's), then for each charge what it really cost, or '' to let it stand
-- Reply 1, or 0 if no open reservation has this record
--
-- # Algorithm
--
-- The record is removed first; whoever finds it closes the books. Then for each charge: less spent than charged is given back to
-- where the mark says it was charged, more is charged to the present, above the limit if need be.
--
-- # Invariants
--
-- 1. Settling twice is settling once: without a record nothing is written.
-- 2. A record of other counters is not touched: a reservation closes exactly its own charges.

local now = moment(ARGV[1])
local record = redis.call('GET', KEYS[1])
if not record then
  return 0
end

local lines = {}
for line in string.gmatch(record, '[^\n]+') do
  lines[#lines + 1] = line
end
if #lines ~= #KEYS or tonumber(lines[1]) <= now then
  return 0
end

local charges = {}
for i = 2, #lines do
  local fields = {}
  for field in string.gmatch(lines[i], '%S+') do
    fields[#fields + 1] = field
  end
  if fields[1] ~= KEYS[i] then
    return 0
  end
  charges[i - 1] = fields
end

redis.call('DEL', KEYS[1])
for i, fields in ipairs(charges) do
  local actual, charged = tonumber(ARGV[i + 1]), tonumber(fields[4])
  if actual and actual ~= charged then
    local state = counter(fields[1], fields[2], numbers(fields[3]), now, true)
    if actual > charged then
      state:charge(actual - charged, now)
    else
      state:refund(charged - actual, tonumber(fields[5]), tonumber(fields[6]), now)
    end
  end
end
return 1
