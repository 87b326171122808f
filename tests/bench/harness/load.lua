-- wrk's side of one run: wrk -s load.lua URL -- [METHOD BODY]
-- Without a `request` function wrk formats the request once, so that its own work hardly counts.

function init(arguments)
   if arguments[1] then
      wrk.method = arguments[1]
      wrk.body = arguments[2]
      wrk.headers["Content-Type"] = "application/json"
   end
end

-- The last line of wrk's output, for load.py.
function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50_microseconds": %d, "p99_microseconds": %d}\n',
      summary.requests, summary.duration, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99)
   ))
end
