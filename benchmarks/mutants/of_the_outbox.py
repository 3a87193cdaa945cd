"""Defects of the outbox: what goes into its queues, and who takes what from them."""

from mutant import Mutant, one

TESTS = ("store/test_[oqrstw]*.py", "store/test_dead_letters.py", "store/test_leases.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "streams-of-any-length": one("dispatch_finish", "'MAXLEN', '~', arg.max_letters, "),
    "streams-of-any-age": one(
        "dispatch_finish", "  redis.call('XTRIM', key.dead_letters, 'MINID', '~', now - arg.max_age)\n"
    ),
    "outbox-of-any-age": one("queues_sweep", "  redis.pcall('XTRIM', queue, 'MINID', '~', now - arg.max_age)\n"),
    "outbox-of-no-age": one("queues_sweep", "now - arg.max_age", "now"),
    "lease-for-ever": one("lease_renew", "redis.call('ZREMRANGEBYSCORE', key.leases, '-inf', now)\n"),
    "lease-in-any-order": one("lease_renew", "table.sort(workers)\n"),
    "queue-unknown": one("include_streams", "redis.call('HINCRBY', queues, queue, 1)", "1"),
    "queue-never-ready": one("include_streams", "redis.call('SADD', ready, queue) == 1", "true"),
    "queue-wakes-nobody": one("include_streams", " then streams.wake(wake) end", " then end"),
    "wake-ups-without-bound": one("include_streams", "  redis.call('LTRIM', wake, 0, 63)\n"),
    "wake-ups-for-ever": one("include_streams", "  redis.call('PEXPIRE', wake, 60000)\n"),
    "job-with-nobody-ahead": one("include_streams", " - 1 - ahead, 'json'", " - 1, 'json'"),
    "job-without-a-place": one(
        "include_streams", "redis.call('HINCRBY', queues, queue, 1) - 1", "redis.call('HINCRBY', queues, queue, 1) * 0"
    ),
    "full-for-any-length": one("include_streams", "  if count >= length then return true, count end\n"),
    "full-one-message-too-late": one("include_streams", "count >= length", "count > length"),
    "full-for-any-age": one("include_streams", "local wait, job = now - ", "local wait, job = 0 * "),
    "full-a-moment-too-late": one("include_streams", "if wait >= longest then", "if wait > longest then"),
    "full-for-all-of-a-life": one("include_streams", "0.75 * life", "life"),
    "full-by-the-newest": one(
        "include_streams",
        "'XRANGE', queue, '-', math.floor(now - least)",
        "'XREVRANGE', queue, math.floor(now - least), '-'",
    ),
    "full-at-any-pace": one("include_streams", "if not job.gone then", "if true then"),
    "full-by-the-pace-of-few-that-left": one("include_streams", "local slow = left >= LEFT", "local slow = left > 0"),
    "full-where-those-behind-do-not-count": one(
        "include_streams", "redis.call('HGET', queues, queue) - count", "redis.call('HGET', queues, queue)"
    ),
    "full-where-those-ahead-do-not-count": one("include_streams", "local left = gone - job.gone", "local left = gone"),
    "full-where-an-old-job-tells-of-no-pace": one(
        "include_streams", "  if not job.gone then return false, count end\n"
    ),
    "full-by-what-was-before-a-pause": one(
        "include_streams",
        "return slow and not moves_again(queue, count, tonumber(job.gone), gone, longest), count",
        "return slow, count",
    ),
    "full-until-a-pace-is-known-after-a-pause": one("include_streams", "return before < left or", "return"),
    "full-never-where-a-worker-has-begun": one("include_streams", "return before < left or", "return true or"),
    "full-where-the-pace-of-now-does-not-count": one(
        "include_streams", "before < left or (now - since) * count / (left - 1) < longest", "before < left"
    ),
    "full-by-no-fresh-pace": one("include_streams", " or now - since > 2000 or", " or"),
    "full-by-the-fresh-pace-of-few": one("include_streams", " or gone - recent < LEFT then", " then"),
    "full-that-looks-at-no-pace": one("include_streams", "longest * LEFT / count or longest", "longest or longest"),
    "held-by-everybody": one("include_streams", "return not pending.err and #pending > 0", "return true"),
    "held-by-whoever-has-it": one("include_streams", "entry, entry, 1, ...)", "entry, entry, 1)"),
    "held-where-nothing-is": one("include_streams", "redis.pcall('XPENDING'", "redis.call('XPENDING'"),
    "take-leaves-turns-unused": one("jobs_take", " or take(1) or take(2) or take(3)"),
    "take-retries-first": one("jobs_take", "{ 1, 2, 1, 1, 2, 1, 3 }", "{ 3, 2, 3, 3, 2, 3, 1 }"),
    "take-no-retries": one("jobs_take", "{ 1, 2, 1, 1, 2, 1, 3 }", "{ 1, 2, 1, 1, 2, 1, 1 }"),
    "take-begins-with-what-comes": one("jobs_take", "'0', 'MKSTREAM'", "'$', 'MKSTREAM'"),
    "take-always-from-the-first-queue": one(
        "jobs_take", "local queue = queues[place[kind]]", "place[kind] = 1 local queue = queues[1]"
    ),
    "take-again-from-the-same-queue": one("jobs_take", "      place[kind] = place[kind] + 1\n"),
    "take-begins-with-the-same-queue": one(
        "jobs_take", "math.floor(start / #TURNS) % math.max(1, #kinds[kind]) + 1", "1"
    ),
    "take-begins-with-the-queue-of-the-turn": one("jobs_take", "math.floor(start / #TURNS) %", "start %"),
    "take-from-a-queue-to-be-left-out": one("jobs_take", "if not left_out[queue] then", "if true then"),
    "take-keeps-empty-queues-ready": one("jobs_take", "    redis.call('SREM', KEYS[ready_of[queue]], queue)\n"),
    "take-forgets-what-is-left": one(
        "jobs_take",
        "      place[kind] = place[kind] + 1\n",
        "      place[kind] = place[kind] + 1\n      redis.call('SREM', KEYS[ready_of[queue]], queue)\n",
    ),
    "take-forgets-what-is-left-out": one(
        "jobs_take",
        "    if not left_out[queue] then",
        "    if left_out[queue] then redis.call('SREM', KEYS[i], queue) else",
    ),
    "take-wakes-nobody": one("jobs_take", "if redis.call('SCARD', KEYS[i]) > 0 then", "if false then"),
    "take-from-one-bucket": one(
        "jobs_take", "for i = key.rest, count do\n  local queues", "for i = key.rest, key.rest do\n  local queues"
    ),
    "take-stops-at-an-empty-queue": one(
        "jobs_take", "    table.remove(queues, place[kind]) --", "    if true then return nil end --"
    ),
    "take-stops-at-what-is-no-queue": one("jobs_take", "redis.pcall('XGROUP'", "redis.call('XGROUP'"),
    "claim-of-the-living": one("jobs_claim", "'IDLE', arg.silent", "'IDLE', 0"),
    "claim-of-nothing": one(
        "jobs_claim", "  for _, queue in ipairs(redis.call('HKEYS', KEYS[i])) do", "  for _, queue in ipairs({}) do"
    ),
    "claim-from-one-queue": one(
        "jobs_claim", "ipairs(redis.call('HKEYS', KEYS[i]))", "ipairs({ redis.call('HKEYS', KEYS[i])[1] })"
    ),
    "claim-from-one-bucket": one("jobs_claim", "for i = key.rest, #KEYS / 2 do", "for i = key.rest, key.rest do"),
    "claim-without-bound": one("jobs_claim", "tonumber(arg.max_jobs) - #jobs", "tonumber(arg.max_jobs)"),
    "claim-for-another": one(
        "jobs_claim", "queue, arg.group, arg.consumer, arg.silent", "queue, arg.group, arg.consumer .. 'x', arg.silent"
    ),
    "claim-leaves-a-lost-group": one("jobs_claim", "if pending.err then redis.call", "if false then redis.call"),
    "renew-of-anothers-job": one(
        "jobs_renew", "if streams.is_held(queue, arg.group, entry, arg.consumer) then", "if true then"
    ),
    "renew-of-nothing": one("jobs_renew", "    redis.call('XCLAIM'", "    local function never() end never('XCLAIM'"),
    "renew-of-one-job": one("jobs_renew", "ARGV[arg.rest + i - key.rest]", "ARGV[arg.rest]"),
    "renew-hands-nothing-back": one("jobs_renew", "entry, 'IDLE', arg.silent, 'JUSTID'", "entry, 'JUSTID'"),
    "sweep-of-what-waits": one("queues_sweep", "if redis.pcall('XLEN', queue) == 0 then", "if true then"),
    "sweep-of-nothing": one("queues_sweep", "if redis.pcall('XLEN', queue) == 0 then", "if false then"),
    "sweep-keeps-the-stream": one("queues_sweep", "    redis.call('DEL', queue)\n"),
    "sweep-keeps-the-name": one("queues_sweep", "    redis.call('HDEL', key.queues, queue)\n"),
    "sweep-keeps-it-ready": one("queues_sweep", "    redis.call('SREM', key.ready, queue)\n"),
    "sweep-of-busy-workers": one("queues_sweep", "consumer.pending == 0 and ", ""),
    "sweep-of-live-workers": one("queues_sweep", " and consumer.idle > tonumber(arg.max_silence)", ""),
    "sweep-stumbles-without-a-group": one("queues_sweep", "redis.pcall('XINFO'", "redis.call('XINFO'"),
    "sweep-of-no-workers": one("queues_sweep", "if consumer.pending == 0", "if false"),
    "requeue-twice": one("jobs_take", "    redis.call('ZREM', delayed, job)\n"),
    "requeue-too-early": one("jobs_take", "'-inf', now,", "'-inf', now + 1,"),
    "requeue-without-bound": one("jobs_take", "'LIMIT', 0, MAX_RETRIES)", "'LIMIT', 0, -1)"),
    "requeue-without-the-application": one("jobs_take", "known.application or ''", "''"),
    "requeue-without-the-country": one("jobs_take", "known.country or ''", "''"),
    "requeue-without-the-channel": one("jobs_take", "known.channel or ''", "''"),
    "requeue-stumbles": one("jobs_take", "pcall(cjson.decode, job)", "true, cjson.decode(job)"),
    "requeue-keeps-its-place": one("include_streams", "  job.gone = nil\n"),
    "requeue-tells-no-wait": one("jobs_take", "tonumber(at) - now or math.huge", "0 or math.huge"),
    "redrive-of-a-final-one": one("dead_letter_redrive", "if status ~= 'pending' then", "if false then"),
    "redrive-of-an-expired-one": one("dead_letter_redrive", "= record.status(verification)", "= verification.status"),
    "redrive-of-an-old-code": one(
        "dead_letter_redrive", "if verification.generation ~= tonumber(arg.generation) then", "if false then"
    ),
    "redrive-twice": one("dead_letter_redrive", "redis.call('XDEL', key.dead_letters, arg.entry)\n"),
    "redrive-of-nothing": one(
        "dead_letter_redrive", " or #redis.call('XRANGE', key.dead_letters, arg.entry, arg.entry) == 0"
    ),
    "redrive-without-a-budget": one(
        "dead_letter_redrive",
        "redis.call('HGET', key.record, 'n' .. arg.message) or 0",
        "0",
    ),
    "redrive-in-silence": one(
        "dead_letter_redrive", "streams.report(key.events", "local function never() end never(key.events"
    ),
}
