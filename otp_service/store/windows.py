"""The windows that a request is counted in: limits with their keys, as scripts take them."""

from collections.abc import Iterable
from dataclasses import dataclass

from otp_service.core.guard.limits import Limit, Limits, whole_seconds
from otp_service.core.quota import Quota
from otp_service.store import keys
from otp_service.store.scripts import Argument


@dataclass(frozen=True, slots=True)
class Window:
    """One limit, applied to somebody."""

    limit: Limit
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a send is tested against, and what it spends."""

    locks: tuple[Window, ...]
    """Tested only: the number's failed checks."""
    spent: tuple[Window, ...]
    quota_place: int
    """Place of the application's narrowest limit in ``spent``, from 1; 0 when it has none."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all windows, in order."""
        return tuple(key for window in (*self.locks, *self.spent) for key in window.keys)

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Three values a window, in order."""
        return tuple(part for window in (*self.locks, *self.spent) for part in limit_arguments(window.limit))

    def quota(self, used: int, reset: int) -> Quota | None:
        """Return the application's quota as a script counted it; ``reset`` in milliseconds."""
        if not self.quota_place:
            return None
        limit = self.spent[self.quota_place - 1].limit
        return Quota(limit.amount, limit.seconds, max(0, limit.amount - used), whole_seconds(reset))


def limit_arguments(limit: Limit) -> tuple[Argument, ...]:
    """Return a limit as the evaluator reads it."""
    return (limit.strategy, limit.amount, limit.seconds)


def windows_of_send(limits: Limits, *, bucket: str, pseudonym: str, application: str, network: str | None) -> Counted:
    """Return the windows of a message to a number; ``network`` is a pseudonym, ``None`` when it does not count."""
    number = [_moving(one, keys.number_window(bucket, pseudonym, one.seconds)) for one in limits.number]
    ip = [_sliding(one, keys.network_window(network, one.seconds)) for one in limits.ip if network]
    own = [_sliding(one, keys.application_window(application, one.seconds)) for one in limits.application]
    return Counted(
        locks=tuple(failed_checks(limits.failed_checks, bucket, application, pseudonym)),
        spent=(*number, *ip, *own),
        quota_place=len(number) + len(ip) + 1 if own else 0,
    )


def windows_of_fallback(limits: Limits, *, bucket: str, pseudonym: str, application: str) -> Counted:
    """Return the windows of a message that the service itself sends further: the number's, not the application's."""
    number = [_moving(one, keys.number_window(bucket, pseudonym, one.seconds)) for one in limits.number]
    locks = tuple(failed_checks(limits.failed_checks, bucket, application, pseudonym))
    return Counted(locks=locks, spent=tuple(number), quota_place=0)


def failed_checks(limits: Iterable[Limit], bucket: str, application: str, pseudonym: str) -> Iterable[Window]:
    """Yield the windows of an application's failed checks of a number."""
    for limit in limits:
        yield _moving(limit, keys.failed_checks_window(bucket, application, pseudonym, limit.seconds))


def _moving(limit: Limit, window: str) -> Window:
    return Window(limit, keys.moving(window))


def _sliding(limit: Limit, window: str) -> Window:
    return Window(limit, keys.sliding(window))
