-- wrk: the right code of another verification with every request; the list is read from a file, by each thread its share
-- of the lines. Behind its end nothing is found, which is an error. No response(): it would slow wrk, and wrk counts the
-- answers that are not 2xx anyway.
local counter = 0
local list = {}

function setup(thread)
  threads = (threads or 0) + 1
  thread:set("thread", threads)
end

function init(args)
  headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("BENCH_API_KEY") }
  local line, all = 0, tonumber(os.getenv("BENCH_THREADS"))
  for id, code in io.open(os.getenv("BENCH_CODES")):read("*a"):gmatch("(%S+) (%S+)\n") do
    line = line + 1
    if line % all == thread % all then list[#list + 1] = { id, code } end
  end
end

function request()
  counter = counter + 1
  local one = list[counter] or { "beyond-the-list", "000000" }
  return wrk.format("POST", "/v1/verifications/" .. one[1] .. "/check", headers, '{"code":"' .. one[2] .. '"}')
end
