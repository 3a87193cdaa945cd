-- wrk: a start for another number, from another address, with every request. No response(): it would slow wrk, and
-- wrk counts the answers that are not 2xx anyway.
local counter = 0
local base

function setup(thread)
  threads = (threads or 0) + 1
  thread:set("thread", threads)
end

function init(args)
  math.randomseed(os.time() * 10 + thread)
  base = math.random(0, 8999999)
  headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("BENCH_API_KEY") }
end

function request()
  counter = counter + 1
  local number = (base + counter * 2 + thread) % 10000000
  local body = string.format('{"to":"+92%d%07d","client_ip":"10.%d.%d.%d"}', 300 + counter % 30, number,
    math.random(0, 255), math.random(0, 255), math.random(1, 254))
  return wrk.format("POST", "/v1/verifications", headers, body)
end
