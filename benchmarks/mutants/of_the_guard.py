"""Defects of the guard: of trust and waits, of money, and of what is told; those of rules against fraud are apart."""

from mutant import Mutant, one

_TRUST: dict[str, Mutant] = {
    "everybody-is-known": one("include_guard", "sending.reputation.known_device and 'known' or 'unknown'", "'known'"),
    "nobody-is-known": one("include_guard", "sending.reputation.known_device and 'known' or 'unknown'", "'unknown'"),
    "strangers-have-it-all": one(
        "include_limits", "unknown_device and limit.for_unknown or limit.amount", "limit.amount"
    ),
    "everybody-is-a-unknown_device": one(
        "include_limits", "unknown_device and limit.for_unknown or limit.amount", "limit.for_unknown or limit.amount"
    ),
    "strangers-where-nobody-is-known": one(
        "include_guard", "sending.trust == 'unknown' and some", "sending.trust == 'unknown'"
    ),
    "guesses-of-strangers-have-it-all": one(
        "include_guesses", "guessing.trust == 'unknown' and guessing.reputation.here", "false"
    ),
    "guesses-of-strangers-where-nobody-is-known": one(
        "include_guesses", "guessing.trust == 'unknown' and guessing.reputation.here", "guessing.trust == 'unknown'"
    ),
    "a-verification-loses-its-trust": one(
        "include_guesses", "(flags.f or guessing.reputation.known_device)", "guessing.reputation.known_device"
    ),
    "no-context-is-known": one(
        "include_reputation", "context ~= '' and lately(kept['c:' .. context])", "lately(kept.known)"
    ),
    "known-for-ever": one("include_reputation", "at and now - at < ruleset.known or false", "at and true or false"),
    "known-for-a-moment-longer": one("include_reputation", "now - at < ruleset.known", "now - at <= ruleset.known"),
    "a-number-that-stays-unknown": one("include_reputation", "  kept.approved = now\n"),
    "nobody-notes-that-somebody-is-known": one(
        "include_reputation",
        "kept.known, kept['a:' .. application], kept['c:' .. context] = now, now, now",
        "kept['c:' .. context] = now",
    ),
    "the-newest-context-is-forgotten": one("include_reputation", "at < kept[oldest]", "at > kept[oldest]"),
    "contexts-without-end": one("include_reputation", "while count > ruleset.contexts do", "while false do"),
    "one-context-less": one("include_reputation", "count > ruleset.contexts", "count >= ruleset.contexts"),
    "starts-share-guesses-with-other-applications": one(
        "include_guard", "some = sending.reputation.here end", "some = sending.reputation.some end"
    ),
    "guesses-share-with-other-applications": one(
        "include_guesses", "guessing.reputation.here", "guessing.reputation.some"
    ),
    "unblock-forgets-approvals": one("guard_forget", "then left[name] = value end", "then left.at = value end"),
    "one-wait-for-known-and-unknown": one(
        "include_waits", "kept[trust] = { run", "kept.known, kept.unknown = nil, { run"
    ),
    "a-resend-forgets-its-context": one("resend", "safe = flags.s, context = context", "safe = flags.s, context = ''"),
}
_NUMBERS: dict[str, Mutant] = {
    "waits-that-do-not-grow": one("include_waits", "rule.waits[math.min(run[1], #rule.waits)]", "rule.waits[1]"),
    "waits-that-end": one("include_waits", "rule.waits[math.min(run[1], #rule.waits)]", "(rule.waits[run[1]] or 0)"),
    "waits-that-are-not-forgotten": one("include_waits", "not run or now - run[2] >= rule.reset_after", "not run"),
    "a-run-that-does-not-grow": one("include_waits", "run + 1, now", "1, now"),
    "no-cool-down": one("include_guard", "    rule_hits.add(list, ruleset.cooldown, wait, run, 0)\n"),
    "a-cool-down-that-nobody-lengthens": one(
        "include_guard", "    waits.add(ruleset.cooldown, sending.kept.cooldown, sending.trust)\n"
    ),
    "a-fallback-lengthens-the-cool-down": one(
        "include_guard", "if ruleset.cooldown and sending.kind ~= 'fallback' then", "if ruleset.cooldown then"
    ),
    "a-resend-waits-for-the-cool-down": one(
        "include_guard", "if ruleset.cooldown and sending.kind == 'start' then", "if ruleset.cooldown then"
    ),
    "no-wait-after-a-guess": one("include_guesses", "    rule_hits.add(list, ruleset.guess_wait, wait, run, 0)\n"),
    "a-guess-that-lengthens-nothing": one(
        "include_guesses", "  if ruleset.guess_wait then waits.add(ruleset.guess_wait, kept, guessing.trust) end\n"
    ),
    "no-lock": one("include_guesses", "kept.ends, kept.row = now + ruleset.lock.length, 0", "kept.row = 0"),
    "a-lock-one-guess-later": one("include_guesses", "kept.row >= ruleset.lock.after", "kept.row > ruleset.lock.after"),
    "a-lock-that-is-not-asked": one(
        "include_guesses", "if ruleset.lock then rule_hits.add", "if false then rule_hits.add"
    ),
    "a-row-that-goes-on-after-a-lock": one(
        "include_guesses", "kept.ends, kept.row = now + ruleset.lock.length, 0", "kept.ends = now + ruleset.lock.length"
    ),
    "an-approval-that-ends-no-run": one(
        "include_guesses", "kept[guessing.trust], kept.row = nil, nil", "kept.row = nil"
    ),
    "an-approval-that-ends-no-row": one(
        "include_guesses", "kept[guessing.trust], kept.row = nil, nil", "kept[guessing.trust] = nil"
    ),
    "an-approval-that-ends-the-runs-of-all": one(
        "include_guesses",
        "kept[guessing.trust], kept.row = nil, nil",
        "kept.known, kept.unknown, kept.row = nil, nil, nil",
    ),
    "an-approval-that-ends-no-cool-down": one(
        "include_guesses", "ipairs({ 'guesses', 'cooldown' })", "ipairs({ 'guesses' })"
    ),
    "guesses-are-counted-for-all-applications": one(
        "include_guesses", "'guesses/' .. found.application .. '/' ..", "'guesses/all/' .."
    ),
    "a-message-is-counted-as-a-guess": one(
        "include_guard", "limits.spend(sending.windows, 'failed_checks')", "limits.spend(sending.windows)"
    ),
}
_MONEY: dict[str, Mutant] = {
    "a-cent-over-the-ceiling": one("include_spending", "amount + price > one.amount", "amount > one.amount"),
    "no-cent-left": one("include_spending", "amount + price > one.amount", "amount + price >= one.amount"),
    "ceilings-of-the-application-alone": one(
        "include_spending", "ipairs(own[country] or own['*'] or {})", "ipairs({})"
    ),
    "no-ceiling-for-countries-without-a-name": one(
        "include_spending", "own[country] or own['*'] or {}", "own[country] or {}"
    ),
    "all-countries-have-the-same-ceiling": one(
        "include_spending", "own[country] or own['*'] or {}", "own['*'] or own[country] or {}"
    ),
    "the-hour-goes-on": one(
        "include_spending",
        "if interval == present or interval == present + 1 then return interval, amount end",
        "if true then return present, amount end",
    ),
    "settled-in-the-next-hour": one(
        "include_spending", " and (at == now or math.floor(at / one.interval) == interval) then", " then"
    ),
    "below-nothing": one("include_spending", "math.max(0, before + amount)", "before + amount"),
    "settled-twice": one("include_spending", "  redis.call('HDEL', record, reserved)\n"),
    "settled-without-its-cost": one("include_spending", "tonumber(cost) - tonumber(price)", "-tonumber(price)"),
    "settled-without-giving-back": one("include_spending", "tonumber(cost) - tonumber(price)", "tonumber(cost)"),
    "a-start-that-reserves-nothing": one(
        "include_guard", "if sending.price > 0 then\n    spending.add", "if false then\n    spending.add"
    ),
    "a-start-that-forgets-what-it-reserved": one(
        "start", "if sending.price > 0 then spending.reserve(KEYS[1], 1, 1, sending.price) end\n"
    ),
    "a-resend-that-forgets-what-it-reserved": one(
        "resend", "if sending.price > 0 then spending.reserve(KEYS[1], sends, 1, sending.price) end\n"
    ),
    "a-further-call-over-the-ceiling": one(
        "dispatch", "  if first and not first.records then return dropped('spend_ceiling', first.rule) end\n"
    ),
    "a-further-call-that-costs-nothing": one("dispatch", "  spending.add(key_of, kept, found.country, price, now)\n"),
    "a-further-call-that-is-not-settled": one("dispatch", "  spending.reserve(KEYS[1], ARGV[2], number, price)\n"),
    "every-call-reserves": one(
        "dispatch", "local reserved = price == 0 or", "local reserved = price == 0 or false and"
    ),
    "a-ceiling-that-only-records-gives-up": one(
        "dispatch", "if first and not first.records then return dropped", "if first then return dropped"
    ),
    "a-call-that-a-ceiling-refuses-without-a-decision": one(
        "dispatch", "  if first then rule_hits.report(KEYS[4], ARGV[10], ARGV[11], list, found, 'dispatch', '') end\n"
    ),
    "a-call-that-no-rule-refused": one("dispatch", "dropped('spend_ceiling', first.rule)", "dropped('spend_ceiling')"),
    "ceilings-are-not-asked": one(
        "include_guard", "  spending.test(list, kept, sending.about.country, sending.price)\n"
    ),
    "calls-are-not-settled": one(
        "dispatch_settle", "  spending.settle(KEYS[1], ARGV[1], 8, about.country, ARGV[13])\n"
    ),
}
_TOLD: dict[str, Mutant] = {
    "what-only-records-refuses": one(
        "include_guard", "return first and not first.records and first or nil", "return first"
    ),
    "what-refuses-only-records": one(
        "include_guard", "return first and not first.records and first or nil", "return nil"
    ),
    "guesses-that-only-record-refuse": one(
        "include_guesses", "return first and not first.records and first or nil", "return first"
    ),
    "what-only-records-comes-first": one(
        "include_rule_hits", "(first.records and not one.records)", "(one.records and not first.records)"
    ),
    "a-finding-without-its-mode": one("include_rule_hits", "one.records and 'record_only' or 'enforce')", "'enforce')"),
    "a-refusal-without-a-decision": one(
        "start", "decision = guard.report(", "function never() return '' end\n  local decision = never("
    ),
    "what-only-records-is-not-told": one(
        "start", "about.id = ARGV[9]\nguard.report(sending, KEYS[9], ARGV[8], ARGV[7])\n", "about.id = ARGV[9]\n"
    ),
    "a-guess-without-a-decision": one("check", "if #guessing.rule_hits > 0 then", "if false then"),
    "decisions-until-yesterday": one("include_rule_hits", "    now + first.wait, about", "    now - first.wait, about"),
    "decisions-without-end": one(
        "include_rule_hits",
        "local id = redis.call('XADD', stream, 'MAXLEN', '~', length, '*'",
        "local id = redis.call('XADD', stream, '*'",
    ),
    "a-clock-far-ahead-holds-the-ceiling": one(
        "include_spending", "interval == present or interval == present + 1", "interval >= present"
    ),
    "decisions-for-ever": one("include_rule_hits", "  redis.call('PEXPIRE', stream, age)\n"),
    "decisions-that-do-not-age": one(
        "include_rule_hits",
        "  redis.call('XTRIM', stream, 'MINID', now - age) -- exactly: what it tells is not kept for longer\n",
    ),
    "a-start-that-no-replay-sees": one("start", ", 'sending', ARGV[20])\n", ")\n"),
    "a-refused-start-that-no-replay-sees": one("start", "'sending', ARGV[20], 'after'", "'after'"),
    "a-refused-start-before-all-that-led-to-it": one("start", ", 'after', streams.last_entry(KEYS[6]))", ")"),
    "a-resend-for-nothing-in-a-replay": one("resend", "ARGV[12], 'price', ARGV[11])", "ARGV[12], 'price', 0)"),
    "a-refused-resend-that-no-replay-sees": one("resend", "'price', ARGV[11], 'after'", "'after'"),
    "a-refused-resend-before-all-that-led-to-it": one("resend", ", 'after', streams.last_entry(KEYS[6]))", ")"),
    "a-refused-code-without-its-rule": one("check", ", 'rule', refusal.rule)", ")"),
    "the-first-event-for-the-last": one(
        "include_streams", "'XREVRANGE', stream, '+', '-'", "'XRANGE', stream, '-', '+'"
    ),
    "rules-on-destinations-that-record-are-not-told": one(
        "start", "rule_hits.add(sending.rule_hits, { rule = rule", "rule_hits.add({}, { rule = rule"
    ),
    "flags-of-a-start-are-lost": one("include_approvals", "(sending.place == 'home' and 'h' or '')", "''"),
    "states-that-live-for-ever": one("include_states", ", 'PX', life)", ")"),
}
DEFECTS: dict[str, Mutant] = {**_TRUST, **_NUMBERS, **_MONEY, **_TOLD}
