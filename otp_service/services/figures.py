"""Hourly figures: refusals are brought into them, and questions answered from them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from otp_service.domain.figures import Figure, FigureKey, hour_of, refusal
from otp_service.services.context import Context
from otp_service.store.events import Decision

_AT_ONCE: Final = 1000
"""Decisions that are counted in one transaction."""
_CHANGE: Final = "change"
"""Kind of what no rule refused: that a breaker opened, an alarm."""


def count_refusals(context: Context) -> None:
    """Bring what rules refused since the last time into the figures, once, whoever does so.

    Raises `StoreUnavailableError` and `LedgerUnavailableError`. What Redis no longer keeps by then is not counted.
    """
    for bucket in context.store.decisions.buckets:
        is_full = True
        while is_full:
            after = context.ledger.figures.position(bucket)
            some = context.store.decisions.after(bucket, after, _AT_ONCE)
            is_mine = bool(some) and context.ledger.figures.add(bucket, after, some[-1].entry, _refusals(some))
            is_full = is_mine and len(some) == _AT_ONCE


def _refusals(decisions: Iterable[Decision]) -> Mapping[FigureKey, Figure]:
    times = Counter(
        FigureKey(
            hour_of(one.at),
            *(one.application, one.purpose, one.country, one.carrier_range),
            *("", ""),
            lane=one.trust,
            what=refusal(one.kind, enforced=one.mode == "enforce"),
            reason=one.rule,
        )
        for one in decisions
        if one.kind != _CHANGE
    )
    return {key: Figure(count, 0) for key, count in times.items()}
