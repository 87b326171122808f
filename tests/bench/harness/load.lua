-- wrk's side of one run: wrk -s load.lua URL -- STATUS [METHOD BODY]
-- Without a `request` function wrk formats the request once, and without a `response` function it counts statuses by itself, 400 and above
-- as errors: so its own work hardly counts. Only where a refusal is expected must each answer be looked at.

local SUCCESS = 200
local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
end

function init(arguments)
   local expected = tonumber(arguments[1])
   if expected ~= SUCCESS then
      others = 0
      function response(status)
         if status ~= expected then
            others = others + 1
         end
      end
   end
   if arguments[2] then
      wrk.method = arguments[2]
      wrk.body = arguments[3]
      wrk.headers["Content-Type"] = "application/json"
   end
end

-- The last line of wrk's output, for load.py.
function done(summary, latency)
   local errors, unexpected = summary.errors, nil
   for _, thread in ipairs(threads) do
      local others = thread:get("others")
      unexpected = others and (unexpected or 0) + others
   end
   io.write(string.format(
      '\n{"requests": %d, "microseconds": %d, "unexpected": %d, "broken": %d, "p50_microseconds": %d, "p99_microseconds": %d}\n',
      summary.requests, summary.duration, unexpected or errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99)
   ))
end
