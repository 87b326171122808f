-- The usage tap: what llm-rate-limiting needs to see of an LLM's answer, without buffering it.
--
-- A chunk for the `body_filter` list of Kong's bundled post-function plugin, in Kong's default sandbox (no require, no cjson).
-- It runs for every buffer of every answer, so it copies little: a kept byte is copied a few times, whatever the buffers' sizes.
--
-- Model
--   kong.ctx.shared.llm_tap   the provider's body, as the log phase reads it, also after an abort (which never gives an eof):
--     tail    string   its last 64 KiB or more, up to the last fold
--     recent  list     what came after the last fold, in order; absent after eof
--     head    string   its first 16 KiB; absent while tail and recent hold the whole body
--     bytes   number   how many bytes came
--     folded  number   how many of them are folded into tail
--     eof     true     the body ended; absent on abort
--     handle  string   kong.ctx.shared.llm_rate_limiting, and
--     status  number   the answer's status: so that the log phase asks for one table, and for nothing else
--   kong.log's llm            what Kong's log plugins write of a request that llm-rate-limiting counts: model, tenant, and usage, which are
--     the figures that the provider reports, by its own names, once the body has ended
--   kong.ctx.shared.llm_tap_hide_usage = true, set in access by llm-rate-limiting when it asked a stream for its usage:
--     the event that only reports usage (empty choices and a usage object) is dropped before the client sees it.
--
-- Invariants
--   1. Without llm_tap_hide_usage, ngx.arg is only read: assigning it makes nginx buffer a stream where response_buffering is on.
--   2. With it, ngx.arg[1] is assigned only when this call sends other bytes than it got.
--   3. Bytes are held back only while they could still be the usage event, 8 KiB at most, and never beyond eof.
--   4. Memory: twice 64 KiB, 16 KiB, 8 KiB and one buffer.
-- (tests: plugin-server/tests/usage_tap.rs, every rule at every cut)

local TAIL, HEAD, PIECES, HELD = 65536, 16384, 64, 8192

local find, match, sub, concat = string.find, string.match, string.sub, table.concat
local shared, arg = kong.ctx.shared, ngx.arg
local chunk, eof = arg[1] or "", arg[2]

local tap = shared.llm_tap
if not tap then
  local handle = shared.llm_rate_limiting
  tap = {
    tail = "", recent = {}, bytes = 0, folded = 0,
    handle = handle, status = kong.response.get_status(),
  }
  shared.llm_tap = tap
  if handle then
    -- Names with characters that JSON escapes are left out.
    kong.log.set_serialize_value("llm", {
      model = match(handle, '"m":"([^"\\]+)"'), tenant = match(handle, '"t":"([^"\\]+)"'),
    })
  end
end

if chunk ~= "" and tap.recent then
  local recent = tap.recent
  recent[#recent + 1] = chunk
  tap.bytes = tap.bytes + #chunk
end

if tap.recent and (eof or #tap.recent >= PIECES or tap.bytes - tap.folded >= TAIL) then
  local all = tap.tail .. concat(tap.recent)
  if #all > TAIL then
    tap.head = tap.head or sub(all, 1, HEAD)
    all = sub(all, -TAIL)
  end
  tap.tail, tap.folded = all, tap.bytes
  tap.recent = not eof and {} or nil
end
-- Adds the figures of every usage object in text to usage; later ones stand, since all that stream them count up.
local function read_usage(text, usage)
  local at = 1
  while true do
    local first, last = find(text, '"usage', at, true)
    if not first then
      break
    end
    at = last + 1
    -- A name in the text of an answer has escaped quotes.
    local object = sub(text, first - 1, first - 1) ~= "\\" and match(text, '^%a*"%s*:%s*(%b{})', at)
    if object then
      for name, figure in string.gmatch(object, '"([%w_]+)"%s*:%s*(%d+)') do
        usage[name] = tonumber(figure)
      end
      at = at + #object
    end
  end
  -- Ollama has no object for them.
  for name, figure in string.gmatch(sub(text, -1024), '[{,]%s*"([%a_]*eval_count)"%s*:%s*(%d+)') do
    usage[name] = tonumber(figure)
  end
end

if eof and not tap.eof then
  tap.eof = true
  if tap.handle then
    local usage = {}
    if tap.head then
      read_usage(tap.head, usage)
    end
    read_usage(tap.tail, usage)
    kong.log.set_serialize_value("llm.usage", usage)
  end
end

if not shared.llm_tap_hide_usage then
  return
end

-- held: the start of an event that could still be the usage event; edge: while an event that cannot be is passing, its last bytes
-- so far, which may be the first of its separator; off: this is no event stream.
local state = shared.llm_tap_state
if not state then
  state = {}
  shared.llm_tap_state = state
end
if state.off then
  return
end

local data = state.held and state.held .. chunk or chunk
if not state.sse and find(data, "%S") then
  -- An event stream begins with a field's name or a comment; an error in JSON or a compressed body does not.
  if not find(data, "^%s*[deir:]") then
    state.off = true
    if state.held then
      arg[1] = data
    end
    return
  end
  state.sse = true
end

local changed = state.held ~= nil
local kept, from, at = {}, 1, 1
state.held = nil

if state.edge then
  local _, last = find(state.edge .. data, "\n\r?\n")
  if last then
    at = last - #state.edge + 1
    state.edge = nil
  else
    state.edge = sub(state.edge .. data, -3)
    at = #data + 1
  end
end

while at <= #data do
  local _, last = find(data, "\n\r?\n", at)
  local event = sub(data, at, last or -1)
  -- A name in the text of an answer has escaped quotes, so the first in plain ones is the event's own.
  local choices = find(event, '"choices"', 1, true)
  if not last and not eof then
    if #event <= HELD and not (choices and find(event, '^"choices"%s*:%s*%[%s*[^%]%s]', choices)) then
      state.held = event
      kept[#kept + 1] = sub(data, from, at - 1)
      from = #data + 1
      changed = true
    else
      state.edge = sub(event, -3)
    end
    break
  end
  if choices and find(event, '^"choices"%s*:%s*%[%s*%]', choices) and find(event, '"usage"%s*:%s*{') then
    kept[#kept + 1] = sub(data, from, at - 1)
    from = (last or #data) + 1
    changed = true
  end
  at = (last or #data) + 1
end

if changed then
  kept[#kept + 1] = sub(data, from)
  local out = concat(kept)
  if out ~= chunk then
    arg[1] = out
  end
end
