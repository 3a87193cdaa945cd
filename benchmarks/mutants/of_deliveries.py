"""Defects of what is done and told about a message: dispatch, settle, receipts."""

from mutant import Mutant, one

TESTS = ("store/test_outbox.py", "store/test_ownership.py", "store/test_dead_letters.py", "services/test_[afort]*.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "tally-of-every-message": one("include_deliveries", "if number == message and tonumber", "if number and tonumber"),
    "tally-from-the-beginning": one("include_deliveries", " and tonumber(dispatch) > after then", " then"),
    "tally-from-one-before": one("include_deliveries", "tonumber(dispatch) > after", "tonumber(dispatch) >= after"),
    "tally-of-one": one("include_deliveries", "tally[status] = (tally[status] or 0) + 1", "tally[status] = 1"),
    "outcome-makes-a-ghost": one(
        "include_deliveries",
        "  if not before then return nil, false end\n",
        "  if not before then values, before = { '', '' }, 'queued' end\n",
    ),
    "outcome-without-its-reference": one("include_deliveries", "    values[9] = reference\n"),
    "outcome-that-is-known-without-its-reference": one(
        "include_deliveries", "    redis.call('HSET', key, slot, table.concat(values, '|'))\n  end\n", "  end\n"
    ),
    "outcome-forgets-its-reference": one(
        "include_deliveries", "if reference ~= '' and values[9] ~= reference then", "if values[9] ~= reference then"
    ),
    "outcome-without-its-raw-status": one("include_deliveries", "  if raw ~= '' then values[8] = raw end\n"),
    "outcome-repeated": one("include_deliveries", "if before == status or rank", "if rank"),
    "outcome-goes-back": one("include_deliveries", " or rank[status] < rank[before] then", " then"),
    "outcome-undone": one("include_deliveries", "  if rank[before] == 3 and not wrong then return values, false end\n"),
    "outcomes-in-any-order": Mutant(
        "include_deliveries",
        (
            (" or rank[status] < rank[before] then", " then"),
            ("  if rank[before] == 3 and not wrong then return values, false end\n", ""),
        ),
    ),
    "outcome-that-was-wrong-stays": one(
        "include_deliveries", "before == 'failed' and values[8]", "false and values[8]"
    ),
    "outcome-of-a-report-undone": one(
        "include_deliveries", "before == 'failed' and values[8] == '' and", "before == 'failed' and"
    ),
    "outcome-that-was-wrong-becomes-any": one(
        "include_deliveries", "values[8] == '' and status == 'delivered'", "values[8] == ''"
    ),
    "outcome-expired-undone": one(
        "include_deliveries", "before == 'failed' and values[8]", "rank[before] == 3 and values[8]"
    ),
    "dispatch-of-a-final-one": one(
        "dispatch", "if verification.status ~= 'pending' then return dropped(verification.status) end\n"
    ),
    "dispatch-of-an-expired-gateway": one("dispatch", "if now >= verification.expires then", "if false then"),
    "dispatch-expires-later": one(
        "dispatch", "if now >= verification.expires then", "if now > verification.expires then"
    ),
    "dispatch-of-an-old-code": one(
        "dispatch", "if verification.generation ~= tonumber(arg.generation) then return dropped('superseded') end\n"
    ),
    "dispatch-hides-its-channel": one("dispatch", "  verification.channel = arg.channel\n"),
    "dispatch-of-an-old-message-shows-its-channel": one(
        "dispatch", "if tonumber(arg.message) == verification.sends and", "if"
    ),
    "dispatch-hides-an-interruption": one(
        "dispatch", "deliveries.interrupt(key.record, key.events, key.calls, place, verification)\n"
    ),
    "dispatch-notes-no-call": one("dispatch", "redis.call('HSET', key.calls, place,", "local _ = ("),
    "dispatch-after-a-report-that-decided": one(
        "dispatch", "if deliveries.is_decided(key.record, arg.message) then return dropped('reported') end\n"
    ),
    "interruption-without-its-cost": one(
        "include_deliveries", "'interrupted', max_cost, held, {})", "'interrupted', 0, held, {})"
    ),
    "interruption-again-and-again": one(
        "include_deliveries", "  redis.call('HDEL', calls, place)\n  return values[2]", "  return values[2]"
    ),
    "interruption-of-what-has-gone": one(
        "include_deliveries",
        "  held = deliveries.settle(key, slot, 'unknown', 'interrupted', '', '') or held\n",
        "  held = deliveries.settle(key, slot, 'unknown', 'interrupted', '', '')\n  if not held then return end\n",
    ),
    "calls-under-way-for-ever": one("dispatch", "redis.call('PEXPIRE', key.calls, arg.max_age)\n"),
    "call-closed-by-anothers-answer": one("include_deliveries", " or (slot and values[1] ~= slot) then", " then"),
    "call-told-without-what-stands": one("include_deliveries", " and '' or held[3]", " and '' or ''"),
    "decided-by-nobody": one(
        "include_deliveries", "'HEXISTS', key, 'after' .. message) == 1", "'HEXISTS', key, '') == 1"
    ),
    "dispatch-forgets-who-waits": one("dispatch", "status == 'queued' and last or ''", "''"),
    "dispatch-without-life": one(
        "dispatch", "redis.call('PEXPIREAT', key.dispatch, now + redis.call('PTTL', key.record))\n"
    ),
    "dispatch-of-anothers-job": one(
        "dispatch",
        "if not streams.is_held(key.queue, arg.group, arg.entry, arg.consumer) then return reply.lease_lost() end\n",
    ),
    "dispatch-of-what-was-sent": one(
        "dispatch", "if tally.sent + tally.delivered > 0 then", "if tally.delivered > 0 then"
    ),
    "dispatch-of-what-arrived": one("dispatch", "if tally.sent + tally.delivered > 0 then", "if tally.sent > 0 then"),
    "dispatch-after-any-doubt": one(
        "dispatch", "if tally.unknown > tonumber(arg.max_ambiguous) then return dropped('too_many_ambiguous') end\n"
    ),
    "dispatch-after-gateway-doubt-less": one(
        "dispatch", "tally.unknown > tonumber(arg.max_ambiguous)", "tally.unknown >= tonumber(arg.max_ambiguous)"
    ),
    "dispatch-after-gateway-doubt-more": one(
        "dispatch", "tally.unknown > tonumber(arg.max_ambiguous)", "tally.unknown > 1 + tonumber(arg.max_ambiguous)"
    ),
    "dispatch-counts-from-the-beginning": one("dispatch", "tonumber(of_message[2] or 0)", "0"),
    "dispatch-enters-nobody": one(
        "dispatch", "if not gateway.state then health.enter(gateway, arg.dispatch, gateway.lease) end\n"
    ),
    "settle-without-acknowledging": one("dispatch_finish", "redis.call('XACK', key.queue, arg.group, arg.entry)\n"),
    "settle-without-deleting": one("dispatch_finish", "redis.call('XDEL', key.queue, arg.entry)\n"),
    "settle-of-a-call-that-was-repeated": one("dispatch_finish", "if repeated or not", "if not"),
    "settle-after-the-end": one(
        "dispatch_finish",
        "if repeated or not streams.is_held(key.queue, arg.group, arg.entry) then",
        "if repeated then",
    ),
    "settle-of-a-late-worker": one(
        "dispatch_finish",
        "  if repeated or not streams.is_held(key.queue, arg.group, arg.entry) then return 'lease-lost' end",
    ),
    "settle-of-anothers-job": one(
        "dispatch_finish", "if not called and not streams.is_held", "if false and not streams.is_held"
    ),
    "settle-forgets-what-a-late-worker-saw": one(
        "dispatch_finish", "if not called and not streams.is_held", "if not streams.is_held"
    ),
    "settle-goes-on-after-an-arrival": one(
        "dispatch_finish", "  if stored and deliveries.has_arrived(key.record, message) then follows = 'done' end"
    ),
    "settle-goes-on-after-an-earlier-arrival": one(
        "dispatch_finish",
        "deliveries.has_arrived(key.record, message)",
        "(stored[3] == 'sent' or stored[3] == 'delivered')",
    ),
    "settle-forgets-a-report-of-sent": one("dispatch_finish", "reported == 'sent' and reported or ", ""),
    "arrived-when-sent-is-not-enough": one(
        "include_deliveries", "tally.sent + tally.delivered > 0", "tally.delivered > 0"
    ),
    "arrived-when-delivered-is-not-enough": one(
        "include_deliveries", "tally.sent + tally.delivered > 0", "tally.sent > 0"
    ),
    "dropped-without-its-beginning": one("include_deliveries", "  if values[7] == '' then values[7] = values[4] end"),
    "redrive-of-what-arrived": one(
        "dead_letter_redrive", "if deliveries.has_arrived(key.record, arg.message) then", "if false then"
    ),
    "settle-hides-an-arrival": one("dispatch_finish", "follows == arg.next and 'finished' or 'arrived'", "'finished'"),
    "settle-ends-what-goes-on": one("dispatch_finish", "if follows == 'next' then return 'finished' end\n"),
    "settle-reports-what-is-no-news": one("dispatch_finish", "  if news or open then\n", "  if stored then\n"),
    "settle-tells-only-what-is-news": one("dispatch_finish", "  if news or open then\n", "  if news then\n"),
    "settle-leaves-an-interruption": one(
        "dispatch_finish",
        "if not called then deliveries.interrupt(key.record, key.events, key.calls, place, verification) end\n",
    ),
    "settle-of-a-call-by-who-made-none": one(
        "dispatch_finish", "if called or through == '' then", "if arg.slot ~= '' then"
    ),
    "settle-goes-on-after-a-report-that-decided": one(
        "dispatch_finish", "  if deliveries.is_decided(key.record, message) then follows = 'done' end\n"
    ),
    "settle-retry-without-life": one("dispatch_finish", "  redis.call('PEXPIRE', key.delayed, arg.max_age)\n"),
    "settle-dead-without-life": one("dispatch_finish", "  redis.call('PEXPIRE', key.dead_letters, arg.max_age)"),
    "settle-retries-at-once": one("dispatch_finish", "now + tonumber(arg.delay)", "now"),
    "settle-gives-up-in-silence": one(
        "dispatch_finish", "  streams.report(key.events, 'message.given_up', verification, verification)\n"
    ),
    "receipt-of-any-gateway": one("receipt", " or dispatch[3] ~= arg.gateway"),
    "receipt-in-silence": one(
        "receipt",
        "  streams.report(key.events, 'delivery.' .. arg.status",
        "  local function never() end never(key.events, arg.status",
    ),
    "receipt-has-no-last-word": one("receipt", "if arg.is_last == '1' then", "if false then"),
    "receipt-undoes-a-fall-back": one("receipt", "'HSETNX'", "'HSET'"),
    "redrive-of-what-a-report-decided": one(
        "dead_letter_redrive",
        "if deliveries.is_decided(key.record, arg.message) then return reply.unwanted { reason = 'reported' } end\n",
    ),
    "fallback-leaves-the-message-going": one(
        "resend",
        "if falls_back_from > 0 then redis.call('HSET', key.record, 'after' .. arg.falls_back_from, sends) end",
    ),
    "fallback-from-a-call-that-another-followed": one(
        "resend",
        "redis.call('HGET', key.record, 'n' .. arg.falls_back_from) ~= arg.after_dispatch",
        "false",
    ),
    "receipt-forgets-a-late-opt-out": one("receipt", "elseif arg.opted_out == '1' then", "elseif false then"),
    "receipt-forgets-a-refund": one("receipt", "  if arg.refunded == '1' then values.cost = '0' end\n"),
    "receipt-approves": one(
        "receipt",
        "\nreturn reply.receipt_read",
        "\nrecord.finish(dispatch[1], verification.start, 'approved')\nreturn reply.receipt_read",
    ),
    "receipt-reports-what-is-no-news": one("receipt", "if news then\n", "if stored then\n"),
    "receipt-is-always-news": one("receipt", "news and 1 or 0", "1"),
    "refer-for-ever": one(
        "reference_put", "'SET', key.reference, arg.dispatch, 'PX', arg.life)", "'SET', key.reference, arg.dispatch)"
    ),
    "refer-keeps-what-came-early": one("reference_put", "redis.call('DEL', key.early)\n"),
    "resolve-keeps-nothing": one("reference_find", "  redis.call('RPUSH', KEYS[i], arg.receipt)\n"),
    "resolve-out-of-order": one("reference_find", "'RPUSH'", "'LPUSH'"),
    "resolve-without-bound": one("reference_find", "  redis.call('LTRIM', KEYS[i], 0, arg.max_early - 1)\n"),
    "resolve-for-ever": one("reference_find", "  redis.call('PEXPIRE', KEYS[i], arg.life)\n"),
    "resolve-by-one-spelling": one(
        "reference_find", "for i = key.rest, #KEYS, 2 do", "for i = key.rest, key.rest, 2 do"
    ),
    "resolve-keeps-one-spelling": one(
        "reference_find", "for i = key.rest + 1, #KEYS, 2 do", "for i = key.rest + 1, key.rest + 1, 2 do"
    ),
}
