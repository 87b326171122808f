-- Changes what counts as spent.
--
-- # Model
--
-- KEYS  the counter; and a mark, if the change must happen once however often it is asked for
-- ARGV  the moment ('' for the server's), 'reset', 'add' or 'remove', how much, kind and the window's numbers, and for how long
--       the mark is kept
-- Reply what the counter holds then, and how long until it holds nothing

local now = moment(ARGV[1])
local kind, window = ARGV[4], numbers(ARGV[5])
local fresh = not KEYS[2] or redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[6])
if fresh then
  if ARGV[2] == 'reset' then
    redis.call('DEL', KEYS[1])
  else
    local state = counter(KEYS[1], kind, window, now)
    if ARGV[2] == 'add' then
      state:charge(tonumber(ARGV[3]), now)
    else
      state:remove(tonumber(ARGV[3]), now)
    end
  end
end
return { balance(counter(KEYS[1], kind, window, now), now) }
