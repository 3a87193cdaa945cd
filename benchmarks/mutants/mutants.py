"""Defects that somebody could have put into the scripts. Each must be noticed by a test."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A script, and what is replaced in it."""

    file: str
    changes: tuple[tuple[str, str], ...]

    def applied(self, text: str) -> str:
        """Return the text with the defect; raise `LookupError` when the script has changed since."""
        for old, new in self.changes:
            if text.count(old) != 1:
                raise LookupError(f"{self.file}: {old!r} occurs {text.count(old)} times, not once")
            text = text.replace(old, new)
        return text


def _one(file: str, old: str, new: str = "") -> Mutant:
    return Mutant(file, ((old, new),))


_LIMITS = {
    "moving-one-more": _one(
        "include_limits", "limit.key, limit.amount - 1)\n  if not", "limit.key, limit.amount)\n  if not"
    ),
    "moving-one-less": _one(
        "include_limits", "limit.key, limit.amount - 1)\n  if not", "limit.key, limit.amount - 2)\n  if not"
    ),
    "moving-too-early": _one("include_limits", "if free < 0 then", "if free < 0.002 then"),
    "moving-no-trim": _one("include_limits", "        redis.call('LTRIM', limit.key, 0, limit.amount - 1)\n"),
    "moving-trim-too-short": _one(
        "include_limits", "'LTRIM', limit.key, 0, limit.amount - 1", "'LTRIM', limit.key, 0, 0"
    ),
    "moving-trim-too-late": _one("include_limits", "stamp) > limit.amount then", "stamp) > limit.amount + 1 then"),
    "moving-no-life": _one("include_limits", "      redis.call('EXPIRE', limit.key, limit.seconds)\n"),
    "moving-life-too-short": _one("include_limits", "'EXPIRE', limit.key, limit.seconds)", "'EXPIRE', limit.key, 1)"),
    "spends-all-but-the-first": _one(
        "include_limits",
        "for _, limit in ipairs(list) do\n    if limit.strategy",
        "for i, limit in ipairs(list) do\n    if i == 1 then elseif limit.strategy",
    ),
    "spends-only-the-first": _one(
        "include_limits",
        "for _, limit in ipairs(list) do\n    if limit.strategy",
        "for i, limit in ipairs(list) do\n    if i > 1 then elseif limit.strategy",
    ),
    "any-wait-not-the-longest": _one("include_limits", "if wait > longest then", "if wait > 0 then"),
    "tests-only-the-first": _one("include_limits", "if wait > longest then", "if wait > longest and i == 1 then"),
    "sliding-forgets-the-past": _one(
        "include_limits", "math.floor(faded * faded_ttl / interval) + limit.count", "limit.count"
    ),
    "sliding-one-more": _one("include_limits", "if limit.used + 1 <= limit.amount", "if limit.used <= limit.amount"),
    "sliding-never-shifts": _one("include_limits", "ttl > 0 and ttl < interval\n", "false\n"),
    "sliding-drops-the-past": _one("include_limits", "      redis.call('RENAME', limit.key, limit.previous)\n"),
    "sliding-no-life": _one("include_limits", "1, 'PX', limit.seconds * 2000)", "1)"),
    "sliding-new-life-at-a-shift": _one("include_limits", "limit.ttl + limit.seconds * 1000)", "limit.seconds * 2000)"),
    "sliding-wait-too-short": _one(
        "include_limits",
        "faded_ttl - (limit.amount - limit.count) * interval / faded",
        "faded_ttl - limit.amount * interval / faded",
    ),
    "stamp-without-zeros": _one("include_clock", "'%s.%06d'", "'%s.%d'"),
}

_PARTS = {
    "any-application": _one("include_record", "if values[1] ~= application then", "if not values[1] then"),
    "number-kept-when-final": _one("include_record", "  redis.call('HDEL', key, 'destination')\n"),
    "start-does-not-learn-the-outcome": _one("include_record", "if start and redis", "if false and redis"),
    "start-key-comes-back-as-a-ghost": _one("include_record", "redis.call('EXISTS', start) == 1", "true"),
    "mismatch-not-noticed": _one("include_idempotency", "remembered[i + 1] == fingerprint", "true"),
    "nothing-recalled": _one("include_idempotency", "if #remembered == 0 then", "do"),
    "retry-without-life": _one("include_idempotency", "  redis.call('PEXPIRE', key, milliseconds)\n"),
    "streams-of-any-length": _one("include_streams", "'MAXLEN', '~', length, "),
    "outbox-of-any-age": _one("include_streams", "'MINID', '~', now - age, '*'", "'*'"),
    "streams-of-any-age": _one("include_streams", "  redis.call('XTRIM', stream, 'MINID', '~', now - age)\n"),
    "outcomes-in-any-order": _one("include_deliveries", " or rank[before] == 3 or rank[status] < rank[before]"),
    "terminal-outcomes-undone": _one("include_deliveries", " rank[before] == 3 or"),
    "outcomes-go-back": _one("include_deliveries", " or rank[status] < rank[before]"),
}

_START = {
    "start-spends-before-it-tests": Mutant(
        "start",
        (
            ("limits.spend(counted)\n", ""),
            (
                "place, wait = limits.refusal(counted)\n",
                "place, wait = limits.refusal(counted)\nlimits.spend(counted)\n",
            ),
        ),
    ),
    "start-spends-nothing": _one("start", "limits.spend(counted)\n"),
    "start-of-a-locked-number": _one("start", "if place then return { 'locked', wait } end\n"),
    "start-over-the-limits": _one(
        "start", "if place then return { 'limited', place, wait, quota.used, quota.ttl } end\n"
    ),
    "start-without-life": _one("start", "redis.call('PEXPIREAT', KEYS[1], expires + tonumber(ARGV[4]))\n"),
    "start-without-grace": _one("start", "expires + tonumber(ARGV[4]))", "expires)"),
    "start-queues-nothing": _one("start", "streams.queue(KEYS[2], ARGV[7], about, ARGV[15], 1, 0, expires)\n"),
    "start-reports-nothing": _one(
        "start", "streams.report(KEYS[3], ARGV[6], ARGV[7], 'verification.started', about)\n"
    ),
    "start-unknown-to-its-record": _one("start", "  redis.call('HSET', KEYS[1], 'start', KEYS[4])\n"),
    "start-into-a-full-backlog": _one(
        "start", "if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[5]) then", "if false then"
    ),
}

_CHECK = {
    "check-of-a-final-one": _one(
        "check", "if found.status ~= 'pending' then return answer(found.status, found.status) end\n"
    ),
    "check-of-an-approved-one": Mutant(
        "check",
        (
            ("if found.status == 'approved' then return answer('approved', 'already_approved') end\n", ""),
            (
                "if found.status ~= 'pending' then return",
                "if found.status ~= 'pending' and found.status ~= 'approved' then return",
            ),
        ),
    ),
    "check-expires-later": _one(
        "check", "if now >= tonumber(found.expires) then\n", "if now > tonumber(found.expires) then\n"
    ),
    "check-never-expires": _one("check", "if now >= tonumber(found.expires) then\n", "if false then\n"),
    "check-of-any-length": _one("check", "if ARGV[3] ~= found.code_length then", "if false then"),
    "check-without-its-transaction": _one(
        "check", "if found.kind == 'transaction' and ARGV[4] == '' then", "if false then"
    ),
    "check-with-a-needless-transaction": _one(
        "check", "if found.kind ~= 'transaction' and ARGV[4] ~= '' then", "if false then"
    ),
    "check-of-a-changed-transaction": _one("check", "if ARGV[4] ~= found.transaction then", "if false then"),
    "check-after-the-budget": _one(
        "check", "if limits.refusal(budgets) then return", "if limits.refusal(budgets) and false then return"
    ),
    "check-spends-no-budget": _one("check", "limits.spend(budgets)\n"),
    "check-spends-for-a-right-code": Mutant(
        "check",
        (
            ("limits.spend(budgets)\n", ""),
            ("if ARGV[2] == found.tag then", "limits.spend(budgets)\nif ARGV[2] == found.tag then"),
        ),
    ),
    "check-budget-of-a-verification": _one(
        "check", "ARGV[8] .. found.pseudonym", "ARGV[8] .. string.match(KEYS[1], '[^:]+$')"
    ),
    "check-not-counted": _one("check", "redis.call('HINCRBY', KEYS[1], 'checks', 1)", "checks + 1"),
    "check-counted-after-a-right-one": Mutant(
        "check",
        (
            ("checks = redis.call('HINCRBY', KEYS[1], 'checks', 1)", "checks = checks + 1"),
            ("limits.spend(budgets)\n", "limits.spend(budgets)\nredis.call('HINCRBY', KEYS[1], 'checks', 1)\n"),
        ),
    ),
    "check-one-guess-more": _one("check", "if checks < max_checks then", "if checks <= max_checks then"),
    "check-one-guess-less": _one("check", "if checks < max_checks then", "if checks < max_checks - 1 then"),
    "check-accepts-anything": _one("check", "if ARGV[2] == found.tag then", "if true then"),
    "check-consumes-nothing": _one("check", "  record.finish(KEYS[1], found.start, 'approved')\n"),
    "check-forgets-the-last-guess": _one("check", "record.finish(KEYS[1], found.start, 'max_attempts_reached')\n"),
    "check-forgets-a-changed-transaction": _one("check", "  record.finish(KEYS[1], found.start, 'failed')\n"),
    "check-keeps-an-expired-number": _one("check", "  record.finish(KEYS[1], found.start, 'expired')\n"),
    "check-remembers-nothing": _one(
        "check", "  idempotency.remember_with(KEYS[1], KEYS[3], ARGV[5], 'reason', reason, 'checks_left', left)\n"
    ),
    "check-again-tells-an-old-status": _one("check", "over and 'expired' or found.status", "found.status"),
}

_RESEND = {
    "resend-at-once": _one("resend", "if wait > 0 then", "if false then"),
    "resend-once-more": _one(
        "resend", "if sends >= tonumber(found.max_sends) then", "if sends > tonumber(found.max_sends) then"
    ),
    "resend-of-a-final-one": _one("resend", "if found.status ~= 'pending' then return { 'final', found.status } end\n"),
    "resend-of-an-expired-one": _one("resend", "if now >= tonumber(found.expires) then", "if false then"),
    "resend-expires-later": _one(
        "resend", "if now >= tonumber(found.expires) then", "if now > tonumber(found.expires) then"
    ),
    "resend-last-delay-does-not-repeat": _one(
        "resend", "if place_of_delay <= sends then", "if place_of_delay == sends then"
    ),
    "resend-overtaken": _one("resend", "if found.generation ~= ARGV[4] then return { 'overtaken' } end\n"),
    "resend-to-a-locked-number": _one("resend", "if place then return { 'locked', wait } end\n"),
    "resend-spends-nothing": _one("resend", "limits.spend(counted)\n"),
    "resend-keeps-the-old-tag": _one(
        "resend", "'generation', generation, 'tag', ARGV[5])", "'generation', generation)"
    ),
    "resend-keeps-the-old-time": _one("resend", "'last_send', now, 'channel'", "'channel'"),
    "resend-renews-the-life": _one(
        "resend", "sends = sends + 1\n", "sends = sends + 1\nredis.call('PEXPIRE', KEYS[1], 900000)\n"
    ),
    "resend-renews-the-guesses": _one(
        "resend", "sends = sends + 1\n", "sends = sends + 1\nredis.call('HSET', KEYS[1], 'checks', 0)\n"
    ),
    "resend-remembers-nothing": _one("resend", "idempotency.remember_with(KEYS[1], KEYS[4], ARGV[2])\n"),
    "resend-into-a-full-backlog": _one(
        "resend", "if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[6]) then", "if false then"
    ),
}

_CANCEL = {
    "cancel-of-a-final-one": _one(
        "cancel", "  if found.status ~= 'pending' then return { 'final', found.status } end\n"
    ),
    "cancel-of-an-expired-one": _one(
        "cancel", "  if now >= tonumber(found.expires) then return { 'final', 'expired' } end\n"
    ),
    "cancel-does-nothing": _one("cancel", "  record.finish(KEYS[1], found.start, 'canceled')\n"),
}

_DELIVERY = {
    "dispatch-of-a-final-one": _one("dispatch", "if found.status ~= 'pending' then return dropped(found.status) end\n"),
    "dispatch-of-an-expired-one": _one("dispatch", "if now >= tonumber(found.expires) then", "if false then"),
    "dispatch-expires-later": _one(
        "dispatch", "if now >= tonumber(found.expires) then", "if now > tonumber(found.expires) then"
    ),
    "dispatch-of-an-old-code": _one(
        "dispatch", "if found.generation ~= ARGV[3] then return dropped('superseded') end\n"
    ),
    "dispatch-once-more": _one("dispatch", "if made >= tonumber(ARGV[4]) then", "if made > tonumber(ARGV[4]) then"),
    "dispatch-hides-an-interruption": _one("dispatch", "if status == 'queued' and gateway ~= '' then", "if false then"),
    "dispatch-forgets-who-waits": _one("dispatch", "status == 'queued' and last or ''", "''"),
    "dispatch-without-life": _one("dispatch", "redis.call('PEXPIREAT', KEYS[2], now + redis.call('PTTL', KEYS[1]))\n"),
    "dispatch-by-one-gateway-only": _one("dispatch", "ARGV[5 + made % (#ARGV - 4)]", "ARGV[5]"),
    "settle-without-acknowledging": _one("settle", "redis.call('XACK', KEYS[3], ARGV[6], ARGV[7])\n"),
    "settle-without-deleting": _one("settle", "redis.call('XDEL', KEYS[3], ARGV[7])\n"),
    "settle-of-a-late-worker": _one("settle", "  if overtaken then return { 'overtaken' } end\n"),
    "settle-ends-what-goes-on": _one("settle", "if ARGV[5] == 'next' then return { 'settled' } end\n"),
    "settle-retry-without-life": _one("settle", "  redis.call('PEXPIRE', KEYS[4], ARGV[10])\n"),
    "settle-dead-without-life": _one("settle", "  redis.call('PEXPIRE', KEYS[5], ARGV[10])"),
    "settle-makes-a-ghost": _one("settle", " and redis.call('EXISTS', KEYS[2]) == 1"),
    "settle-gives-up-in-silence": _one(
        "settle",
        "  streams.append(KEYS[6], ARGV[9], ARGV[10], 'type', 'message.given_up', 'reason', ARGV[3], unpack(job))\n",
    ),
    "receipt-of-any-gateway": _one("receipt", " or dispatch[3] ~= ARGV[1]"),
    "receipt-in-silence": _one("receipt", "streams.report(KEYS[2]", "local function never() end never(KEYS[2]"),
    "requeue-twice": _one("requeue", "  redis.call('ZREM', KEYS[1], job)\n"),
    "requeue-too-early": _one("requeue", "'-inf', now,", "'-inf', now + 1,"),
    "requeue-without-bound": _one("requeue", "'LIMIT', 0, ARGV[1])", "'LIMIT', 0, -1)"),
}

MUTANTS: dict[str, Mutant] = {**_LIMITS, **_PARTS, **_START, **_CHECK, **_RESEND, **_CANCEL, **_DELIVERY}
