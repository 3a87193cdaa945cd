"""Defects of the guard: of trust and waits, of money, and of what is told; those of rules against fraud are apart."""

from mutant import Mutant, one

_TRUST: dict[str, Mutant] = {
    "everybody-is-known": one("include_guard", "attempt.reputation.known_device and 'known' or 'unknown'", "'known'"),
    "nobody-is-known": one("include_guard", "attempt.reputation.known_device and 'known' or 'unknown'", "'unknown'"),
    "strangers-have-it-all": one(
        "include_guard", "unknown_device and window.for_unknown or window.amount", "window.amount"
    ),
    "everybody-is-a-unknown_device": one(
        "include_guard", "unknown_device and window.for_unknown or window.amount", "window.for_unknown or window.amount"
    ),
    "strangers-where-nobody-is-known": one("include_guard", "unknown and reputation.some_device,", "unknown,"),
    "guesses-of-strangers-have-it-all": one(
        "include_guard", "states.number.wrong, unknown and reputation.own_device)", "states.number.wrong, false)"
    ),
    "a-verification-loses-its-trust": one(
        "check", "(approvals.has(verification, 'f') or reputation.known_device)", "reputation.known_device"
    ),
    "no-context-is-known": one(
        "include_number",
        "at and recently(struct.unpack('<I6', self.devices, at + DEVICE - TIME - OF_APPLICATION)) or false",
        "recently(self[ANYWHERE])",
    ),
    "known-for-ever": one("include_number", "return at > 0 and now - at < ruleset.known", "return at > 0"),
    "known-for-a-moment-longer": one("include_number", "now - at < ruleset.known", "now - at <= ruleset.known"),
    "a-number-that-stays-unknown": one("include_number", "  self[APPROVED] = now\n"),
    "nobody-notes-that-somebody-is-known": one("include_number", "  self[ANYWHERE], entry[E_DEVICE] = now, now\n"),
    "the-newest-context-is-forgotten": one(
        "include_number", "then list[#list + 1] = known end", "then table.insert(list, 1, known) end"
    ),
    "contexts-without-end": one("include_number", "if not is_own or count <= ruleset.devices then", "if true then"),
    "one-context-less": one("include_number", "count <= ruleset.devices", "count < ruleset.devices"),
    "contexts-of-other-applications-are-forgotten": one("include_number", "if not is_own or count", "if count"),
    "contexts-of-other-applications-take-the-room": one(
        "include_number", "local is_own = string.sub(known, 1, OF_APPLICATION) == application", "local is_own = true"
    ),
    "a-known-device-that-strangers-make-a-stranger": one("include_number", "known or (recently(", "(recently("),
    "no-share-for-known-devices": one(
        "include_guard",
        "wait = math.min(wait, limits.moving_wait(window, own, window.for_known))",
        "own = nil",
    ),
    "a-share-that-others-use-up": one(
        "include_guard", "moving_wait(window, own, window.for_known)", "moving_wait(window, times, window.for_known)"
    ),
    "a-share-without-end": one(
        "include_guard", "math.min(wait, limits.moving_wait(window, own, window.for_known))", "0"
    ),
    "a-share-for-strangers": one("include_guard", "not unknown and states.number.own", "states.number.own"),
    "a-share-that-nobody-uses-up": one(
        "include_number",
        "  if trust == 'known' then self.own = limits.with_now('number', self.own) end\n",
    ),
    "a-share-that-strangers-use-up": one(
        "include_number", "if trust == 'known' then self.own", "if true then self.own"
    ),
    "a-share-that-is-not-kept": one("include_number", "#self.wrong / TIME, #self.own / TIME", "#self.wrong / TIME, 0"),
    "a-share-of-others-that-is-lost": one("include_number", "place = own + TIME * entry[E_OWN]", "place = own"),
    "known-devices-are-refused-at-their-address": one(
        "include_guard", "if states.address and unknown then", "if states.address then"
    ),
    "starts-share-guesses-with-other-applications": one(
        "include_guard", "unknown and reputation.own_device)", "unknown and reputation.some_device)"
    ),
    "unblock-forgets-approvals": one(
        "guard_unblock", "if kind == 'b' or (kind == 'l' and", "if kind == 'a' or kind == 'b' or (kind == 'l' and"
    ),
    "one-wait-for-known-and-unknown": one(
        "include_number", "return trust == 'known' and known or unknown", "return known"
    ),
    "a-resend-forgets-its-context": one(
        "include_guard",
        "attempt.verification.context,",
        "attempt.kind == 'start' and attempt.verification.context or '',",
    ),
}
_NUMBERS: dict[str, Mutant] = {
    "waits-that-do-not-grow": one("include_number", "rule.waits[math.min(length, #rule.waits)]", "rule.waits[1]"),
    "waits-that-end": one("include_number", "rule.waits[math.min(length, #rule.waits)]", "(rule.waits[length] or 0)"),
    "a-run-that-does-not-grow": one("include_number", "(now - last >= rule.reset_after and 0 or length) + 1", "1"),
    "no-cool-down": one(
        "include_guard", "    if wait > 0 then rule_hits.add(list, ruleset.cooldown, wait, length, 0) end\n"
    ),
    "a-cool-down-that-nobody-lengthens": one(
        "include_number", "    self[place] = longer_streak(ruleset.cooldown, self[place], self[place + 1])\n"
    ),
    "a-fallback-lengthens-the-cool-down": one(
        "include_number", "if ruleset.cooldown and kind ~= 'fallback' then", "if ruleset.cooldown then"
    ),
    "a-resend-waits-for-the-cool-down": one(
        "include_guard", "if ruleset.cooldown and attempt.kind == 'start' then", "if ruleset.cooldown then"
    ),
    "no-wait-after-a-guess": one(
        "include_guard", "  if wait > 0 then rule_hits.add(list, ruleset.guess_wait, wait, length, 0) end\n"
    ),
    "a-guess-that-lengthens-nothing": one(
        "include_number",
        "longer_streak(ruleset.guess_wait, entry[place], entry[place + 1]), now",
        "entry[place], entry[place + 1]",
    ),
    "no-lock": one(
        "include_number", "entry[E_LOCKED], entry[E_ROW] = now + ruleset.lock.length, 0", "entry[E_ROW] = 0"
    ),
    "a-lock-one-guess-later": one(
        "include_number", "entry[E_ROW] < ruleset.lock.after", "entry[E_ROW] <= ruleset.lock.after"
    ),
    "a-lock-that-is-not-asked": one("include_guard", "if locked > 0 and ruleset.lock then", "if false then"),
    "a-row-that-goes-on-after-a-lock": one(
        "include_number",
        "entry[E_LOCKED], entry[E_ROW] = now + ruleset.lock.length, 0",
        "entry[E_LOCKED] = now + ruleset.lock.length",
    ),
    "an-approval-that-ends-no-run": one(
        "include_number",
        "entry[streak_place(trust, E_KNOWN, E_UNKNOWN)], entry[E_ROW] = 0, 0, 0",
        "entry[E_ROW] = 0, 0",
    ),
    "an-approval-that-ends-no-row": one("include_number", "E_UNKNOWN)], entry[E_ROW] = 0, 0, 0", "E_UNKNOWN)] = 0, 0"),
    "an-approval-that-ends-the-runs-of-all": one(
        "include_number",
        "  self[APPROVED] = now\n",
        "  self[APPROVED], self[KNOWN], self[UNKNOWN], entry[E_KNOWN], entry[E_UNKNOWN] = now, 0, 0, 0, 0\n",
    ),
    "an-approval-that-ends-no-cool-down": one(
        "include_number", "  self[streak_place(trust, KNOWN, UNKNOWN)], entry[", "  local _, _unused\n  _, entry["
    ),
    "guesses-are-counted-for-all-applications": one("check", "1, verification.application)", "1, 'all')"),
    "a-message-is-counted-as-a-guess": one(
        "include_number",
        "  self.sends = limits.with_now('number', self.sends)\n",
        "  self.wrong = limits.with_now('failed_checks', self.wrong)\n"
        "  self.sends = limits.with_now('number', self.sends)\n",
    ),
}
_FORGOTTEN: dict[str, Mutant] = {
    "unblock-leaves-the-waits": one("include_number", "  for place = E_KNOWN, E_LOCKED do entry[place] = 0 end\n"),
    "unblock-leaves-the-lock": one(
        "include_number", "for place = E_KNOWN, E_LOCKED do entry", "for place = E_KNOWN, E_ROW do entry"
    ),
    "unblock-leaves-the-cool-down": one(
        "include_number", "for place = KNOWN, UNKNOWN + 1 do self[place] = 0 end", "local _ = self"
    ),
    "unblock-leaves-the-cool-down-of-strangers": one(
        "include_number", "for place = KNOWN, UNKNOWN + 1 do", "for place = KNOWN, KNOWN + 1 do"
    ),
    "unblock-resets-the-limits": one(
        "number_unblock", "arg.kind == 'windows' and number.forget_windows", "number.forget_windows"
    ),
    "unblock-of-the-first-application": one("number_unblock", "{ unpack(ARGV, arg.rest) }", "{ ARGV[arg.rest] }"),
    "unblock-of-nobody-leaves-a-ghost": one("number_unblock", "  if not row then return forgotten end\n"),
    "unblock-finds-no-lock": one(
        "include_number",
        "holds_guesses(entry) and 1 or 0",
        "(entry[E_KNOWN] > 0 or entry[E_UNKNOWN] > 0 or entry[E_ROW] > 0) and 1 or 0",
    ),
    "unblock-finds-no-cool-down": one("include_number", "return guesses + messages", "return guesses"),
    "unblock-finds-no-waits": one("include_number", "return guesses + messages", "return messages"),
    "limits-reset-ends-the-waits": one("number_unblock", "arg.kind == 'windows' and", "false and"),
    "limits-reset-leaves-the-messages": one(
        "include_number", "self.wrong, self.sends, self.own = '', '', ''", "self.wrong, self.own = '', ''"
    ),
    "limits-reset-leaves-the-share": one(
        "include_number", "self.wrong, self.sends, self.own = '', '', ''", "self.wrong, self.sends = '', ''"
    ),
    "limits-reset-leaves-the-wrong-codes": one(
        "include_number", "self.wrong, self.sends, self.own = '', '', ''", "self.sends, self.own = '', ''"
    ),
}
_MONEY: dict[str, Mutant] = {
    "a-cent-over-the-ceiling": one("include_spending", "amount + price > max_amount", "amount > max_amount"),
    "no-cent-left": one("include_spending", "amount + price > max_amount", "amount + price >= max_amount"),
    "more-taken-than-is-left": one("include_spending", "math.max(amount, math.min(0, used - max_amount))", "amount"),
    "a-share-of-another-interval": one("include_spending", "place and row[place] == interval and", "place and"),
    "ceilings-of-the-application-alone": one("include_spending", "own[country] or own['*'] or {}", "{}"),
    "no-ceiling-for-countries-without-a-name": one(
        "include_spending", "own[country] or own['*'] or {}", "own[country] or {}"
    ),
    "all-countries-have-the-same-ceiling": one(
        "include_spending", "own[country] or own['*'] or {}", "own['*'] or own[country] or {}"
    ),
    "the-hour-goes-on": one(
        "include_spending",
        "if interval == present or interval == present + 1 then return interval, row[ceiling.place + 1] end",
        "if true then return present, row[ceiling.place + 1] end",
    ),
    "settled-in-the-next-hour": one(
        "include_spending", "if at == now or math.floor(at / ceiling.interval) == interval then", "if true then"
    ),
    "below-nothing": one("include_spending", "math.max(0, before + amount)", "before + amount"),
    "settled-twice": one("include_spending", "  redis.call('HDEL', record, reserved)\n"),
    "settled-without-its-cost": one("dispatch_finish", "tonumber(arg.cost) - price", "-price"),
    "settled-without-giving-back": one("dispatch_finish", "tonumber(arg.cost) - price", "tonumber(arg.cost)"),
    "a-start-that-reserves-nothing": one("include_guard", "if attempt.price > 0 then", "if false then"),
    "a-start-that-forgets-what-it-reserved": one(
        "start", "if attempt.price > 0 then spending.reserve(key.record, 1, 1, attempt.price) end\n"
    ),
    "a-resend-that-forgets-what-it-reserved": one(
        "resend", "if attempt.price > 0 then spending.reserve(key.record, sends, 1, attempt.price) end\n"
    ),
    "a-further-call-over-the-ceiling": one(
        "dispatch", "  if first and not first.records then return dropped('spend_ceiling', first.rule) end\n"
    ),
    "a-further-call-that-costs-nothing": one(
        "dispatch", "  if money then spending.settle(money, verification.country, price, now) end\n"
    ),
    "a-further-call-that-is-not-settled": one(
        "dispatch", "  spending.reserve(key.record, arg.message, dispatch, price)\n"
    ),
    "every-call-reserves": one(
        "dispatch", "local reserved = price == 0 or", "local reserved = price == 0 or false and"
    ),
    "a-ceiling-that-only-records-gives-up": one(
        "dispatch", "if first and not first.records then return dropped", "if first then return dropped"
    ),
    "a-call-that-a-ceiling-refuses-without-a-decision": one(
        "dispatch",
        "rule_hits.report(key.decisions, arg.max_decisions, arg.max_age, list, verification, 'dispatch', '')",
        "local _ = list",
    ),
    "a-call-that-no-rule-refused": one("dispatch", "dropped('spend_ceiling', first.rule)", "dropped('spend_ceiling')"),
    "ceilings-are-not-asked": one(
        "include_guard",
        "    spending.test(list, states.application, states.country, attempt.verification.country, attempt.price)\n",
    ),
    "calls-are-not-settled": one(
        "dispatch_finish",
        "  if money then spending.settle(money, verification.country, tonumber(arg.cost) - price, at) end\n",
    ),
}
_TOLD: dict[str, Mutant] = {
    "what-only-records-refuses": one(
        "include_rule_hits", "return first and not first.records and first or nil", "return first"
    ),
    "what-refuses-only-records": one(
        "include_rule_hits", "return first and not first.records and first or nil", "return nil"
    ),
    "guesses-that-only-record-refuse": one(
        "check", "local is_locked = refusal and not refusal.records", "local is_locked = refusal"
    ),
    "what-only-records-comes-first": one(
        "include_rule_hits", "(first.records and not hit.records)", "(hit.records and not first.records)"
    ),
    "a-finding-without-its-mode": one("include_rule_hits", "hit.records and 'record_only' or 'enforce')", "'enforce')"),
    "a-refusal-without-a-decision": one(
        "start", "decision = guard.report(", "function never() return '' end\n  local decision = never("
    ),
    "what-only-records-is-not-told": one(
        "start",
        "guard.count(attempt)\nguard.report(attempt, key.decisions, plan.decisions, plan.age)\n",
        "guard.count(attempt)\n",
    ),
    "a-guess-without-a-decision": one("check", "if #hits > 0 then", "if false then"),
    "decisions-until-yesterday": one(
        "include_rule_hits", "    now + first.wait, verification", "    now - first.wait, verification"
    ),
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
    "a-start-that-no-replay-sees": one("start", '\'","attempt":"\' .. arg.attempt', "'\",\"attempt\":\"' .. ''"),
    "a-refused-start-that-no-replay-sees": one("start", "'attempt', arg.attempt,\n    'after'", "'after'"),
    "a-refused-start-before-all-that-led-to-it": one("start", "'after', streams.last_entry(key.events), "),
    "a-resend-for-nothing-in-a-replay": one("resend", "price = arg.price, guard", "price = 0, guard"),
    "a-refused-resend-that-no-replay-sees": one("resend", "'price', arg.price, 'after'", "'after'"),
    "a-refused-resend-before-all-that-led-to-it": one("resend", "'after', streams.last_entry(key.events),\n    "),
    "a-refused-code-without-its-rule": one("check", ", { rule = refusal.rule })", ")"),
    "the-first-event-for-the-last": one(
        "include_streams", "'XREVRANGE', stream, '+', '-'", "'XRANGE', stream, '-', '+'"
    ),
    "rules-on-destinations-that-record-are-not-told": one(
        "start", "rule_hits.add(attempt.rule_hits, { rule = rule", "rule_hits.add({}, { rule = rule"
    ),
    "flags-of-a-start-are-lost": one("include_approvals", "(attempt.zone == 'home' and 'h' or '')", "''"),
}
TESTS = ("store/test_guard_*.py", "store/test_attempts.py", "services/test_known_devices.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {**_TRUST, **_NUMBERS, **_FORGOTTEN, **_MONEY, **_TOLD}
