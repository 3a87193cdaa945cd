"""Ceilings of money that buckets share: each bucket has a share, and shares move to a bucket that lacks one."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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
"""Other starts may spend an amount that was moved."""
EXHAUSTED_SECONDS: Final = 2.0
"""Pause before buckets that lack an amount together are read again."""

SpendingT = TypeVar("SpendingT", StartArguments, ResendArguments)


class Spender(NamedTuple):
    """The limits and ceilings that a message counts in, and the bucket of its number."""

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
        """Return the key of a bucket's row that counts the spending."""
        if self.country:
            return keys.country(bucket, self.application, self.country)
        return keys.application(bucket, self.application)


class _Share(NamedTuple):
    """The rest of a bucket's share in an interval, in millionths."""

    interval: int
    left: int


class CeilingShares:
    """Calls scripts that spend, and moves shares to a bucket that has too little.

    An amount is added to a share once its removal from another is durable: it may be lost, and is never spent twice.
    """

    def __init__(self, scripts: ScriptRunner, buckets: tuple[str, ...]) -> None:
        self._scripts = scripts
        self._buckets = buckets
        self._moving = {bucket: threading.Lock() for bucket in buckets}
        self._exhausted: dict[_Shared, tuple[float, int]] = {}
        """By ceiling: the end of the pause, and the amount that the buckets lack together."""

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
            with self._moving[spender.bucket], suppress(NotDurableError):
                filled = [self._fill(shared, spender, reply.price) for shared in _ceilings(spender)]
                if all(filled):
                    continue
            break
        return self._scripts.call(script, keys, arguments._replace(rest=("last",)), taught)

    def _fill(self, shared: _Shared, spender: Spender, price: int) -> bool:
        """Move the amount that a bucket lacks for a price, at least half of the fullest bucket's rest.

        Returns whether the buckets have enough. Raises `StoreUnavailableError` if a bucket without an answer may.
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
        """Return the amount that was moved: nothing is added unless its removal is certain."""

        def change(bucket: str, amount: int) -> int:
            arguments = ShareMoveArguments(shared.country, shared.ceiling.name, interval, amount)
            return self._scripts.call(SHARE_MOVE, SubjectKeys(shared.key(bucket)), arguments, spender.ruleset)

        taken = -change(source, -amount)
        return change(spender.bucket, taken) if taken else 0

    def _read(self, shared: _Shared) -> tuple[dict[str, _Share], list[StoreUnavailableError]]:
        """Return the shares by bucket, and the errors of buckets whose servers do not answer."""
        calls = [(SubjectKeys(shared.key(bucket)), NoArguments()) for bucket in self._buckets]
        amount = shared.ceiling.amount // len(self._buckets)
        shares, unread = dict[str, _Share](), list[StoreUnavailableError]()
        replies = self._scripts.call_all(GUARD_READ, calls)
        for bucket, reply in zip(self._buckets, replies, strict=True):
            if isinstance(reply, StoreUnavailableError):
                unread.append(reply)
            else:
                shares[bucket] = _share(shared.ceiling, amount, reply)
        return shares, unread


def _ceilings(spender: Spender) -> Iterator[_Shared]:
    """Yield the ceilings that a message counts in."""
    rules = spender.ruleset.ruleset
    for ceiling in rules.ceilings:
        yield _Shared(ceiling, spender.application, "")
    for ceiling in rules.ceilings_of(spender.country):
        yield _Shared(ceiling, spender.application, spender.country)


def _share(ceiling: Ceiling, amount: int, row: SubjectRead) -> _Share:
    """Return the rest of a bucket's share, which begins an interval with an amount."""
    values: Mapping[str, Sequence[Any]] = json.loads(row.values or b"{}")
    counted_in, spent = values.get(f"s{ceiling.name}", (0, 0))
    moved_in, moved = values.get(f"m{ceiling.name}", (0, 0))
    present = row.now // ceiling.interval
    interval = present + 1 if counted_in == present + 1 else present
    return _Share(interval, int(amount + moved * (moved_in == interval) - spent * (counted_in == interval)))
