"""Limits on addresses and applications that buckets share: each bucket counts, and a worker sums over the buckets."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import redis

from otp_service.domain.guard import LimitScope
from otp_service.store import keys
from otp_service.store.connection import translate_errors
from otp_service.store.rulesets import CompiledRuleset
from otp_service.store.script_runner import ScriptCall, ScriptRunner
from otp_service.store.signatures import guard as signed
from otp_service.store.signatures.common import KeyList

_BATCH: Final = 200
"""Windows that are read at once, for which a server takes about a millisecond."""


class _Count(NamedTuple):
    """A bucket's sliding window."""

    present: int
    previous: int
    """Count of the former interval, which fades out."""
    ends: int
    """Milliseconds until the interval is over."""

    def value(self, at: int, interval: int) -> int:
        """Return the count after some milliseconds without another event."""
        if at < self.ends:
            return self.previous * (self.ends - at) // interval + self.present
        return self.present * max(0, self.ends + interval - at) // interval


class _Sum(NamedTuple):
    """A window over all buckets."""

    used: int
    full_for: int
    """Milliseconds; 0 for a window that is not full."""


def sum_windows(counts: Iterable[Sequence[int]], amount: int, interval: int) -> _Sum:
    """Return the sum of windows, each a count, the former count, and the milliseconds until the count is former."""
    windows = tuple(_Count(*count) for count in counts)

    def room(at: int) -> int:
        return amount - sum(window.value(at, interval) for window in windows)

    return _Sum(amount - room(0), bisect_left(range(2 * interval), 1, key=room))


class LimitSums:
    """Sums the windows of an address or application, once a bucket counts more than its part of the limit."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        buckets: tuple[str, ...],
        rulesets: Mapping[str, CompiledRuleset],
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets
        self._rulesets = rulesets

    def request(self, subjects: Iterable[str], application: str, ip_prefix: str) -> None:
        """Request the sums of an application, an address or both; after a failure a later start requests them."""
        names = {"application": application, "address": f"{application} {ip_prefix}"}
        arguments = signed.SumsRequestArguments(
            1000 * keys.unsummed.seconds, tuple(names[subject] for subject in subjects)
        )
        self._scripts.send_all([ScriptCall.of(signed.SUMS_REQUEST, signed.SumsRequestKeys(keys.UNSUMMED), arguments)])

    def update(self) -> None:
        """Sum all requested windows. Raises `StoreUnavailableError`."""
        while True:
            with translate_errors():
                requested: list[bytes] = self._client.spop(keys.UNSUMMED, _BATCH)  # type: ignore[assignment]
            prefixes_of: dict[str, list[str]] = defaultdict(list)
            for application, _, ip_prefix in (name.decode().partition(" ") for name in requested):
                prefixes_of[application].append(ip_prefix)
            for application, ip_prefixes in prefixes_of.items():
                if ruleset := self._rulesets.get(application):
                    self._sum_all(application, ip_prefixes, ruleset)
            if len(requested) < _BATCH:
                return

    def _sum_all(self, application: str, ip_prefixes: Iterable[str], ruleset: CompiledRuleset) -> None:
        addresses = [ip_prefix for ip_prefix in ip_prefixes if ip_prefix]
        if "" in ip_prefixes:
            names = [(keys.application(bucket, application),) for bucket in self._buckets]
            self._sum("application", LimitScope.APPLICATION, names, ruleset)
        if addresses:
            of_buckets = [tuple(keys.address(bucket, address) for address in addresses) for bucket in self._buckets]
            self._sum("address", LimitScope.IP, of_buckets, ruleset)

    def _sum(self, subject: str, scope: LimitScope, names: Sequence[tuple[str, ...]], ruleset: CompiledRuleset) -> None:
        """Read the windows of subjects, with their keys by bucket, and write the sums.

        A bucket whose server does not answer counts nothing, and gets the sum of a later round.
        """
        states = [KeyList(of_bucket) for of_bucket in names]
        windows = [window for window in ruleset.ruleset.windows if window.scope is scope]
        read = signed.WindowsReadArguments(subject, scope)
        answers = self._scripts.call_all(signed.WINDOWS_READ, [(state, read) for state in states], ruleset)
        counts = [zip(*[iter(answer)] * 3, strict=True) for answer in answers if isinstance(answer, list)]
        sums: list[int] = []
        for place, of_buckets in enumerate(zip(*counts, strict=True)):
            window = windows[place % len(windows)]
            sums += sum_windows(of_buckets, window.amount, 1000 * window.seconds)
        if sums:
            write = signed.WindowsWriteArguments(subject, scope, tuple(sums))
            self._scripts.call_all(signed.WINDOWS_WRITE, [(state, write) for state in states], ruleset)
