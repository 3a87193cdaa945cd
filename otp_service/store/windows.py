"""What a message is counted in: the keys of the guard and of the windows, as the scripts take them."""

from collections.abc import Collection, Iterator

from otp_service.domain.guard import Ruleset, Scope, Sending, Strategy, Window, whole_seconds
from otp_service.domain.verification import Verification
from otp_service.errors import Quota
from otp_service.store import keys
from otp_service.store.rulesets import LoadedRuleset

_OF_THE_NUMBER = (Scope.FAILED_CHECKS, Scope.NUMBER)
SCOPES_OF_START = (*_OF_THE_NUMBER, Scope.IP, Scope.APPLICATION)
SCOPES_WITHOUT_ADDRESS = (*_OF_THE_NUMBER, Scope.APPLICATION)
"""Of a start where addresses do not count, and of a resend."""
SCOPES_OF_FALLBACK = _OF_THE_NUMBER
"""Of a message that the service itself sends further: it is not the application's request."""


def keys_of_start(loaded: LoadedRuleset, bucket: str, verification: Verification, sending: Sending) -> list[str]:
    """Return the keys of a start, those of the guard first: of the parts that its rules count in."""
    ruleset = loaded.ruleset
    found = _own_keys(ruleset, bucket, verification)
    if "block" in loaded.parts:
        found.append(keys.block(sending.block))
    if "country" in loaded.parts:
        found.append(keys.country(verification.application, verification.country))
    if sending.network and "address" in loaded.parts:
        found += (keys.address(sending.network), keys.asked(sending.network))
    if sending.wide_network and "network" in loaded.parts:
        found.append(keys.network(sending.wide_network))
    if sending.provider and "provider" in loaded.parts:
        found.append(keys.provider(sending.provider))
    found += _window_keys(ruleset, scopes_of_start(sending), bucket, verification, sending.network)
    return found


def scopes_of_start(sending: Sending) -> tuple[Scope, ...]:
    """Return what the windows of a start count by."""
    return SCOPES_OF_START if sending.network else SCOPES_WITHOUT_ADDRESS


def keys_of_resend(ruleset: Ruleset, bucket: str, verification: Verification, scopes: Collection[Scope]) -> list[str]:
    """Return the keys of a further message; those of its block and country are in its record."""
    return _own_keys(ruleset, bucket, verification) + _window_keys(ruleset, scopes, bucket, verification, "")


def spend_keys(ruleset: Ruleset, application: str, country: str) -> Iterator[str]:
    """Yield what an application has spent, where a ceiling is."""
    if ruleset.ceilings:
        yield keys.spend(application)
    if ruleset.ceilings_of_countries:
        yield keys.spend_in_country(application, country)


def _own_keys(ruleset: Ruleset, bucket: str, verification: Verification) -> list[str]:
    number, application = verification.pseudonym, verification.application
    found = [keys.standing(bucket, number), keys.cooldown(bucket, number), keys.guesses(bucket, application, number)]
    if ruleset.failures:
        found.append(keys.failures(application))
    found += spend_keys(ruleset, application, verification.country)
    return found


def _window_keys(
    ruleset: Ruleset, scopes: Collection[Scope], bucket: str, verification: Verification, network: str
) -> list[str]:
    application, number = verification.application, verification.pseudonym
    return [
        key
        for window in ruleset.windows
        if window.scope in scopes
        for key in keys_of_window(window, bucket, application, number, network)
    ]


def keys_of_window(window: Window, bucket: str, application: str, number: str, network: str) -> tuple[str, ...]:
    """Return the keys of one window, applied to somebody."""
    match window.scope:
        case Scope.NUMBER:
            name = keys.number_window(bucket, number, window.seconds)
        case Scope.FAILED_CHECKS:
            name = keys.failed_checks_window(bucket, application, number, window.seconds)
        case Scope.IP:
            name = keys.network_window(network, window.seconds)
        case _:
            name = keys.application_window(application, window.seconds)
    return keys.moving(name) if window.strategy is Strategy.MOVING_WINDOW else keys.sliding(name)


def quota_of(window: Window | None, most: int, used: int, reset: int) -> Quota | None:
    """Return the application's quota as a script tested and counted it, of its window; ``reset`` in milliseconds."""
    if window is None:
        return None
    return Quota(most, window.seconds, max(0, most - used), whole_seconds(reset))
