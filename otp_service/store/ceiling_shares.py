"""Ceilings of money that buckets share: each bucket has a share, and shares move to a bucket that lacks one."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from otp_service.domain.guard import Ceiling
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.rulesets import CompiledPlan, CompiledRuleset
from otp_service.store.script_runner import NotDurableError, ScriptRunner
from otp_service.store.signatures.guard import GUARD_READ, SHARE_MOVE, ShareMoveArguments, SubjectKeys, SubjectRead
from otp_service.store.signatures.signature import KeysT, NoArguments, ReplyT, Signature
from otp_service.store.signatures.verifications import ResendArguments, ShareNeeded, StartArguments

_MAX_TRIES: Final = 16
"""Others may spend what was moved."""
EXHAUSTED_SECONDS: Final = 2.0
"""Time for which buckets are not read again that lack an amount together."""

SpendingT = TypeVar("SpendingT", StartArguments, ResendArguments)


class Spender(NamedTuple):
    """Whose limits and ceilings a message counts in, and the bucket of its number."""

    bucket: str
    application: str
    country: str
    ruleset: CompiledRuleset
    ip_prefix: str = ""
    """Of the end user; empty where addresses do not count."""


class _Shared(NamedTuple):
    """A ceiling of an application, or of its country."""

    ceiling: Ceiling
    application: str
    country: str
    """Empty for a ceiling of the application."""

    def key(self, bucket: str) -> str:
        """Return the key of the row that counts what a bucket spent."""
        if self.country:
            return keys.country(bucket, self.application, self.country)
        return keys.application(bucket, self.application)


class _Share(NamedTuple):
    """What a bucket may still spend in an interval, in millionths."""

    interval: int
    left: int


class CeilingShares:
    """Calls scripts that spend, and moves shares to a bucket that has too little.

    A share is given once it is certain that taking it is not undone: an amount may be lost, and is never spent twice.
    """

    def __init__(self, scripts: ScriptRunner, buckets: tuple[str, ...]) -> None:
        self._scripts = scripts
        self._buckets = buckets
        self._moving = {bucket: threading.Lock() for bucket in buckets}
        self._exhausted: dict[_Shared, tuple[float, int]] = {}
        """Until when the buckets are not read again, by ceiling, and the amount that they lack together."""

    def call(
        self,
        script: Signature[KeysT, SpendingT, ReplyT],
        keys: KeysT,
        arguments: SpendingT,
        spender: Spender,
        plan: CompiledPlan | None = None,
    ) -> ReplyT:
        """Return the script's reply, which is not `ShareNeeded`. Raises `StoreUnavailableError`."""
        taught = plan or spender.ruleset
        for _ in range(_MAX_TRIES):
            reply = self._scripts.call(script, keys, arguments, taught)
            if not isinstance(reply, ShareNeeded):
                return reply
            with self._moving[spender.bucket]:
                if not self._fill_all(spender, reply.price):
                    break
        return self._scripts.call(script, keys, arguments._replace(rest=("last",)), taught)

    def _fill_all(self, spender: Spender, price: int) -> bool:
        """Tell whether the bucket's shares may suffice for a price now."""
        try:
            filled = [self._fill(shared, spender, price) for shared in _ceilings(spender)]
        except NotDurableError:
            return False
        return all(filled)

    def _fill(self, shared: _Shared, spender: Spender, price: int) -> bool:
        """Move what a bucket lacks for a price, at least half of what the fullest bucket has.

        Return whether the buckets have enough. Raises `StoreUnavailableError` if others than those that answer may.
        """
        ends, too_much = self._exhausted.get(shared, (0.0, 0))
        if time.monotonic() < ends and price >= too_much:
            return False
        shares, unread = self._read(shared)
        if not (own := shares.pop(spender.bucket, None)):
            raise unread[0]
        others = ((share.left, other) for other, share in shares.items() if share.interval == own.interval)
        fullest_last = sorted((left, other) for left, other in others if left > 0)
        missing = price - own.left
        if missing > sum(left for left, _ in fullest_last):
            if unread:
                raise unread[0]
            self._exhausted[shared] = time.monotonic() + EXHAUSTED_SECONDS, price
            return False
        while missing > 0 and fullest_last:
            left, other = fullest_last.pop()
            amount = max(min(missing, left), left // 2)
            missing -= self._move(shared, other, spender, own.interval, amount)
        return True

    def _move(self, shared: _Shared, source: str, spender: Spender, interval: int, amount: int) -> int:
        """Return the amount that was moved. If it is not certain that it was taken, it is not given."""

        def change(bucket: str, amount: int) -> int:
            arguments = ShareMoveArguments(shared.country, shared.ceiling.name, interval, amount)
            return self._scripts.call(SHARE_MOVE, SubjectKeys(shared.key(bucket)), arguments, spender.ruleset)

        taken = -change(source, -amount)
        return change(spender.bucket, taken) if taken else 0

    def _read(self, shared: _Shared) -> tuple[dict[str, _Share], list[StoreUnavailableError]]:
        """Return the shares by bucket, and the errors of buckets whose servers do not answer."""
        calls = [(SubjectKeys(shared.key(bucket)), NoArguments()) for bucket in self._buckets]
        replies = self._scripts.call_all(GUARD_READ, calls)
        amount = shared.ceiling.amount // len(self._buckets)
        shares = {
            bucket: _share(shared.ceiling, amount, reply)
            for bucket, reply in zip(self._buckets, replies, strict=True)
            if not isinstance(reply, StoreUnavailableError)
        }
        return shares, [reply for reply in replies if isinstance(reply, StoreUnavailableError)]


def _ceilings(spender: Spender) -> Iterator[_Shared]:
    """Yield the ceilings that a message counts in."""
    rules = spender.ruleset.ruleset
    for ceiling in rules.ceilings:
        yield _Shared(ceiling, spender.application, "")
    for ceiling in rules.ceilings_of(spender.country):
        yield _Shared(ceiling, spender.application, spender.country)


def _share(ceiling: Ceiling, amount: int, row: SubjectRead) -> _Share:
    """Return what is left of a bucket's share, which was a certain amount at the interval's beginning."""
    values: Mapping[str, Sequence[Any]] = json.loads(row.values or b"{}")
    counted_in, spent = values.get(f"s{ceiling.name}", (0, 0))
    moved_in, moved = values.get(f"m{ceiling.name}", (0, 0))
    present = row.now // ceiling.interval
    interval = present + 1 if counted_in == present + 1 else present
    return _Share(interval, int(amount + moved * (moved_in == interval) - spent * (counted_in == interval)))
