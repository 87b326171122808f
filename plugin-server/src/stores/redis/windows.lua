-- One counter of every kind of window: what it holds, when room comes back, charging and giving back. Prepended to each of the
-- commands beside it.
--
-- # Model
--
-- Moments and spans are milliseconds, costs are units; all are integers up to 2^53 - 1, which is what a Lua number holds
-- exactly. A window is its kind and some numbers, written with commas between them:
--
--   s slot_width                       sliding: a hash of slot number -> cost
--   f length                           fixed: a hash of p (the period's start) and u (what it holds)
--   c start start … end                calendar: the same hash; the starts of the previous period, the present one and those to come
--                                      for as long as the caller may need them, and the end of the last
--   b units span                       token bucket from which so many units flow off in so much time: a hash of l (the level, in
--                                      units divided by the span), t (when it was that), c (what was ever charged, modulo 2^53),
--                                      b (when it was made), r and w (the units and the span that l is counted by)
--
-- A state is a counter as it stands at a moment: `used` is what it holds. A mark is two numbers that remember where a charge went.
--
-- # Algorithm
--
-- That of the crate token-limiter, formula by formula: counter/sliding.rs, period.rs, bucket.rs tell it.
--
-- # Invariants
--
-- 1. Every number that is written is an integer: a sum that does not fit saturates.
-- 2. Every key that is written expires a little after it would hold nothing any more: a server that takes over may be behind.
-- 3. The time of a counter never steps back, even if the server's does (a failover): it stands still.
-- (The contract suite of token-limiter holds both implementations to the same answers.)

local LARGEST = 9007199254740991
local LIVE_SLOTS = 31

-- How long a counter outlives what it holds, in milliseconds: more than the clocks of two servers differ.
local GRACE = 60000

local function text(number)
  return string.format('%.0f', number)
end

local function plus(a, b)
  return math.min(a + b, LARGEST)
end

local function expire(key, span)
  redis.call('PEXPIRE', key, text(math.min(math.max(span, 0) + GRACE, LARGEST)))
end

-- The time of the server; or, in tests, the moment that was sent.
local function moment(sent)
  if sent ~= '' then
    return tonumber(sent)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- a * b / c rounded down, and the remainder, exactly even where a * b does not fit. Saturates.
local function divide(a, b, c)
  local product = a * b
  if product <= LARGEST then
    return math.floor(product / c), product % c
  end
  local whole = math.floor(a / c) * b
  if whole > LARGEST then
    return LARGEST, 0
  end
  -- Bit by bit from the top of b: double what there is, and add a where the bit is set. The remainder stays below c.
  a = a % c
  local quotient, rest, bit = 0, 0, 2 ^ 52
  while bit >= 1 do
    quotient = quotient * 2
    if rest >= c - rest then
      rest, quotient = rest - (c - rest), quotient + 1
    else
      rest = rest * 2
    end
    if b >= bit then
      b = b - bit
      if rest >= c - a then
        rest, quotient = rest - (c - a), quotient + 1
      else
        rest = rest + a
      end
    end
    bit = bit / 2
  end
  return plus(whole, quotient), rest
end

local function divide_up(a, b, c)
  local quotient, rest = divide(a, b, c)
  return rest > 0 and plus(quotient, 1) or quotient
end

local kinds = {}

-- Sliding ----------------------------------------------------------------------------------------------------------------

local sliding = {}
sliding.__index = sliding
kinds.s = sliding

function sliding.read(key, window, now)
  local width = window[1]
  local state = setmetatable({ key = key, width = width, used = 0, slots = {}, dead = {} }, sliding)
  state.present = math.floor(now / width)
  local held = redis.call('HGETALL', key)
  for i = 1, #held, 2 do
    state.present = math.max(state.present, tonumber(held[i]))
  end
  for i = 1, #held, 2 do
    local slot, amount = tonumber(held[i]), tonumber(held[i + 1])
    if slot + LIVE_SLOTS > state.present then
      state.slots[slot] = amount
      state.used = plus(state.used, amount)
    else
      state.dead[#state.dead + 1] = held[i]
    end
  end
  return state
end

function sliding:expiry(slot)
  return (slot + LIVE_SLOTS) * self.width
end

-- If the cost does not fit under the ceiling: the first moment at which it will, if nothing more is charged.
function sliding:lacks_room(cost, ceiling)
  local needed = cost - (ceiling - self.used)
  if needed <= 0 then
    return nil
  end
  local freed = 0
  for slot = self.present - LIVE_SLOTS + 1, self.present do
    freed = freed + (self.slots[slot] or 0)
    if freed >= needed then
      return self:expiry(slot)
    end
  end
  return self:expiry(self.present)
end

-- The first moment at which nothing counts any more.
function sliding:clears()
  for slot = self.present, self.present - LIVE_SLOTS + 1, -1 do
    if (self.slots[slot] or 0) > 0 then
      return self:expiry(slot)
    end
  end
  return 0
end

function sliding:set(slot, amount)
  self.slots[slot] = amount
  redis.call('HSET', self.key, text(slot), text(amount))
end

function sliding:charge(cost)
  if #self.dead > 0 then
    redis.call('HDEL', self.key, unpack(self.dead))
    self.dead = {}
  end
  if cost > 0 then
    self:set(self.present, plus(self.slots[self.present] or 0, cost))
    self.used = plus(self.used, cost)
    expire(self.key, LIVE_SLOTS * self.width)
  end
  return self.present, 0
end

function sliding:refund(cost, slot)
  local held = self.slots[slot] or 0
  local taken = math.min(held, cost)
  if taken > 0 then
    self:set(slot, held - taken)
    self.used = self.used - taken
  end
end

-- Takes off what was spent last.
function sliding:remove(cost)
  for slot = self.present, self.present - LIVE_SLOTS + 1, -1 do
    local taken = math.min(self.slots[slot] or 0, cost)
    self:refund(taken, slot)
    cost = cost - taken
  end
end

-- Fixed and calendar -----------------------------------------------------------------------------------------------------

local period = {}
period.__index = period

local function period_at(key, start, ending_of)
  local state = setmetatable({ key = key, start = start, used = 0 }, period)
  local held = redis.call('HMGET', key, 'p', 'u')
  local stored = tonumber(held[1] or -1)
  if stored >= start then
    state.start, state.used = stored, tonumber(held[2])
  end
  state.ending = ending_of(state.start)
  return state
end

kinds.f = {}
function kinds.f.read(key, window, now)
  local length = window[1]
  return period_at(key, math.floor(now / length) * length, function(start)
    return start + length
  end)
end

kinds.c = {}
function kinds.c.read(key, window, now)
  if now < window[1] or now >= window[#window] then
    error('the clocks of this server and its client are more than a period apart')
  end
  local function next_after(moment)
    for _, start in ipairs(window) do
      if start > moment then
        return start
      end
    end
    return window[#window]
  end
  local at = 1
  while window[at + 1] <= now do
    at = at + 1
  end
  return period_at(key, window[at], next_after)
end

function period:lacks_room(cost, ceiling)
  return cost > ceiling - self.used and self.ending or nil
end

function period:clears()
  return self.used > 0 and self.ending or 0
end

function period:write(now)
  redis.call('HSET', self.key, 'p', text(self.start), 'u', text(self.used))
  expire(self.key, self.ending - now)
end

function period:charge(cost, now)
  if cost > 0 then
    self.used = plus(self.used, cost)
    self:write(now)
  end
  return self.start, 0
end

function period:refund(cost, start, _, now)
  if start == self.start and self.used > 0 and cost > 0 then
    self.used = math.max(self.used - cost, 0)
    self:write(now)
  end
end

function period:remove(cost, now)
  self:refund(cost, self.start, 0, now)
end

-- Token bucket -----------------------------------------------------------------------------------------------------------

local bucket = {}
bucket.__index = bucket
kinds.b = bucket

-- With `keep` the counter's own rate stays; otherwise it takes over the one it is read with, if that has changed.
function bucket.read(key, window, now, keep)
  local units, span = window[1], window[2]
  local state = setmetatable({
    key = key, level = 0, at = now, charged = 0, born = now, units = units, span = span,
  }, bucket)
  local held = redis.call('HMGET', key, 'l', 't', 'c', 'b', 'r', 'w')
  if held[1] then
    state.level, state.at = tonumber(held[1]), tonumber(held[2])
    state.charged, state.born = tonumber(held[3]), tonumber(held[4])
    state.units, state.span = tonumber(held[5]), tonumber(held[6])
    if now > state.at then
      state.level = math.max(state.level - (now - state.at) * state.units, 0)
      state.at = now
    end
    if not keep and (state.units ~= units or state.span ~= span) then
      state.level = divide_up(state.level, span, state.span)
      state.units, state.span = units, span
    end
  end
  state:count()
  return state
end

function bucket:count()
  self.used = divide_up(self.level, 1, self.span)
end

function bucket:falls_by(parts)
  if parts <= 0 then
    return self.at
  end
  if self.units == 0 then
    return LARGEST
  end
  return plus(self.at, divide_up(parts, 1, self.units))
end

function bucket:lacks_room(cost, ceiling)
  local lacks = cost * self.span - (ceiling * self.span - self.level)
  return lacks > 0 and self:falls_by(math.min(lacks, LARGEST)) or nil
end

function bucket:clears()
  return self:falls_by(self.level)
end

function bucket:write(now)
  self:count()
  redis.call('HSET', self.key, 'l', text(self.level), 't', text(self.at), 'c', text(self.charged),
    'b', text(self.born), 'r', text(self.units), 'w', text(self.span))
  expire(self.key, self:clears() - now)
end

function bucket:charge(cost, now)
  if cost > 0 then
    self.level = plus(self.level, cost * self.span)
    if cost > LARGEST - self.charged then
      self.charged = cost - (LARGEST - self.charged) - 1
    else
      self.charged = self.charged + cost
    end
    self:write(now)
  end
  return self.born, self.charged
end

function bucket:refund(cost, born, charged, now)
  if born ~= self.born then
    return
  end
  local since = self.charged - charged
  if since < 0 then
    since = LARGEST + since + 1
  end
  local left = math.max(self.level - since * self.span, 0)
  local back = math.min(cost * self.span, left)
  if back > 0 then
    self.level = self.level - back
    self:write(now)
  end
end

function bucket:remove(cost, now)
  self.level = math.max(self.level - cost * self.span, 0)
  self:write(now)
end

-- Any -------------------------------------------------------------------------------------------------------

local function numbers(list)
  local window = {}
  for number in string.gmatch(list, '%d+') do
    window[#window + 1] = tonumber(number)
  end
  return window
end

-- `keep`: what the window says now is not what the limit says, but what it said when something was charged.
local function counter(key, kind, window, now, keep)
  return kinds[kind].read(key, window, now, keep)
end

-- How a counter stands, for the reply: what it holds, and how long until it holds nothing.
local function balance(state, now)
  return state.used, math.max(state:clears() - now, 0)
end
