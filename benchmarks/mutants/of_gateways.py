"""Defects of the choice of a gateway, and of what is known of its health."""

from mutant import Mutant, one

TESTS = ("store/test_health.py", "store/test_routing.py", "services/test_fail_over.py", "services/test_fall_back.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "route-forgets-this-message": one(
        "include_routing", "    if a.of_message ~= b.of_message then return a.of_message < b.of_message end\n"
    ),
    "route-forgets-the-verification": one(
        "include_routing", "    if a.of_others ~= b.of_others then return a.of_others < b.of_others end\n"
    ),
    "route-backwards": one("include_routing", "return a.place < b.place", "return a.place > b.place"),
    "route-calls-twice-in-one-go": one("include_routing", "if not gateway.called then", "if true then"),
    "route-mixes-channels": one("include_routing", " and through == channel then", " then"),
    "route-mixes-messages": one("include_routing", "number == message and of_message or of_others", "of_message"),
    "route-without-last-resort": one("include_routing", "    if resort == 0 then return gateway, 'last_resort' end\n"),
    "route-resorts-to-one-that-was-called": one("include_routing", "gateway.room == 'free' and health", "health"),
    "route-resorts-beside-a-limited-one": one("include_routing", "  if limited then return nil, wait end\n"),
    "route-waits-for-the-last": one("include_routing", "or math.min(wait, blocked)", "or math.max(wait, blocked)"),
    "route-resorts-to-one-without-room": one(
        "include_routing", "gateway.room == 'free' and health", "gateway.room ~= 'called' and health"
    ),
    "route-calls-one-without-room": one(
        "include_routing", "if blocked == 0 and gateway.room == 'free' then", "if blocked == 0 then"
    ),
    "route-passes-over-one-that-answers": one(
        "include_routing", "      if blocked == 0 and gateway.room == 'full' then return nil, ROOM_AGAIN end\n"
    ),
    "route-waits-for-one-that-does-not-answer": one(
        "include_routing", "gateway.room == 'full' then return", "true then return"
    ),
    "route-waits-for-room-beside-an-open-breaker": one(
        "include_routing", "if blocked == 0 and gateway.room == 'full' then", "if gateway.room == 'full' then"
    ),
    "route-asks-for-room-all-the-time": one(
        "include_routing", "blocked, why = ROOM_AGAIN, 'limit'", "blocked, why = 1, 'limit'"
    ),
    "route-waits-not-for-the-resort": one("include_routing", "    if resort then wait = math.min(wait, resort) end\n"),
    "choice-hides-a-retry": one(
        "include_routing", "gateway.of_message > 0 and 'retry' or 'configured'", "'configured'"
    ),
    "choice-hides-the-health": one("include_routing", "  if first.why then return first.why end\n"),
    "choice-hides-a-fail-over": one(
        "include_routing", "(first.called or first.out or first.of_message > gateway.of_message) and", "false and"
    ),
    "choice-hides-an-earlier-round": one("include_routing", " or first.of_message > gateway.of_message)", ")"),
    "choice-hides-errors": one("include_routing", "first.called or first.out or", "first.called or"),
    "route-repeats-errors": one("include_routing", "    if not gateway.out then order", "    if true then order"),
    "route-counts-errors-of-other-messages": one("include_routing", "if number == message and tonumber", "if tonumber"),
    "route-remembers-errors-after-a-redrive": one("include_routing", " and tonumber(dispatch) > after and", " and"),
    "route-rests-when-all-err": one(
        "dispatch", "if not gateway and not choice then return dropped('too_many_errors') end\n"
    ),
    "health-through-an-open-breaker": one(
        "include_health",
        "  if gateway['until'] and now < gateway['until'] then return gateway['until'] - now, 'breaker' end\n",
    ),
    "health-two-probes": one("include_health", "if gateway.probing and now < gateway.probing then", "if false then"),
    "health-marks-no-probe": one(
        "include_health", "  if gateway['until'] then redis.call", "  if false then redis.call"
    ),
    "health-through-a-rest": one("include_health", "if gateway.paused and now < gateway.paused then", "if false then"),
    "health-at-any-rate": one(
        "include_health", "if gateway.per_second > 0 and gateway.turn and exact < gateway.turn then", "if false then"
    ),
    "health-gives-credit": one("include_health", "math.max(gateway.turn or 0, exact)", "(gateway.turn or exact())"),
    "health-any-number-in-flight": one(
        "include_health", "if redis.call('ZCARD', gateway.in_flight) >= gateway.max_in_flight then", "if false then"
    ),
    "health-one-more-in-flight": one(
        "include_health", "gateway.in_flight) >= gateway.max_in_flight", "gateway.in_flight) > gateway.max_in_flight"
    ),
    "health-flies-for-ever": one(
        "include_health",
        "    redis.call('ZREMRANGEBYSCORE', gateway.in_flight, '-inf', now) -- what dead workers left\n",
    ),
    "health-resorts-against-a-opened_by": one(
        "include_health", " or gateway.opened_by then return nil", " then return nil"
    ),
    "health-resorts-again-and-again": one("include_health", "(gateway.probed or 0) + LAST_RESORT - now, ", ""),
    "health-resorts-twice-at-once": one("include_health", ", (gateway.probing or 0) - now, ", ", "),
    "health-resorts-in-a-rest": one("include_health", ", (gateway.paused or 0) - now)", ")"),
    "health-turns-without-life": one(
        "include_health", "    redis.call('PEXPIRE', gateway.hash, math.max(DAY, redis.call('PTTL', gateway.hash)))\n"
    ),
    "health-in_flight-without-life": one("include_health", "    redis.call('PEXPIRE', gateway.in_flight, DAY)\n"),
    "observe-lands-nobody": one(
        "gateway_observe", "if arg.result ~= 'late' then redis.call('ZREM', key.in_flight, arg.dispatch) end\n"
    ),
    "observe-lands-who-is-late": one("gateway_observe", "if arg.result ~= 'late' then redis", "if true then redis"),
    "observe-who-is-late-as-a-good-one": one("gateway_observe", " or arg.result == 'late'\n", "\n"),
    "observe-without-life": one(
        "gateway_observe",
        "redis.call('PEXPIRE', key.health, math.max(milliseconds + 86400000, redis.call('PTTL', key.health)))",
    ),
    "observe-a-rest-never-doubles": one("gateway_observe", "math.min(2 * pause,", "math.min(pause,"),
    "observe-a-rest-without-end": one("gateway_observe", "math.min(2 * pause, tonumber(arg.max_pause))", "2 * pause"),
    "observe-shortens-a-rest": one("gateway_observe", "math.max(now + pause, paused)", "now + pause"),
    "observe-an-old-call-ends-a-rest": one("gateway_observe", "known.pause and rested then", "known.pause then"),
    "observe-never-forgets-a-rest": one(
        "gateway_observe", "if not bad and known.pause and rested then", "if false then"
    ),
    "observe-old-news": one("gateway_observe", "if known.probe ~= arg.dispatch then", "if false then"),
    "observe-never-closes": one(
        "gateway_observe",
        "    redis.call('HDEL', key.health, 'until', 'open_for', 'probe', 'probing', 'probed', 'opened_by')\n",
    ),
    "observe-never-doubles": one(
        "gateway_observe", "math.min(2 * tonumber(known.open_for)", "math.min(tonumber(known.open_for)"
    ),
    "observe-doubles-without-end": one(
        "gateway_observe",
        "math.min(2 * tonumber(known.open_for), tonumber(arg.max_open))",
        "2 * tonumber(known.open_for)",
    ),
    "observe-a-last-resort-doubles": one("gateway_observe", "if now >= tonumber(known['until']) then", "if true then"),
    "observe-a-last-resort-stays": one(
        "gateway_observe", "redis.call('HDEL', key.health, 'probe', 'probing') --", "--"
    ),
    "observe-one-window-for-ever": one("gateway_observe", " or now - since >= tonumber(arg.window)"),
    "observe-no-end-of-a-row": one("gateway_observe", " else run = 0 end", " end"),
    "observe-news-from-before-it-opened": one(
        "gateway_observe", "if now - ARGV[i + 2] >= tonumber(known.opened or 0) then", "if true then"
    ),
    "observe-no-news-from-the-moment-it-opened": one(
        "gateway_observe", "ARGV[i + 2] >= tonumber", "ARGV[i + 2] > tonumber"
    ),
    "observe-forgets-when-it-opened": one("gateway_observe", "open_for, 'opened', now)", "open_for)"),
    "observe-one-of-a-row": one("gateway_observe", "calls = calls + times", "calls = calls + 1"),
    "observe-one-bad-of-a-row": one(
        "gateway_observe", "bad_calls, run = bad_calls + times, run + times", "bad_calls, run = bad_calls + 1, run + 1"
    ),
    "observe-well-by-a-share-of-bad": one("gateway_observe", "if ARGV[i] == 'bad' and (share", "if (share"),
    "observe-who-is-throttled-holds-up-others": one(
        "gateway_observe",
        "  if known['until'] then return reply.unchanged() end\nelseif",
        "  return reply.unchanged()\nelseif",
    ),
    "observe-remembers-a-row": one("gateway_observe", "'since', 'calls', 'bad', 'run')", "'since', 'calls', 'bad')"),
    "observe-a-share-of-few": one("gateway_observe", "calls >= tonumber(arg.min_calls) and ", ""),
    "observe-no-share": one("gateway_observe", "(share or run", "(run"),
    "observe-a-share-too-late": one("gateway_observe", "bad_calls * 100 >= calls", "bad_calls * 100 > calls"),
    "observe-no-row": one("gateway_observe", "run >= tonumber(arg.max_run)", "false"),
    "observe-a-row-of-one-more": one("gateway_observe", "run >= tonumber(arg.max_run)", "run > tonumber(arg.max_run)"),
    "observe-a-burst-doubles": one("gateway_observe", "if rested then pause =", "if true then pause ="),
    "observe-no-call-as-a-good-one": one("gateway_observe", "if arg.result == 'none' then", "if false then"),
    "observe-no-call-leaves-its-probe": one(
        "gateway_observe",
        "if arg.result == 'none' then\n  if known.probe == arg.dispatch then",
        "if arg.result == 'none' then\n  if false then",
    ),
    "observe-no-call-ends-anothers-probe": one(
        "gateway_observe",
        "if arg.result == 'none' then\n  if known.probe == arg.dispatch then",
        "if arg.result == 'none' then\n  if true then",
    ),
    "observe-a-throttled-probe-stays": one(
        "gateway_observe",
        "  if known.probe == arg.dispatch then redis.call('HDEL', key.health, 'probe', 'probing') end\n  keep(paused",
        "  keep(paused",
    ),
    "observe-does-not-hear-how-long": one(
        "gateway_observe", "  if requested > 0 then pause = requested end -- it knows best\n"
    ),
    "observe-hears-only-what-is-longer": one(
        "gateway_observe", "then pause = requested end", "then pause = math.max(pause, requested) end"
    ),
    "observe-repeats-what-was-asked-once": one(
        "gateway_observe", "'pause', math.min(pause, tonumber(arg.max_pause)))", "'pause', pause)"
    ),
    "observe-asks-in-vain": one("gateway_observe", "if requested > 0 then\n", "if false then\n"),
    "observe-a-shorter-wish-wins": one(
        "gateway_observe", "math.max(now + requested, tonumber(known.paused or 0))", "now + requested"
    ),
    "observe-no-refusal": one("gateway_observe", "if arg.refusal ~= '' then", "if false then"),
    "observe-refused-for-ever": one("gateway_observe", "  redis.call('HDEL', key.health, 'refusal', 'refused')\n"),
}
