-- What wrk sends: 2-event beacons, each event new, of visitors who have their cookies already.
local cookies, sent = {}, 0
local body = '{"trackingId":"shop","eventList":[%s,%s]}'
local event = '{"eventId":"%08x-%04d-4000-8000-%012d","eventType":"view","itemId":"i-%d",'
  .. '"sentAt":1763880000.25,"properties":{"price":"19.90","currency":"EUR","category":"mugs"}}'

function init(args)
  math.randomseed(os.time())
  run = math.random(0, 0x7fffffff)
  for cookie in io.lines(args[1]) do
    cookies[#cookies + 1] = cookie
  end
  wrk.headers["Origin"] = args[2]
  wrk.headers["Content-Type"] = "text/plain;charset=UTF-8"
  wrk.headers["User-Agent"] = args[3]
end

function request()
  sent = sent + 1
  wrk.headers["Cookie"] = cookies[sent % #cookies + 1]
  local first = string.format(event, run, 1, sent, sent % 1000)
  local second = string.format(event, run, 2, sent, sent % 997)
  return wrk.format("POST", "/events", nil, string.format(body, first, second))
end

function done(summary, latency, requests)
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.status + summary.errors.timeout
  ))
end
