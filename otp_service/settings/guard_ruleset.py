"""An application's ruleset of the guard, built from its settings."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from otp_service.domain.guard import (
    DAY,
    HOUR,
    BackoffRule,
    Bucket,
    Ceiling,
    ConversionBreaker,
    Failures,
    Limits,
    LimitScope,
    Lock,
    Mode,
    NewcomerRule,
    Ruleset,
    Window,
    parse_notation,
)
from otp_service.domain.newcomer_traffic import BLOCK_MEMORY, GROWTH
from otp_service.settings.schema import ConversionSettings, GuardSettings, SpendSettings

_RULE_OF_SCOPE = {
    LimitScope.FAILED_CHECKS: "number.guesses",
    LimitScope.NUMBER: "number.sends",
    LimitScope.IP: "address.starts",
    LimitScope.APPLICATION: "application.requests",
}
"""In the order in which a request's windows are counted."""


def build_ruleset(guard: GuardSettings, limits: Limits, spend: SpendSettings, *, asks: bool = False) -> Ruleset:
    """Return the ruleset of an application; ``asks``: it can ask for human checks."""
    own, wrong = guard.number, guard.failures
    lock, failures, unknown = "number.lock", "application.failures", "country.unknown_numbers"
    ruleset = Ruleset(
        windows=tuple(_windows(guard, limits, asks=asks)),
        cooldown=_waits(guard, "number.cooldown", own.cooldown, HOUR),
        guess_wait=_waits(guard, "number.guess_wait", own.guess_waits, DAY),
        lock=Lock(lock, own.lock_after, own.lock_days * DAY, record_only=_records(guard, lock))
        if _is_on(guard, lock)
        else None,
        buckets=tuple(
            replace(bucket, record_only=_records(guard, bucket.rule))
            for bucket in _with_checked(_buckets(guard), asks=asks)
            if _is_on(guard, bucket.rule)
        ),
        breakers=tuple(
            replace(breaker, record_only=_records(guard, breaker.rule), asks=asks)
            for breaker in _breakers(guard)
            if _is_on(guard, breaker.rule)
        ),
        ceilings=spend.ceilings("spend.application", guard.mode("spend.application")),
        ceilings_of_countries=_ceilings_of_countries(guard, spend),
        failures=Failures(failures, wrong.wrong, wrong.share, 1000 * wrong.window, _records(guard, failures))
        if _is_on(guard, failures)
        else None,
        newcomers=NewcomerRule(unknown, asks, _records(guard, unknown)) if _is_on(guard, unknown) else None,
        known=own.known_days * DAY,
        known_messages={"home": own.known_messages, "abroad": own.known_messages_abroad},
        devices=own.contexts,
    )
    return replace(ruleset, lifetimes=_lifetimes(ruleset))


def _is_on(guard: GuardSettings, rule: str) -> bool:
    return guard.mode(rule) is not Mode.OFF


def _records(guard: GuardSettings, rule: str) -> bool:
    return guard.mode(rule) is Mode.RECORD_ONLY


def _windows(guard: GuardSettings, limits: Limits, *, asks: bool) -> Iterator[Window]:
    for scope, rule in _RULE_OF_SCOPE.items():
        if not _is_on(guard, rule):
            continue
        for position, limit in enumerate(limits[scope]):
            reserved = math.ceil(guard.number.reserved * limit.amount)
            yield Window(
                rule=rule,
                scope=limit.scope,
                amount=limit.amount,
                seconds=limit.seconds,
                # at least 1, since every device is unknown at first
                for_unknown=max(1, limit.amount - reserved)
                if scope in {LimitScope.NUMBER, LimitScope.FAILED_CHECKS}
                else None,
                for_known=reserved or None if scope is LimitScope.NUMBER else None,
                quota=scope is LimitScope.APPLICATION and position == 0,
                asks=asks and scope is LimitScope.IP,
                record_only=_records(guard, rule),
            )


def _waits(guard: GuardSettings, rule: str, seconds: tuple[int, ...], reset_after: int) -> BackoffRule | None:
    if not seconds or not _is_on(guard, rule):
        return None
    waits = tuple(1000 * wait for wait in seconds)
    return BackoffRule(rule, waits, max(reset_after, 2 * max(waits)), record_only=_records(guard, rule))


_BLOCK: Final[Mapping[str, Any]] = {"part": "block", "max_growth": GROWTH, "usual_window": BLOCK_MEMORY}


def _buckets(guard: GuardSettings) -> Iterator[Bucket]:
    growth = guard.country.growth
    country: dict[str, Any] = {"part": "country", "max_growth": GROWTH}
    address: dict[str, Any] = {"part": "address", "exempts": "known_device", "starts": True}
    yield from _each("address.unapproved", guard.address.unapproved, **address)
    yield from _each("address.numbers", guard.address.numbers, **address, name="n", new="number")
    yield from _each("address.countries", guard.address.countries, **address, name="c", new="country")
    yield from _each("address.network", guard.address.network, **{**address, "part": "network"})
    yield from _each("address.provider", guard.address.provider, **{**address, "part": "provider"})
    yield from _each("block.unapproved", guard.block.unapproved, guard.block.growth, **_BLOCK)
    yield from _each("country.unapproved", guard.country.unapproved, growth, **country, zone="abroad")
    yield from _each("country.unapproved", guard.country.home, growth, **country, zone="home")
    yield from _trickles(guard.conversion)


def _with_checked(buckets: Iterator[Bucket], *, asks: bool) -> Iterator[Bucket]:
    """Yield buckets, and for those of newcomers a second of the same size for newcomers who passed a human check.

    Buckets of addresses have no second: a check lifts them, for many people share an address. Blocks have it also
    without human checks: other applications share the block, and the bucket has to leak.
    """
    for bucket in buckets:
        if bucket.exempts != "approved" or bucket.breaker:
            yield replace(bucket, asks=asks)
        else:
            yield replace(bucket, checked="no" if asks else None, asks=asks)
            if asks or bucket.part == "block":
                yield replace(bucket, checked="yes", name=f"k{bucket.window // 1000}")


def _trickles(conversion: ConversionSettings) -> Iterator[Bucket]:
    trickle: dict[str, Any] = {"notations": (conversion.trickle,), "name": "t", "factor": 0.0}
    probing: dict[str, Any] = {**trickle, "breaker_state": "probing"}
    yield from _each("block.conversion", part="block", breaker="block", **probing)
    yield from _each("country.conversion", part="country", breaker="country", zone="abroad", **probing)
    shut: dict[str, Any] = {"name": "h", "breaker": "country", "breaker_state": "open"}
    at_home: dict[str, Any] = {"part": "country", "zone": "home", "factor": 0.25, "max_growth": GROWTH, **shut}
    yield from _each("country.conversion", (conversion.home,), **at_home)
    yield from _each("country.conversion", (conversion.home_block,), **_BLOCK, **shut)  # abroad nothing passes


def _each(
    rule: str,
    notations: tuple[str, ...],
    growth: tuple[float, ...] = (1.0,),
    *,
    name: str = "u",
    **members: Any,  # noqa: ANN401
) -> Iterator[Bucket]:
    """Yield a bucket for each notation; by default it exempts approved numbers."""
    for place, notation in enumerate(notations):
        amount, seconds = parse_notation(f"guard: {rule}", notation)
        fields: dict[str, Any] = {"factor": growth[min(place, len(growth) - 1)], "exempts": "approved", **members}
        yield Bucket(rule=rule, name=f"{name}{seconds}", amount=amount, window=1000 * seconds, **fields)


def _breakers(guard: GuardSettings) -> Iterator[ConversionBreaker]:
    conversion = guard.conversion
    for part, zone, passes_while_open in (
        ("block", None, False),
        ("country", "abroad", False),
        ("country", "home", True),
    ):
        yield ConversionBreaker(
            sends=max(conversion.sends, conversion.home_sends) if zone == "home" else conversion.sends,
            rate=conversion.rate,
            closed_for=1000 * conversion.closed_for,
            max_closed_for=1000 * max(conversion.closed_for, conversion.max_closed_for),
            passes_while_open=passes_while_open,
            rule=f"{part}.conversion",
            part=part,
            exempts="approved",
            zone=zone,
        )


def _ceilings_of_countries(guard: GuardSettings, spend: SpendSettings) -> Mapping[str, tuple[Ceiling, ...]]:
    """Return the ceilings by country. A country without an amount has no ceilings, not even those of ``*``."""
    mode = guard.mode("spend.country")
    ceilings = {country: own.ceilings("spend.country", mode) for country, own in spend.countries.items()}
    return ceilings if any(ceilings.values()) else {}


def _lifetimes(ruleset: Ruleset) -> dict[str, int]:
    """Return how long each part is stored after its last write: until it does not count any more."""
    longest = max((bucket.window for bucket in ruleset.buckets if bucket.new), default=DAY)
    lifetimes = {"asked": longest, "guesses": ruleset.known}
    lifetimes["cooldown"] = ruleset.cooldown.reset_after if ruleset.cooldown else HOUR
    lifetimes["failures"] = 2 * ruleset.failures.window if ruleset.failures else HOUR
    for bucket in ruleset.buckets:
        lifetimes[bucket.part] = max(lifetimes.get(bucket.part, 0), 2 * bucket.window)
    for breaker in ruleset.breakers:
        lifetimes[breaker.part] = max(lifetimes.get(breaker.part, 0), breaker.max_closed_for + 2 * HOUR)
    if ruleset.lock:
        lifetimes["guesses"] = max(lifetimes["guesses"], ruleset.lock.length)
    return lifetimes
