"""Converts what the release before kept of the guard's subjects, each part under a key of its own, into rows.

And finds mirror and fence where it has them. It goes with the next release, and with it ``lua/former_*.lua``,
`ScriptRunner.reads_former` and the keys of the mirror and the fence that have no bucket.

Converted: windows (``number``, ``failed_checks``, ``ip``, ``application``), a number's last verifications (``recent``),
and of the guard ``reputation``, ``cooldown``, ``guesses``, ``block``, ``country``, ``address``, ``asked``, ``network``,
``provider``, ``failures``, ``spend`` and ``spendcountry``. All other keys are what they were.
"""

from collections.abc import Iterable
from typing import Any, Final

import redis

from otp_service.store import keys
from otp_service.store.connection import translate_errors
from otp_service.store.rulesets import CompiledRuleset
from otp_service.store.script_runner import ScriptRunner

_PAGE: Final = 100
"""Keys that are looked at in one step, in which the server does nothing else: some milliseconds."""


class FormerStates:
    """What the release before kept. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def copy_places(self, buckets: Iterable[str]) -> None:
        """Copy the mirror's head and the fence, where the release before has brought them further.

        To be called before a process serves. One that still reads them where that has them leaves it to others.
        """
        if not self._scripts.reads_former:
            own = (*map(keys.mirror, buckets), *map(keys.fence, buckets))
            self._scripts.run("former_places", (keys.former_mirror(), keys.former_fence(), *own), ())

    def convert(self, ruleset: CompiledRuleset) -> None:
        """Convert all that there is, once; to be called before a process serves.

        ``ruleset`` has the rules of numbers, which all applications share. Processes that start together do it side by
        side, until one of them is done; one that dies leaves it to the next. Nothing is changed once it is done: rows
        have become newer by then.
        """
        if self._convert((), ruleset, last=False):
            return
        cursor, converted = -1, False
        # A connection of its own: where it is lost the server may be another one, in which the cursor means nothing.
        with self._client.client() as held:  # type: ignore[no-untyped-call]
            while not converted:
                with translate_errors():
                    found: Any = held.scan(max(cursor, 0), match=f"{keys.PREFIX}:*", count=_PAGE)
                cursor, names = found
                converted = self._convert((name.decode() for name in names), ruleset, last=cursor == 0)

    def _convert(self, names: Iterable[str], ruleset: CompiledRuleset, *, last: bool) -> bool:
        """Convert what is old of some keys; return whether all is converted, by whomever."""
        return bool(self._scripts.run("former_convert", (keys.INSTALLATION, *names), (int(last),), ruleset))
