"""Defects of the fence: what is over by it, what lives, and for how long it stands."""

from mutant import Mutant, one

TESTS = ("store/test_fence*.py", "store/test_failover.py", "store/test_cluster.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "fence-of-nothing": one("include_fence", "fence.at = at and", "fence.at = false and"),
    "fence-of-what-comes-after-it-too": one("include_fence", " and behind ~= fence.at"),
    "fence-of-the-first-time-only": one("include_fence", "behind ~= fence.at", "not behind"),
    "fence-of-the-first-time-only-is-shown": one(
        "include_fence", "behind = tonumber(list[i + 1]) end", "behind = fence.at end"
    ),
    "fence-by-the-clock-that-was": one("include_fence", "math.min(expires, fence.at, now)", "fence.at"),
    "fence-until-the-clock-is-set-back": one("include_fence", "fence.at, now)", "fence.at)"),
    "fence-lengthens-a-life": one("include_fence", "math.min(expires, fence.at, now)", "math.min(fence.at, now)"),
    "fence-is-not-noted": one("start", "if fence.at then redis", "if false then redis"),
    "fence-is-not-shown": one("include_fence", "if place then list[place] =", "if false then list[place] ="),
    "fence-forgotten-by-its-record": one("start", "fence = fence.at or 0,", "fence = 0,"),
    "fence-forgotten-by-its-key": one("start", "'fence', fence.at)", "'fence', 0)"),
    "fence-unknown-to-a-repeated-start": one("start", "fence.apply(remembered)", "remembered"),
    "fence-unknown-to-its-record": one("include_record", "fence.expiry(self.expires, self.fence)", "self.expires"),
    "fence-unknown-to-who-reads": one("include_record", "fence.at and record.read(key)", "false"),
    "fence-named-as-the-one-before": one(
        "include_fencing", "math.max(at, (redis.call('HGET', place, 'at') or 0) + 1)", "at"
    ),
    "fence-named-as-one-of-another-bucket": one(
        "include_fencing",
        "math.max(at, (redis.call('HGET', place, 'at') or 0) + 1)",
        "math.max(now, (redis.call('HGET', place, 'at') or 0) + 1)",
    ),
    "fence-once-and-for-all": one(
        "include_fencing", "'HSET', place, 'at', at)", "'HSET', place, 'at', redis.call('HGET', place, 'at') or at)"
    ),
    "fence-for-ever": one("include_fencing", "    redis.call('PEXPIREAT', place, now + life)\n"),
    "fence-for-an-hour": one("include_fencing", "now + life", "now + 3600000"),
    "take-over-unnoticed": one("detect_failover", "if noted[1] == history then", "if noted[1] then"),
    "take-over-without-a-fence": one("detect_failover", "  fencing.put(fences, tonumber(arg.life))\n"),
    "take-over-fenced-each-time": one("detect_failover", "'history', history, 'replicas'", "'replicas'"),
    "take-over-at-the-first-use": one("detect_failover", "not noted[1] or has_moved", "has_moved"),
    "take-over-whole-whoever-saw-it": one("detect_failover", "(went_on and former == arg.confirmed)", "went_on"),
    "take-over-whole-to-nobody": one("detect_failover", " or (went_on and former == arg.confirmed)"),
    "take-over-by-one-that-starts-from-a-copy": one("detect_failover", "offset') < member", "offset') <= member"),
    "take-over-after-one-that-nobody-met": Mutant(
        "detect_failover",
        (
            ("noted[1] and former == noted[1]", "noted[1]"),
            ("(went_on and former == arg.confirmed)", "noted[1] == arg.confirmed"),
        ),
    ),
    "take-over-of-what-the-last-one-waited-for": one(
        "detect_failover",
        "math.min(tonumber(arg.replicas), tonumber(noted[5] or arg.replicas))",
        "tonumber(arg.replicas)",
    ),
    "take-over-of-what-one-of-the-former-waited-for": one(
        "detect_failover", "history, 'replicas', arg.replicas)", "history)"
    ),
    "take-over-undecided-for-nobody": one("detect_failover", "tonumber(noted[4] or now + arg.patience)", "0"),
    "take-over-undecided-for-ever": one(
        "detect_failover", "tonumber(noted[4] or now + arg.patience)", "now + arg.patience"
    ),
    "take-over-forgotten-by-who-moves": one("detect_failover", "~= shard and not noted[4]", "~= shard"),
    "take-over-lets-apps-wait": one("detect_failover", "ipairs(noted[1] and heads or {})", "ipairs({})"),
    "move-is-a-take-over": one("detect_failover", "not noted[1] or has_moved", "not noted[1]"),
    "fail-over-planned-waited-for-by-nobody": one("detect_failover", "tonumber(noted[3] or 0)", "0"),
    "fail-over-planned-for-ever": one("detect_failover", "if ends > now then", "if ends > 0 then"),
}
