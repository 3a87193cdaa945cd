"""One of two ways to count the same steps (two_steps.py): `one` call, or reserve, commit and give back in `two`."""

import sys
from functools import partial
from typing import Any

import differential_side
from differential_side import Side, perform

from otp_service import bootstrap
from otp_service.services import events
from otp_service.services.context import Context
from otp_service.services.verifications import HumanCheckResult
from otp_service.store.events import EventBatch
from otp_service.store.newcomer_traffic import CountrySuspicion, RangeSuspicion
from otp_service.store.store import open_store


class CountingSide(Side):
    """An installation of this release."""

    def do_start(self, application: str, *, passed: bool = False, **asked: Any) -> Any:  # type: ignore[override]
        return super().do_start(application, human_check=HumanCheckResult(passed), **asked)

    def do_suspect(self, application: str, country: str, ask: bool, checked_too: bool, narrow: str) -> Any:  # noqa: FBT001 - of JSON
        """Let newcomers of a country, or of one of its carrier ranges, be under suspicion, or no more."""
        store = self._context.store.traffic
        ranges = (RangeSuspicion(narrow, ask, checked_too),) if narrow else ()
        meets = CountrySuspicion(country, ask and not narrow, checked_too, trickle=6, usual=2.0, ranges=ranges)
        version, _ = store.tallies(application)
        return store.commit(application, version, {}, {}, (meets,), self._context.rulesets[application])


def _give_back_and_count(context: Context, batch: EventBatch) -> None:
    """Let follow at once what the recorder sees to a moment later."""
    events.give_back(context, batch)
    events.count_codes(context, batch)


if __name__ == "__main__":
    bootstrap.open_store = partial(open_store, shared_elsewhere=sys.argv[1] == "two", most_ahead=0)
    differential_side.give_back = _give_back_and_count
    differential_side._ONLY_NOW.clear()  # noqa: SLF001 - here everything is of this release
    perform(CountingSide)
